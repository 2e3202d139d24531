// SPDX-License-Identifier: MIT
// Risk: a failure in the middle leaves a target that is neither the old one nor the new one.
#include "daemon/commands/staging.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "core/base/error.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// Everything below `root`: type, mode, time and content by path.
std::map<std::string, std::string> listing(const fs::path& root) {
  std::map<std::string, std::string> entries;
  const auto add = [&](const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    std::string text = std::to_string(status.st_mode) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
                       std::to_string(status.st_mtim.tv_nsec) + " ";
    text += S_ISLNK(status.st_mode)   ? fs::read_symlink(path).string()
            : S_ISREG(status.st_mode) ? test::read_text(path)
                                      : std::string();
    entries[path.string().substr(root.string().size())] = text;
  };
  add(root);
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    add(entry.path());
  }
  return entries;
}

void set_time(const fs::path& path, time_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

/// A directory with a target that has contents.
class StagingTest : public ::testing::Test {
 protected:
  StagingTest() {
    dir_.write("out/file", "old");
    dir_.write("out/kept", "mine");
    dir_.write("out/sub/file", "old below");
    dir_.write("out/sub/deep/file", "old deep below");
    fs::create_symlink("/nowhere", dir_.path() / "out/link");
    fs::permissions(dir_.path() / "out/sub", fs::perms(0750));
    for (const auto& entry : fs::recursive_directory_iterator(dir_.path() / "out")) {
      set_time(entry.path(), 1'000'000);
    }
    set_time(dir_.path() / "out", 1'000'000);
  }

  [[nodiscard]] std::string out() const { return (dir_.path() / "out").string(); }

  /// Where a Staging wants its contents.
  static fs::path tree_of(const Staging& staging) {
    const UniqueFd fd = staging.open();
    return fs::read_symlink("/proc/self/fd/" + std::to_string(fd.get()));
  }

  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  /// Fills a Staging of the target with a tree that replaces and adds at every level.
  static fs::path fill(const Staging& staging) {
    fs::path tree = tree_of(staging);
    write(tree / "file", "new");
    write(tree / "link", "new, and no link");
    write(tree / "added/file", "new");
    write(tree / "sub/file", "new below");
    write(tree / "sub/deep/file", "new deep below");
    write(tree / "sub/deep/more", "new deep below");
    fs::permissions(tree / "sub/deep", fs::perms(0500));
    fs::permissions(tree / "sub", fs::perms(0555));
    set_time(tree / "sub", 2'000'000);
    set_time(tree, 3'000'000);
    return tree;
  }

  [[nodiscard]] std::size_t entries_beside() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()));
  }

  test::TempDir dir_;
  CancelFlag cancel_;
};

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
  EXPECT_EQ(test::read_text(fs::path(path) / "a/b"), "text");
  EXPECT_EQ(entries_beside(), 2U);
  {
    Staging dropped((dir_.path() / "other").string(), false);
    write(tree_of(dropped) / "a/b", "text");
    fs::permissions(tree_of(dropped) / "a", fs::perms(0));
    fs::permissions(tree_of(dropped), fs::perms(0));
  }
  EXPECT_EQ(entries_beside(), 2U);
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
  EXPECT_EQ(test::read_text(target / "kept"), "mine");
  EXPECT_EQ(test::read_text(target / "file"), "new");
  EXPECT_EQ(fs::status(target / "link").type(), fs::file_type::regular);
  EXPECT_EQ(test::read_text(target / "sub/deep/file"), "new deep below");
  EXPECT_EQ(test::read_text(target / "added/file"), "new");
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
}  // namespace pkgfs
