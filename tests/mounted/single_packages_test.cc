// SPDX-License-Identifier: MIT
// Risk: one container's volumes don't show as its golden JSON lists them, or a package that can't be loaded is mounted.
#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

using nlohmann::ordered_json;

/// The golden files show what the 0.28 crates do with these alone: the texts are in trees/webc. "" where they load.
std::string expected_failure(const std::string& name) {
  const std::filesystem::path golden = fixtures() / "trees/webc" / (name + ".webc.wasix-0.28.json");
  if (!std::filesystem::exists(golden)) {
    return {};  // too big for that run (many, random1, big4m): they load
  }
  const ordered_json json = read_json(golden);
  return json.at("result") == "ok" ? std::string() : json.at("error").at(0).get<std::string>();
}

/// The mappings that the manifest asks for, or the rule for packages without any (docs/rules/webc-format.md, 8.5).
ordered_json mappings_of(const ordered_json& golden) {
  if (!golden.at("filesystem").is_null()) {
    return golden.at("filesystem");
  }
  if (golden.at("format_version") == "3") {
    return ordered_json::array();
  }
  return ordered_json::array({{{"volume_name", "atom"}, {"mount_path", "/"}}});
}

void add_parents(Tree& tree, const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    tree.try_emplace(path.substr(0, at), TreeEntry{.type = "dir", .length = 0, .mtime_ns = kSecond});
  }
}

/// Only for what the single fixtures have: whole volumes at one mount path each. Mappings are the merge tests' matter.
Tree expected_tree(const ordered_json& golden) {
  Tree tree;
  for (const ordered_json& mapping : mappings_of(golden)) {
    for (const ordered_json& volume : golden.at("volumes")) {
      if (volume.at("name") != mapping.at("volume_name")) {
        continue;
      }
      std::string at = mapping.at("mount_path").get<std::string>();
      if (at == "/") {
        at.clear();
      } else {
        const ordered_json& mtime = volume.at("root_mtime_ns");
        add_parents(tree, at);
        tree[at] = TreeEntry{.type = "dir", .mtime_ns = mtime.is_number() ? mtime.get<std::int64_t>() : kSecond};
      }
      for (auto& [path, entry] : tree_from_json(volume.at("entries"))) {
        tree[at + path] = entry;
      }
    }
  }
  for (auto& [path, entry] : tree) {
    entry.mtime_ns = std::max(entry.mtime_ns, kSecond);
  }
  return tree;
}

class SinglePackages : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(SinglePackages, ShowsItsVolumesOrSaysWhyNot) {
  const std::string& name = GetParam();
  MountedPackage mount(kPkgfs, single(name), {"--no-commands", "--offline", "--mtime=stored"});
  if (const std::string failure = expected_failure(name); !failure.empty()) {
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find(failure), std::string::npos) << "expected: " << failure << "\n"
                                                                   << mount.result().describe();
    return;
  }
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ordered_json golden = read_json(fixtures() / "webc" / (name + ".webc.json"));
  EXPECT_EQ(difference(expected_tree(golden), list_tree(mount.path())), "");
}

INSTANTIATE_TEST_SUITE_P(Files, SinglePackages, ::testing::ValuesIn(fixture_names("webc", ".webc")),
                         [](const auto& file) { return test_name(file.param); });

}  // namespace
}  // namespace pkgfs::test
