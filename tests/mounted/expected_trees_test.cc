// SPDX-License-Identifier: MIT
// Risk: the merged tree of a package and its dependencies isn't what the golden trees say, seen through the kernel.
#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

using nlohmann::ordered_json;

/// What the documents ask for where the golden facts have no text of their own, or one that pkgfs words differently.
struct Text {
  const char* set_prefix;
  const char* root;
  const char* text;
  const char* reason;
};
constexpr Text kTexts[] = {
    {"alias-", "acme/byname@1.0.0", "package maps a volume from ", "the reference panics (resolution.md 5)"},
    {"alias-", "acme/trans@1.0.0", "package maps a volume from ", "the reference panics (resolution.md 5)"},
    {"fserr-", "acme/noalias@1.0.0", "package maps a volume from ", "the reference panics (resolution.md 5)"},
};

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
  for (const Text& text : kTexts) {
    if (set.starts_with(text.set_prefix) && root == text.root) {
      return text.text;
    }
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
    MountedPackage mount(kPkgfs, root, {"--no-commands", "--registry", registry(set)});
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
