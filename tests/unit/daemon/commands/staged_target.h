// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <string>

#include "daemon/commands/staging.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {

namespace fs = std::filesystem;

/// Everything below `root`: type, mode, time and content by path.
inline std::map<std::string, std::string> listing(const fs::path& root) {
  std::map<std::string, std::string> entries;
  const auto add = [&](const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    std::string text = std::to_string(status.st_mode) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
                       std::to_string(status.st_mtim.tv_nsec) + " ";
    text += S_ISLNK(status.st_mode)   ? fs::read_symlink(path).string()
            : S_ISREG(status.st_mode) ? read_text(path)
                                      : std::string();
    entries[path.string().substr(root.string().size())] = text;
  };
  add(root);
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    add(entry.path());
  }
  return entries;
}

inline void set_time(const fs::path& path, time_t seconds) {
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

  /// The only hidden directory in the target.
  [[nodiscard]] std::string hidden() const {
    std::string name;
    for (const auto& entry : fs::directory_iterator(out())) {
      if (entry.path().filename().string().starts_with(".pkgfs-")) {
        EXPECT_EQ(name, "");
        name = entry.path().filename();
      }
    }
    EXPECT_NE(name, "");
    return name;
  }

  [[nodiscard]] std::size_t entries_beside() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()));
  }

  TempDir dir_;
  CancelFlag cancel_;
};

}  // namespace pkgfs::test
