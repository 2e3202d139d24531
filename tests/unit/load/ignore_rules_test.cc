// SPDX-License-Identifier: MIT
#include "core/load/ignore_rules.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "core/load/directory_package.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using Verdict = IgnoreFile::Verdict;

struct Case {
  std::string pattern;
  std::string path;
  bool directory;
  bool ignored;
};

TEST(IgnoreFile, FollowsGitignoresSyntax) {
  const std::vector<Case> cases{
      {"a.txt", "a.txt", false, true},
      {"a.txt", "deep/er/a.txt", false, true},
      {"a.txt", "ba.txt", false, false},
      {"/a.txt", "a.txt", false, true},
      {"/a.txt", "deep/a.txt", false, false},
      {"deep/a.txt", "deep/a.txt", false, true},
      {"deep/a.txt", "x/deep/a.txt", false, false},
      {"dir/", "dir", true, true},
      {"dir/", "dir", false, false},
      {"dir/", "x/dir", true, true},
      {"*.o", "x/y.o", false, true},
      {"*.o", "x.o/y", false, false},
      {"a*b*c", "aXXbYYc", false, true},
      {"a*b*c", "aXXbYY", false, false},
      {"x/*", "x/y", false, true},
      {"x/*", "x/y/z", false, false},
      {"**/logs", "logs", true, true},
      {"**/logs", "a/b/logs", true, true},
      {"logs/**", "logs", true, false},
      {"logs/**", "logs/a/b", false, true},
      {"a/**/b", "a/b", false, true},
      {"a/**/b", "a/x/y/b", false, true},
      {"a/**/b", "ab", false, false},
      {"file?", "file1", false, true},
      {"file?", "file", false, false},
      {"[ab]c", "bc", false, true},
      {"[!ab]c", "bc", false, false},
      {"[!ab]c", "xc", false, true},
      {"[a-c]x", "bx", false, true},
      {"[]]x", "]x", false, true},
      {"[x", "[x", false, true},
      {"\\#x", "#x", false, true},
      {"\\!x", "!x", false, true},
      {"# comment", "# comment", false, false},
      {"x   ", "x", false, true},
      {"x\\ ", "x ", false, true},
      {"\\*", "*", false, true},
      {"\\*", "x", false, false},
      {"ü*", "ünï", false, true},
  };
  for (const auto& item : cases) {
    const Verdict verdict = IgnoreFile(item.pattern + "\r\n").verdict(item.path, item.directory);
    EXPECT_EQ(verdict == Verdict::kIgnore, item.ignored) << item.pattern << " on " << item.path;
  }
}

TEST(IgnoreFile, TheLastPatternThatMatchesDecides) {
  const IgnoreFile rules("*.log\n!keep.log\n\nkeep.log/\n");
  EXPECT_EQ(rules.verdict("a.log", false), Verdict::kIgnore);
  EXPECT_EQ(rules.verdict("keep.log", false), Verdict::kKeep);
  EXPECT_EQ(rules.verdict("keep.log", true), Verdict::kIgnore);
  EXPECT_EQ(rules.verdict("other", false), Verdict::kNone);
}

TEST(IgnoreFile, HostilePatternsEndSoon) {
  std::string stars;
  std::string deep;
  for (int i = 0; i < 2000; ++i) {
    stars += "*a";
    deep += "**/";
  }
  const IgnoreFile rules(stars + "\n" + deep + "x\n");
  EXPECT_EQ(rules.verdict(std::string(255, 'a'), false), Verdict::kNone);
}

TEST(IgnoreRules, DeeperFilesWinAndGitIsSkippedOnlyWithoutAny) {
  const TempDir dir;
  dir.write("pkg/.wasmerignore", "*.tmp\n/top\n");
  dir.write("pkg/vol/sub/.wasmerignore", "!keep.tmp\n");
  dir.write("pkg/vol/sub/keep.tmp", "");
  const UniqueFd vol(::open((dir.path() / "pkg/vol").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const IgnoreRules rules(vol.get());
  EXPECT_TRUE(rules.hidden("a.tmp", false));
  EXPECT_TRUE(rules.hidden("sub/a.tmp", false));
  EXPECT_FALSE(rules.hidden("sub/keep.tmp", false));
  EXPECT_FALSE(rules.hidden("top", false)) << "is anchored one level higher";
  EXPECT_FALSE(rules.hidden(".git", true)) << "there is an ignore file above";

  const TempDir plain;
  plain.write("vol/.git/config", "");
  const UniqueFd other(::open((plain.path() / "vol").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const IgnoreRules none(other.get());
  EXPECT_TRUE(none.hidden(".git", true));
  EXPECT_TRUE(none.hidden("x/.git", true));
  EXPECT_FALSE(none.hidden(".gitignore", false));
}

}  // namespace
}  // namespace pkgfs::test
