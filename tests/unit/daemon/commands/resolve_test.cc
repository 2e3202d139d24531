// SPDX-License-Identifier: MIT
// `pkgfs resolve` against the resolutions of the real runtimes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/base/hash.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/golden_files.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::run;
using ::testing::HasSubstr;

std::string registry(const std::string& set) { return (test::fixtures() / "registry" / set).string(); }

/// The result of version 0.28 for a root if it succeeded, else of 0.704; null if both failed.
json golden_resolution(const json& old_runtime, const json& new_runtime) {
  for (const json& runtime : {old_runtime, new_runtime}) {
    if (runtime.contains("resolution")) {
      return runtime["resolution"];
    }
  }
  return {};
}

std::string dot_of(const json& resolution) {
  std::string text = "digraph {\n";
  std::map<std::string, std::size_t> number;
  for (const json& id : resolution["discovery_order"]) {
    text += "    " + std::to_string(number.size()) + " [ label = " + id.dump() + " ]\n";
    number.emplace(id, number.size());
  }
  for (const json& edge : resolution["edges"]) {
    text += "    " + std::to_string(number.at(edge["from"])) + " -> " + std::to_string(number.at(edge["to"])) +
            " [ label = " + edge["alias"].dump() + " ]\n";
  }
  return text + "}\n";
}

TEST(Resolve, JsonAndDotEqualTheGoldenFacts) {
  std::size_t compared = 0;
  for (const fs::path& file : test::files_ending(test::fixtures() / "trees/registry", ".wasix-0.28.json")) {
    const std::string set = file.filename().string().substr(0, file.filename().string().find(".wasix"));
    const json newer = json::parse(test::read_text(file.parent_path() / (set + ".wasix-0.704.json")));
    const json roots = json::parse(test::read_text(file));
    for (const auto& [root, older] : roots.items()) {
      SCOPED_TRACE(set + " " + root);
      const json golden = golden_resolution(older, newer.value(root, json::object()));
      const test::Run result = run({"resolve", "--json", "--offline", "--registry", registry(set), root});
      EXPECT_NE(result.code, 70) << result.err;
      const bool sidecar = set.starts_with("identity") && (root == "acme/bad@1.0.0" || root == "acme/usesbad@1.0.0");
      if (golden.is_null() || sidecar) {  // 0.28 knows no sidecars (docs/rules/resolution.md, 7.6)
        continue;                         // texts of failures: tests/unit/resolve/golden_test.cc
      }
      ASSERT_EQ(result.code, 0) << result.err;
      EXPECT_EQ(json::parse(result.out), golden);
      EXPECT_EQ(run({"resolve", "--dot", "--registry", registry(set), root}).out, dot_of(golden));
      ++compared;
    }
  }
  EXPECT_GT(compared, 180U);
}

TEST(Resolve, SingleFilesEqualTheGoldenFacts) {
  for (const fs::path& file : test::files_ending(test::fixtures() / "trees/webc", ".wasix-0.28.json")) {
    const std::string name = file.filename().string().substr(0, file.filename().string().find(".wasix"));
    SCOPED_TRACE(name);
    const json golden = json::parse(test::read_text(file));
    if (!golden.contains("resolution")) {
      continue;
    }
    const test::Run result = run({"resolve", "--json", (test::fixtures() / "webc" / name).string()});
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(json::parse(result.out), golden["resolution"]);
  }
}

TEST(Resolve, ADirectoryIsCalledByTheHashOfItsCanonicalPath) {
  const test::SourceDirectories sources;
  const fs::path directory = fs::canonical(sources / "basic");
  const std::string id = "sha256:" + to_hex(sha256(directory.string()));
  const json ours = json::parse(run({"resolve", "--json", directory.string()}).out);
  EXPECT_EQ(ours["root_package"], id);
  EXPECT_EQ(json::parse(run({"resolve", "--json", (directory / "../basic/.").string()}).out), ours);
  const json golden = json::parse(test::read_text(test::fixtures() / "trees/sources/basic.wasix-0.28.json"));
  EXPECT_EQ(ours, test::replaced(golden["resolution"], golden["resolution"]["root_package"], id));
}

TEST(Resolve, ThePlainFormIsATree) {
  const test::Run result = run({"resolve", "--registry", registry("chain-v3"), "acme/app@2.0.0"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out,
            "acme/app@2.0.0\n"
            "└── acme/lib@1.0.0\n"
            "    └── acme/base@0.3.0\n"
            "\nfile system, earlier lines hide later ones:\n"
            "  /app  \"/app\" of acme/app@2.0.0\n"
            "  /mnt/lib  \"/usr/lib/lib\" of acme/lib@1.0.0\n"
            "  /usr/lib/lib  \"/usr/lib/lib\" of acme/lib@1.0.0\n"
            "  /base  \"/base\" of acme/base@0.3.0\n"
            "\ncommands:\n"
            "  appcmd  acme/app@2.0.0  (entrypoint)\n"
            "  basecmd  acme/base@0.3.0\n"
            "  libcmd  acme/lib@1.0.0\n");
}

TEST(Resolve, FailuresHaveTheChainOfTexts) {
  const test::Run missing = run({"resolve", "--registry", registry("missing-v3"), "acme/direct@1.0.0"});
  EXPECT_EQ(missing.code, 6);
  EXPECT_EQ(missing.err,
            "pkgfs: error: Unable to find \"acme/ghost@^1\" in the registry\n"
            "  caused by: failed to query package 'acme/ghost@^1': not found\n");
  const test::Run cycle = run({"resolve", "--registry", registry("cycle-v3"), "acme/a@1.0.0"});
  EXPECT_EQ(cycle.code, 6);
  EXPECT_THAT(cycle.err,
              HasSubstr("Dependency cycle detected: acme/a@1.0.0 → acme/b@1.0.0 → acme/c@1.0.0 → acme/a@1.0.0\n"));
  EXPECT_EQ(run({"resolve", "--json", "--dot", "x/y"}).code, 2);
}

/// A registry with two builds of one version, and a directory package that asks for `requirement`.
class Builds : public ::testing::Test {
 protected:
  test::TempDir dir_;

  void SetUp() override {
    for (const char* version : {"3.12.9+build.9", "3.12.9+build.10"}) {
      dir_.write("registry/wasmer/python/" + std::string(version) + ".webc",
                 test::read_text(test::fixtures() / "webc/basic-v3.webc"));
    }
  }
  [[nodiscard]] test::Run resolve(const std::string& package) const {
    return run({"resolve", "--registry", (dir_.path() / "registry").string(), package});
  }
  [[nodiscard]] test::Run resolve_manifest(const std::string& requirement) const {
    dir_.write("app/wasmer.toml", "[dependencies]\n\"wasmer/python\" = \"" + requirement + "\"\n");
    return resolve((dir_.path() / "app").string());
  }
};

// Risk: a user believes that a requirement has selected a build, and runs another one.
TEST_F(Builds, ARequirementThatCantSelectABuildWarnsInBothPlacesWithOneText) {
  const std::string warning =
      "pkgfs: warning: \"wasmer/python@^3.12.9+build.9\" takes \"wasmer/python@3.12.9+build.10\": versions are "
      "compared "
      "without build metadata, so that \"+build.9\" selects nothing; only \"=\" with a whole version selects a build\n";
  const test::Run manifest = resolve_manifest("3.12.9+build.9");
  EXPECT_EQ(manifest.code, 0) << manifest.err;
  EXPECT_THAT(manifest.out, HasSubstr("wasmer/python@3.12.9+build.10\n"));
  EXPECT_EQ(manifest.err, warning);
  const test::Run name = resolve("wasmer/python@3.12.9+build.9");
  EXPECT_EQ(name.code, 0) << name.err;
  EXPECT_EQ(name.err, warning);
}

TEST_F(Builds, AnExactVersionSelectsItsBuild) {
  for (const test::Run& result : {resolve_manifest("=3.12.9+build.9"), resolve("wasmer/python@=3.12.9+build.9")}) {
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("wasmer/python@3.12.9+build.9\n"));
    EXPECT_EQ(result.err, "");
  }
  EXPECT_THAT(resolve_manifest("=3.12.9").out, HasSubstr("wasmer/python@3.12.9+build.10\n"));
}

TEST_F(Builds, ABuildThatNoRegistryHasIsSaidToBeMissing) {
  for (const test::Run& result : {resolve_manifest("=3.12.9+build.8"), resolve("wasmer/python@=3.12.9+build.8")}) {
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("wasmer/python@3.12.9+build.10\n"));
    EXPECT_THAT(result.err, HasSubstr("no registry has the build that it asks for"));
  }
}

TEST_F(Builds, ALockFileKeepsTheBuild) {
  const std::string lock = (dir_.path() / "app.lock").string();
  dir_.write("app/wasmer.toml", "[dependencies]\n\"wasmer/python\" = \"=3.12.9+build.9\"\n");
  const std::string app = (dir_.path() / "app").string();
  const test::Run written = run({"resolve", "--lock", lock, "--registry", (dir_.path() / "registry").string(), app});
  ASSERT_EQ(written.code, 0) << written.err;
  const test::Run locked = run({"tree", "--lock", lock, app});
  EXPECT_EQ(locked.code, 0) << locked.err;
}

TEST(Resolve, SeveralRegistriesAreMerged) {
  const test::Run result = run(
      {"resolve", "--json", "--registry", registry("wide-v3"), "--registry", registry("chain-v3"), "acme/app@2.0.0"});
  EXPECT_EQ(result.code, 0) << result.err;
}

}  // namespace
}  // namespace pkgfs
