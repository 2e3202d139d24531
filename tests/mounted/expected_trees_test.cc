// SPDX-License-Identifier: MIT
// Risk: the merged tree of a package and its dependencies isn't what the golden trees say, seen through the kernel.
#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

using nlohmann::ordered_json;

/// A case in which the mount differs from the golden facts, and the reason. The differences in resolution itself are in
/// tests/unit/resolve/golden_test.cc.
struct Difference {
  const char* set_prefix;
  const char* root;
  const char* text;      // the message; nullptr: it loads
  const char* includes;  // then: a root of the set whose tree must be part of this one, or nullptr
  const char* reason;
};
constexpr const char* kNoHash =
    "Unable to find \"sha256:abababababababababababababababababababababababababababababababab\" in the registry";
constexpr Difference kDifferences[] = {
    {"alias-", "acme/byname@1.0.0", "package maps a volume from ", nullptr,
     "the reference panics (docs/rules/resolution.md, 5)"},
    {"alias-", "acme/trans@1.0.0", "package maps a volume from ", nullptr,
     "the reference panics (docs/rules/resolution.md, 5)"},
    {"fserr-", "acme/noalias@1.0.0", "package maps a volume from ", nullptr,
     "the reference panics (docs/rules/resolution.md, 5)"},
    {"identity-", "acme/useshash@1.0.0", nullptr, nullptr,
     "sha256:… is a hash, no URL (docs/rules/resolution.md, 3.2)"},
    {"identity-", "acme/useshash2@1.0.0", nullptr, "acme/good@1.0.0",
     "sha256:… is a hash, no URL (docs/rules/resolution.md, 3.2)"},
    {"identity-", "acme/nohash@1.0.0", kNoHash, nullptr, "sha256:… is a hash, no URL (docs/rules/resolution.md, 3.2)"},
};

const Difference* find_difference(const std::string& set, const std::string& root) {
  for (const Difference& difference : kDifferences) {
    if (set.starts_with(difference.set_prefix) && root == difference.root) {
      return &difference;
    }
  }
  return nullptr;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// The outermost text that the failure must show.
std::string expected_text(const std::string& set, const std::string& root, const ordered_json& golden) {
  if (const auto error = golden.find("error"); error != golden.end()) {
    return error->get<std::string>();
  }
  if (const Difference* difference = find_difference(set, root)) {
    return difference->text;
  }
  for (const ordered_json& chain : golden.at("resolution_fails")) {
    if (chain.is_array() && !chain.empty()) {
      return replaced(chain.front().get<std::string>(), "<ROOT>", registry(set));
    }
  }
  return {};
}

class ExpectedTrees : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(ExpectedTrees, MountShowsExactlyTheGoldenTree) {
  const std::string& set = GetParam();
  const ordered_json golden = read_json(fixtures() / "expected" / (set + ".json"));
  ASSERT_FALSE(golden.empty());
  for (const auto& [root, expected] : golden.items()) {
    SCOPED_TRACE(set + " " + root);
    MountedPackage mount(kPkgfs, root, {"--no-commands", "--offline", "--mtime=stored", "--registry", registry(set)});
    const Difference* different = find_difference(set, root);
    if (different != nullptr && different->text == nullptr) {
      ASSERT_TRUE(mount.ok()) << mount.result().describe();
      const Tree shown = list_tree(mount.path());
      EXPECT_FALSE(shown.empty());
      if (different->includes == nullptr) {
        continue;
      }
      for (const auto& [path, entry] : tree_from_json(golden.at(different->includes).at("tree"))) {
        EXPECT_TRUE(shown.contains(path) && shown.at(path) == entry) << path;
      }
      continue;
    }
    const auto tree = expected.find("tree");
    if (tree == expected.end()) {
      expect_refused(mount);
      const std::string text = expected_text(set, root, expected);
      ASSERT_FALSE(text.empty()) << "the golden file says neither tree nor error";
      EXPECT_NE(mount.result().err.find(text), std::string::npos) << "expected: " << text << "\n"
                                                                  << mount.result().describe();
      continue;
    }
    if (!mount.ok()) {
      ADD_FAILURE() << mount.result().describe();
      continue;
    }
    EXPECT_EQ(difference(tree_from_json(*tree), list_tree(mount.path())), "");
    for (const ordered_json& warning : expected.at("warnings")) {
      if (warning.get<std::string>().starts_with("missing source")) {
        EXPECT_NE(mount.result().err.find("but that path doesn't exist"), std::string::npos)
            << mount.result().describe();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, ExpectedTrees, ::testing::ValuesIn(fixture_names("expected", ".json")),
                         [](const auto& set) { return test_name(set.param); });

}  // namespace
}  // namespace pkgfs::test
