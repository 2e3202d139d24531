// SPDX-License-Identifier: MIT
#include "core/package/package_info.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/webc/manifest.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

using webc::Json;

const PackageHash kFileHash{Sha256{}};

webc::Manifest manifest(const char* json) { return webc::manifest_from_json(Json::parse(json)); }

PackageInfo info(const webc::Manifest& manifest, int version) {
  return info_from_manifest(PackageHash(Sha256{}), manifest, version);
}

template <typename Call>
std::vector<std::string> error_chain(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.chain();
  }
  return {};
}

/// Calls `check(golden, manifest)` for every golden file of a sound container.
template <typename Check>
void for_each_golden(Check check) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::fixtures() / "webc")) {
    if (entry.path().extension() != ".json") {
      continue;
    }
    const Json golden = test::read_json(entry.path());
    SCOPED_TRACE(entry.path().filename());
    check(golden, webc::manifest_from_json(Json::parse(golden.at("manifest_json").get<std::string>())));
    ++count;
  }
  EXPECT_GT(count, 50);
}

TEST(IdFromManifest, GoldenIds) {
  for_each_golden([](const Json& golden, const webc::Manifest& value) {
    const std::string expected = golden.at("package_id").get<std::string>();
    if (golden.at("file").get<std::string>().starts_with("id-badversion")) {
      EXPECT_EQ(error_chain([&] { (void)id_from_manifest(value, kFileHash); }),
                std::vector<std::string>{"unexpected end of input while parsing minor version number"});
      return;
    }
    const auto hash = sha256_from_hex(golden.at("sha256").get<std::string>());
    ASSERT_TRUE(hash);
    EXPECT_EQ(id_from_manifest(value, PackageHash(*hash)).to_string(), expected);
  });
}

TEST(IdFromManifest, DoesNotComputeAHashThatNobodyAsksFor) {
  const PackageHash unused([]() -> Sha256 { throw std::runtime_error("computed"); });
  EXPECT_EQ(id_from_manifest(manifest(R"({"package": {"wapm": {"name": "a/b"}}})"), unused).to_string(), "a/b@0.0.0");
  EXPECT_NE(id_from_manifest(manifest("{}"), unused).hash(), nullptr);
}

TEST(InfoFromManifest, GoldenFilesystemAndCommands) {
  for_each_golden([](const Json& golden, const webc::Manifest& value) {
    const int version = std::stoi(golden.at("format_version").get<std::string>());
    const std::string file = golden.at("file").get<std::string>();
    if (file.starts_with("bundle")) {
      return;  // below
    }
    const PackageInfo got = info(value, version);
    Json mappings = Json::array();
    for (const FileSystemMapping& mapping : got.filesystem) {
      mappings.push_back({{"from", mapping.dependency_name ? Json(*mapping.dependency_name) : Json()},
                          {"mount_path", mapping.mount_path},
                          {"original_path", mapping.original_path ? Json(*mapping.original_path) : Json()},
                          {"volume_name", mapping.volume_name}});
    }
    Json expected = golden.at("filesystem");
    if (expected.is_null()) {
      expected = version == 3 ? Json::array() : Json::parse(R"([{"from": null, "mount_path": "/", "original_path": "/",
                                                 "volume_name": "atom"}])");
    }
    EXPECT_EQ(mappings, expected);
    EXPECT_EQ(Json(got.commands), golden.at("command_order"));
    EXPECT_EQ(got.entrypoint ? Json(*got.entrypoint) : Json(), golden.at("entrypoint"));
  });
}

TEST(InfoFromManifest, EveryFormOfDependency) {
  const Json golden = test::read_json(test::fixtures() / "webc" / "uses-v3.webc.json");
  const PackageInfo got = info(webc::manifest_from_json(Json::parse(golden.at("manifest_json").get<std::string>())), 3);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"acme/a", "acme/a@^1.0.0"},
      {"b", "acme/b@^2.1, <3"},
      {"c", "https://example.com/c.webc"},
      {"d", "acme/d"},
      {"e", "acme/e@*"},
      {"f", "_/f@~1.2"},
      {"g", "sha256:" + std::string(64, 'a')},
      {"h", "/tmp/h.webc"},
      {"i", "acme/i@=0.1.0"},
      {"j", "acme/j@*"},
  };
  ASSERT_EQ(got.dependencies.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(got.dependencies[i].alias, expected[i].first);
    EXPECT_EQ(got.dependencies[i].specifier.to_string(), expected[i].second);
  }
  EXPECT_NE(got.dependencies[6].specifier.hash(), nullptr);
  EXPECT_NE(got.dependencies[7].specifier.path(), nullptr);
}

TEST(InfoFromManifest, TextWithAColonIsNoUrl) {
  const PackageInfo got = info(manifest(R"({"use": {"a": "reg.com:ns/name@1"}})"), 3);
  ASSERT_NE(got.dependencies.at(0).specifier.named(), nullptr);
  EXPECT_EQ(got.dependencies[0].specifier.named()->registry, "reg.com");
}

TEST(InfoFromManifest, UnusableDependencies) {
  const auto chain = [](const char* json) { return error_chain([&] { (void)info(manifest(json), 3); }); };
  const std::string context = "The \"x\" dependency can't be used";
  const std::string vendored = "Unable to determine a package specifier for a vendored dependency";
  EXPECT_EQ(chain(R"({"use": {"x": {"package": {"wapm": {"name": "a/b"}}}}})"),
            (std::vector<std::string>{context, vendored}));
  EXPECT_EQ(chain(R"({"use": {"x": {}}})"), (std::vector<std::string>{context, vendored}));
  EXPECT_EQ(chain(R"({"use": {"x": {"package": {"wapm": {"name": "a/b", "version": "1"}}}}})"),
            (std::vector<std::string>{context, "unexpected end of input while parsing major version number"}));
  EXPECT_EQ(chain(R"({"use": {"x": {"package": {"wapm": {"name": "./b", "version": "1.0.0"}}}}})"),
            (std::vector<std::string>{context, "\"./b\" isn't a package name"}));
  EXPECT_EQ(chain(R"({"use": {"x": "a/../b"}})").front(), context);
  EXPECT_EQ(chain(R"({"use": {"x": ""}})").back(),
            "could not parse value as package identifier: An empty string is not a valid package source (value: '')");
}

TEST(InfoFromManifest, FsAnnotation) {
  EXPECT_TRUE(info(manifest(R"({"package": {"fs": []}})"), 2).filesystem.empty());
  EXPECT_EQ(info(manifest("{}"), 1).filesystem.size(), 1U);
  EXPECT_TRUE(info(manifest("{}"), 3).filesystem.empty());
  const auto chain = error_chain([] { (void)info(manifest(R"({"package": {"fs": {}}})"), 3); });
  ASSERT_EQ(chain.size(), 1U);
  EXPECT_TRUE(chain[0].starts_with("Failed to deserialize package annotation 'fs': ")) << chain[0];
  const PackageInfo got = info(manifest(R"({"package": {"fs": [
      {"from": "dep", "volume_name": "v", "host_path": "/in", "mount_path": "lib"}]}})"),
                               2);
  ASSERT_EQ(got.filesystem.size(), 1U);
  EXPECT_EQ(got.filesystem[0].dependency_name, "dep");
  EXPECT_EQ(got.filesystem[0].original_path, "/in");
  EXPECT_EQ(got.filesystem[0].mount_path, "lib");
}

TEST(SanitizePath, Cleans) {
  const std::vector<std::pair<std::string, std::string>> rows = {{"third", "/third"},
                                                                 {"./third/", "/third"},
                                                                 {"/third", "/third"},
                                                                 {"../e1/pub", "/e1/pub"},
                                                                 {"", "/"},
                                                                 {".", "/"},
                                                                 {"/", "/"},
                                                                 {"a//b/./c", "/a/b/c"},
                                                                 {"a/../../b", "/b"},
                                                                 {"data/in/here", "/data/in/here"},
                                                                 {"...", "/..."}};
  for (const auto& [path, expected] : rows) {
    EXPECT_EQ(sanitize_path(path), expected) << path;
  }
}

TEST(NormalizeMountPath, GoldenSpellings) {
  // Where each spelling of the fixture set `paths` is to be seen.
  const Json golden = test::read_json(test::fixtures() / "expected" / "paths-v3.json");
  ASSERT_EQ(golden.size(), 8U);
  for (const auto& [id, facts] : golden.items()) {
    const std::string path = normalize_mount_path(facts.at("filesystem").at(0).at("mount_path").get<std::string>());
    bool found = false;
    for (const Json& entry : facts.at("tree")) {
      found = found || entry.at("path") == (path == "/" ? "/f.txt" : path + "/f.txt");
    }
    EXPECT_TRUE(found) << id << ": " << path;
  }
}

TEST(NormalizeMountPath, StaysBelowTheRoot) {
  using namespace std::string_literals;
  EXPECT_EQ(normalize_mount_path("/a/../b//c/."), "/b/c");
  EXPECT_EQ(normalize_mount_path("a/.."), "/");
  EXPECT_EQ(
      error_chain([] { (void)normalize_mount_path("/a/../../b"); }),
      std::vector<std::string>{"Invalid guest mount path \"/a/../../b\": parent traversal escapes the virtual root"});
  EXPECT_EQ(error_chain([] { (void)normalize_mount_path(".."); }).size(), 1U);
  EXPECT_EQ(error_chain([] { (void)normalize_mount_path("a\0b"s); }).size(), 1U);
}

}  // namespace
}  // namespace pkgfs
