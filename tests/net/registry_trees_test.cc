// SPDX-License-Identifier: MIT
// Risk: a package that comes from a registry isn't the same as from the directory that the registry serves.
#include <nlohmann/json.hpp>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

using nlohmann::ordered_json;

/// Roots whose registry answers differ from the directory, and why.
struct Difference {
  const char* set_prefix;
  const char* root;
  const char* text;  // that a failure over the network must show; null: it succeeds
  const char* reason;
};
constexpr const char* kById = "what is found by hash is called by its hash; a directory knows the name from the path";
constexpr const char* kSideFile = "the hash of the side file is announced, so only the download finds out";
constexpr const char* kUnreadable = "the registry has no manifest of a container that can't be read";
constexpr const char* kStranger = "a package of a registry names a URL of another server";
constexpr Difference kDifferences[] = {
    {"identity-", "acme/bad@", "image hash mismatch", kSideFile},
    {"identity-", "acme/usesbad@", "image hash mismatch", kSideFile},
    {"identity-", "sha256:", nullptr, kById},
    {"identity-", "acme/useshash@", nullptr, kById},
    {"identity-", "acme/useshash2@", nullptr, kById},
    {"fserr-", "acme/badfs@", "was found, but it can't be used", kUnreadable},
    {"missing-", "acme/usesbroken@", "was found, but it can't be used", kUnreadable},
    {"missing-", "acme/url@", "--allow-url-dependencies accepts it", kStranger},
};

const Difference* find_difference(const std::string& set, const std::string& root) {
  for (const Difference& difference : kDifferences) {
    if (set.starts_with(difference.set_prefix) && root.starts_with(difference.root)) {
      return &difference;
    }
  }
  return nullptr;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

class RegistryTrees : public NetTest, public ::testing::WithParamInterface<std::string> {
 protected:
  /// Mounts the first package of `set` whose tree the reference has, and compares what the kernel shows.
  void expect_golden_mount(const std::string& set, const ordered_json& golden, const TestRegistry& server) const {
    for (const auto& [root, expected] : golden.items()) {
      if (!expected.contains("tree") || find_difference(set, root) != nullptr) {
        continue;
      }
      const MountedPackage mount(kPkgfs, root, {"--no-commands", "--mtime=stored", "--registry", server.endpoint()},
                                 {.environment = environment()});
      ASSERT_TRUE(mount.ok()) << root << mount.result().describe();
      EXPECT_EQ(difference(tree_from_json(expected.at("tree")), list_tree(mount.path())), "") << root;
      return;  // the others are compared without a mount
    }
  }
};

TEST_P(RegistryTrees, EqualThoseOfTheDirectory) {
  const std::string& set = GetParam();
  const ordered_json golden = read_json(fixtures() / "expected" / (set + ".json"));
  const TestRegistry server({registry(set)});
  for (const auto& [root, expected] : golden.items()) {
    SCOPED_TRACE(set + " " + root);
    for (const Arguments& command : {Arguments{"resolve", "--json"}, Arguments{"tree", "--json", "--no-commands"}}) {
      Arguments local = command;
      local.insert(local.end(), {"--quiet", "--registry", registry(set), root});
      Arguments remote = command;
      remote.insert(remote.end(), {"--quiet", "--registry", server.endpoint(), root});
      const ProcessResult a = pkgfs(local);
      const ProcessResult b = pkgfs(remote);
      if (const Difference* difference = find_difference(set, root)) {
        // The tree command goes the whole way.
        EXPECT_TRUE(difference->text != nullptr || b.ok()) << b.describe();
        EXPECT_TRUE(b.ok() || b.err.find(difference->text) != std::string::npos) << b.describe();
        EXPECT_FALSE(b.ok() && difference->text != nullptr && command.front() == "tree") << b.describe();
        continue;
      }
      EXPECT_EQ(a.exit_code, b.exit_code) << a.describe() << b.describe();
      EXPECT_EQ(a.out, b.out);
      if (!a.ok()) {
        EXPECT_EQ(first_line(a.err), first_line(b.err));
      }
    }
  }
  if (fuse_missing().empty()) {
    expect_golden_mount(set, golden, server);
  }
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

INSTANTIATE_TEST_SUITE_P(Sets, RegistryTrees, ::testing::ValuesIn(fixture_names("expected", ".json")),
                         [](const auto& set) { return test_name(set.param); });

}  // namespace
}  // namespace pkgfs::test
