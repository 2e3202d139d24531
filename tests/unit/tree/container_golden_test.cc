// SPDX-License-Identifier: MIT
// Single containers: the commands and trees that the runtimes make of them, here and of the third-party packages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/package/package_info.h"
#include "core/source/local_registry_source.h"
#include "core/tree/package_tree.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

/// The commands as the golden files list them.
void check_commands(const PackageTree& tree, const Json& golden) {
  ASSERT_EQ(tree.commands.size(), golden["commands"].size());
  for (std::size_t i = 0; i < tree.commands.size(); ++i) {
    const auto& wanted = golden["commands"][i];
    EXPECT_EQ(tree.commands[i].name, wanted["name"].get<std::string>());
    EXPECT_EQ(tree.commands[i].metadata.runner, wanted["runner"].get<std::string>());
    EXPECT_EQ(to_hex(sha256(tree.commands[i].atom.bytes())), wanted["atom_sha256"].get<std::string>());
    EXPECT_EQ(to_upper_hex(tree.commands[i].module_hash), wanted["hash"].get<std::string>());
  }
}

/// Expects that `tree` has all entries of Wasmer's tree, with the same content; with `all`, that it has no others.
void check_tree(PackageTree& tree, const Json& golden, bool all) {
  std::map<std::string, Json> shown;
  for (const auto& entry : listing(*tree.file_system)) {
    shown[entry["path"].get<std::string>()] = entry;
  }
  for (const auto& entry : golden) {
    const auto path = entry["path"].get<std::string>();
    if (path == "/" || !entry.contains("type") || (entry["type"] == "symlink" && !entry.contains("target"))) {
      continue;
    }
    ASSERT_TRUE(shown.contains(path)) << path;
    EXPECT_EQ(shown[path]["type"], entry["type"]) << path;
    if (entry["type"] == "file" && entry.contains("sha256")) {
      EXPECT_EQ(shown[path]["len"], entry["len"]) << path;
      EXPECT_EQ(shown[path]["sha256"], entry["sha256"]) << path;
    }
    if (entry["type"] == "symlink") {
      EXPECT_EQ(shown[path]["target"], entry["target"]) << path;
    }
  }
  if (all) {
    EXPECT_EQ(shown.size(), golden.size());
  }
}

class SingleContainer : public ::testing::TestWithParam<std::string> {};

TEST_P(SingleContainer, ShowsWhatTheRuntimesShow) {
  const CapturedLog log;
  const std::string path = (fixtures() / "webc" / GetParam()).string();
  bool compared = false;
  for (const char* runtime : {"0.28", "0.704"}) {
    const auto golden_file = fixtures() / "trees/webc" / (GetParam() + ".wasix-" + runtime + ".json");
    if (!std::filesystem::exists(golden_file)) {
      continue;
    }
    const Json golden = read_json(golden_file);
    if (golden["result"] != "ok") {
      continue;
    }
    compared = true;
    PackageTree tree = load_alone(path, only_files());
    EXPECT_TRUE(tree.command_errors.empty());
    check_commands(tree, golden["package"]);
    if (golden.contains("tree")) {
      // The older runtime leaves out what is above a mount.
      check_tree(tree, golden["tree"], std::string_view(runtime) == "0.704");
    }
    if (golden.contains("tree_from_mounts")) {
      check_tree(tree, golden["tree_from_mounts"], false);
    }
  }
  if (!compared) {  // no runtime opens it: then at least without a crash
    try {
      PackageTree tree = load_alone(path, {});
      (void)listing(*tree.file_system);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    }
  }
}

std::vector<std::string> containers() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(fixtures() / "webc")) {
    if (file.path().extension() == ".webc") {
      names.push_back(file.path().filename().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, SingleContainer, ::testing::ValuesIn(containers()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

TEST(ThirdPartyPackages, LoadAsTheRuntimesLoadThem) {
  const auto shared = shared_fixtures();
  if (!shared || !std::filesystem::is_directory(*shared / "third-party")) {
    GTEST_SKIP() << "the shared fixtures with the third-party packages aren't here";
  }
  for (const auto& file : std::filesystem::directory_iterator(*shared / "third-party")) {
    if (file.path().extension() != ".webc" && file.path().extension() != ".wasmer") {
      continue;
    }
    SCOPED_TRACE(file.path().filename().string());
    const CapturedLog log;
    const auto package = open_package(file.path().string());
    LocalRegistrySource stubs((fixtures() / "registry/stubs").string());
    PackageLoader loader({});
    const PackageInfo info = info_from_manifest(id_from_manifest(package->manifest(), package->hash()),
                                                package->manifest(), package->webc_version());
    PackageTree tree = load_package_tree(package, loader, resolve(info, stubs), only_files());
    EXPECT_GT(listing(*tree.file_system).size() + tree.commands.size(), 0U);
    for (const char* runtime : {"0.28", "0.704"}) {
      const auto golden_file = file.path().string() + ".wasix-" + runtime + ".json";
      if (!std::filesystem::exists(golden_file)) {
        continue;
      }
      const Json golden = read_json(golden_file);
      if (golden["result"] == "ok") {
        check_commands(tree, golden["package"]);
        for (const char* part : {"tree", "tree_from_mounts"}) {
          if (golden.contains(part)) {
            check_tree(tree, golden[part], false);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace pkgfs::test
