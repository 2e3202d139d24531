// SPDX-License-Identifier: MIT
// Risk: a failure in the middle leaves a target that is neither the old one nor the new one.
#include "daemon/commands/staging.h"

#include <gmock/gmock.h>

#include "core/base/error.h"
#include "core/base/utf8.h"
#include "tests/unit/daemon/commands/staged_target.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

TEST_F(StagingTest, ANewTargetAppearsWhole) {
  const std::string path = (dir_.path() / "new").string();
  {
    Staging staging(path + "//", false);
    const fs::path tree = tree_of(staging);
    EXPECT_EQ(tree.parent_path(), dir_.path()) << "on the same file system";
    EXPECT_TRUE(tree.filename().string().starts_with(".new.pkgfs-")) << tree;
    write(tree / "a/b", "text");
    EXPECT_FALSE(fs::exists(path));
    staging.publish(cancel_);
  }
  EXPECT_EQ(read_text(fs::path(path) / "a/b"), "text");
  EXPECT_EQ(entries_beside(), 2U);
  {
    Staging dropped((dir_.path() / "other").string(), false);
    write(tree_of(dropped) / "a/b", "text");
    fs::permissions(tree_of(dropped) / "a", fs::perms(0));
    fs::permissions(tree_of(dropped), fs::perms(0));
  }
  EXPECT_EQ(entries_beside(), 2U);
}

TEST_F(StagingTest, LeftoversBesideANewTargetAreTold) {
  const std::string path = (dir_.path() / "new").string();
  dir_.write(".new.pkgfs-0123456789abcdef/replaced/a", "of a package");
  dir_.write(".newer.pkgfs-0123456789abcdef/a", "of another target");
  const CapturedLog log;
  {
    const Staging first(path, false);
    const Staging second(path, false);  // the first one works still
  }
  const std::string told =
      "a \"pkgfs extract\" to \"" + path + "\" was killed and left \".new.pkgfs-0123456789abcdef\"";
  EXPECT_THAT(log.text(), HasSubstr(told));
  EXPECT_EQ(std::ranges::count(log.text(), '\n'), 2) << log.text();
}

TEST_F(StagingTest, ATargetThatAppearsMeanwhileStays) {
  const fs::path path = dir_.path() / "new";
  {
    Staging staging(path.string(), false);
    write(tree_of(staging) / "a", "text");
    fs::create_directory(path);
    EXPECT_THROW(staging.publish(cancel_), Error);
  }
  EXPECT_TRUE(fs::is_empty(path));
  EXPECT_EQ(entries_beside(), 2U);
}

TEST_F(StagingTest, AnEmptyTargetStaysTheSameDirectory) {
  const fs::path path = dir_.path() / "empty";
  fs::create_directory(path);
  fs::permissions(path, fs::perms(0711));
  set_time(path, 1'000'000);
  struct stat before{};
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  const auto unchanged = listing(path);
  {
    const Staging dropped(path.string(), false);
    write(tree_of(dropped) / "a", "text");
  }
  EXPECT_EQ(listing(path), unchanged);
  {
    Staging staging(path.string(), false);
    write(tree_of(staging) / "a", "text");
    staging.publish(cancel_);
  }
  struct stat after{};
  ASSERT_EQ(::stat(path.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(std::distance(fs::directory_iterator(path), fs::directory_iterator()), 1);
}

TEST_F(StagingTest, ContentsAreMerged) {
  EXPECT_THROW(Staging(out(), false), Error);
  {
    Staging staging(out(), true);
    (void)fill(staging);
    staging.publish(cancel_);
  }
  const fs::path target = out();
  EXPECT_EQ(read_text(target / "kept"), "mine");
  EXPECT_EQ(read_text(target / "file"), "new");
  EXPECT_EQ(fs::status(target / "link").type(), fs::file_type::regular);
  EXPECT_EQ(read_text(target / "sub/deep/file"), "new deep below");
  EXPECT_EQ(read_text(target / "added/file"), "new");
  EXPECT_EQ(fs::status(target / "sub").permissions(), fs::perms(0555));
  EXPECT_EQ(fs::status(target / "sub/deep").permissions(), fs::perms(0500));
  const auto all = listing(target);
  EXPECT_EQ(all.size(), 11U) << "nothing hidden stays";
  EXPECT_THAT(all.at("/sub"), HasSubstr(" 2000000.0"));
  EXPECT_THAT(all.at(""), HasSubstr(" 3000000.0"));
}

TEST_F(StagingTest, AConflictTakesEverythingBack) {
  const auto before = listing(out());
  const std::size_t beside = entries_beside();
  for (const auto& [path, text] : std::map<std::string, std::string>{
           {"sub/deep/file/x", "out/sub/deep/file\": Not a directory"},  // found when the rest is moved
           {"link/x", "out/link\": Not a directory"},
           {"sub/deep", "out/sub/deep\": Is a directory"}}) {
    SCOPED_TRACE(path);
    std::string error;
    try {
      Staging staging(out(), true);
      const fs::path tree = fill(staging);
      fs::permissions(tree / "sub", fs::perms(0755));
      fs::remove_all(tree / path.substr(0, path.find("/x")));
      write(tree / path, "in the way");
      staging.publish(cancel_);
    } catch (const Error& failure) {
      error = failure.what();
    }
    EXPECT_THAT(error, HasSubstr(text));
    EXPECT_EQ(listing(out()), before);
    EXPECT_EQ(entries_beside(), beside);
  }
}

TEST_F(StagingTest, ASignalTakesEverythingBack) {
  const auto before = listing(out());
  cancel_.cancel();
  {
    Staging staging(out(), true);
    (void)fill(staging);
    EXPECT_THROW(staging.publish(cancel_), Error);
  }
  EXPECT_EQ(listing(out()), before);
}

TEST_F(StagingTest, ALongNameIsCutBetweenCharacters) {
  std::string name;
  for (int i = 0; i < 85; ++i) {
    name += "…";
  }
  const Staging staging((dir_.path() / name).string(), false);
  const std::string hidden = tree_of(staging).filename().string();
  EXPECT_TRUE(hidden.starts_with("." + name.substr(0, 198) + ".pkgfs-")) << hidden;
  EXPECT_TRUE(is_utf8(hidden));
}

TEST_F(StagingTest, BadTargetsAreNamed) {
  const auto error_of = [&](const std::string& path) -> std::string {
    try {
      const Staging staging((dir_.path() / path).string(), false);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  fs::create_symlink("nowhere", dir_.path() / "dangling");
  EXPECT_THAT(error_of("out/file"), HasSubstr("out/file\": Not a directory"));
  EXPECT_THAT(error_of("no/such"), HasSubstr("no/such\": No such file or directory"));
  EXPECT_THAT(error_of("dangling"), HasSubstr("dangling\": No such file or directory"));
  EXPECT_THAT(error_of("out"), HasSubstr("isn't empty"));
  EXPECT_EQ(entries_beside(), 2U);
}

}  // namespace
}  // namespace pkgfs::test
