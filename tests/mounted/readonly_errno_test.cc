// SPDX-License-Identifier: MIT
// Risk: an attempt to change the tree gets through, or answers another errno than a read-only file system does
// (docs/rules/filesystem.md, 8, the whole table).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

/// errno, or 0 when the call succeeded.
int errno_of(int result) { return result < 0 ? errno : 0; }

int errno_of_open(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) {
    return errno;
  }
  ::close(fd);
  return 0;
}

struct Row {
  std::string call;
  std::function<int(const std::string&)> attempt;
  std::array<int, 4> expected;  // existing file, directory, missing, below a file
};

std::vector<Row> rows(const std::string& other) {
  const auto open_row = [](const std::string& name, int flags, std::array<int, 4> expected) {
    return Row{name, [flags](const std::string& path) { return errno_of_open(path, flags); }, expected};
  };
  const std::array<int, 4> write_existing{EROFS, EISDIR, ENOENT, ENOTDIR};
  const std::array<int, 4> create{EEXIST, EEXIST, EROFS, ENOTDIR};
  const std::array<int, 4> remove{EROFS, EROFS, EROFS, ENOTDIR};
  const std::array<int, 4> change{EROFS, EROFS, ENOENT, ENOTDIR};
  return {
      open_row("open(O_RDONLY)", O_RDONLY, {0, 0, ENOENT, ENOTDIR}),
      open_row("open(O_DIRECTORY)", O_RDONLY | O_DIRECTORY, {ENOTDIR, 0, ENOENT, ENOTDIR}),
      open_row("open(O_WRONLY)", O_WRONLY, write_existing),
      open_row("open(O_RDWR)", O_RDWR, write_existing),
      open_row("open(O_WRONLY|O_TRUNC)", O_WRONLY | O_TRUNC, write_existing),
      open_row("open(O_WRONLY|O_APPEND)", O_WRONLY | O_APPEND, write_existing),
      {"truncate", [](const std::string& path) { return errno_of(::truncate(path.c_str(), 0)); }, write_existing},
      open_row("open(O_RDONLY|O_CREAT)", O_RDONLY | O_CREAT, {0, EISDIR, EROFS, ENOTDIR}),
      open_row("open(O_WRONLY|O_CREAT)", O_WRONLY | O_CREAT, {EROFS, EISDIR, EROFS, ENOTDIR}),
      open_row("open(O_CREAT|O_EXCL)", O_WRONLY | O_CREAT | O_EXCL, create),
      {"mkdir", [](const std::string& path) { return errno_of(::mkdir(path.c_str(), 0755)); }, create},
      {"symlink", [](const std::string& path) { return errno_of(::symlink("x", path.c_str())); }, create},
      {"link to", [other](const std::string& path) { return errno_of(::link(other.c_str(), path.c_str())); }, create},
      {"mkfifo", [](const std::string& path) { return errno_of(::mkfifo(path.c_str(), 0644)); }, create},
      {"unlink", [](const std::string& path) { return errno_of(::unlink(path.c_str())); }, remove},
      {"rmdir", [](const std::string& path) { return errno_of(::rmdir(path.c_str())); }, remove},
      {"rename from", [](const std::string& path) { return errno_of(::rename(path.c_str(), (path + ".new").c_str())); },
       remove},
      {"chmod", [](const std::string& path) { return errno_of(::chmod(path.c_str(), 0600)); }, change},
      {"chown", [](const std::string& path) { return errno_of(::chown(path.c_str(), 1, 1)); }, change},
      {"utimensat", [](const std::string& path) { return errno_of(::utimensat(AT_FDCWD, path.c_str(), nullptr, 0)); },
       change},
      {"setxattr", [](const std::string& path) { return errno_of(::setxattr(path.c_str(), "user.x", "1", 1, 0)); },
       change},
      {"readlink",
       [](const std::string& path) {
         std::array<char, 16> text{};
         return ::readlink(path.c_str(), text.data(), text.size()) < 0 ? errno : 0;
       },
       {EINVAL, EINVAL, ENOENT, ENOTDIR}},
  };
}

class ReadOnlyErrno : public MountedTest {};

TEST_F(ReadOnlyErrno, EveryCallAnswersAsOnAnyReadOnlyFileSystem) {
  MountedPackage mount(kPkgfs, single("basic-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Tree before = list_tree(mount.path());
  std::string file;
  std::string directory;
  for (const auto& [path, entry] : before) {
    if (entry.type == "file" && entry.length > 0) {
      file = mount.path().string() + path;
    }
    if (entry.type == "dir" && path != "/data") {
      directory = mount.path().string() + path;
    }
  }
  ASSERT_FALSE(file.empty());
  ASSERT_FALSE(directory.empty());
  const std::array<std::pair<const char*, std::string>, 4> targets{
      {{"file", file}, {"directory", directory}, {"missing", file + ".absent"}, {"below a file", file + "/below"}}};
  for (const Row& row : rows(file)) {
    for (std::size_t column = 0; column < targets.size(); ++column) {
      EXPECT_EQ(row.attempt(targets[column].second), row.expected[column])
          << row.call << " of " << targets[column].first << ", expected "
          << ::strerror(row.expected[column]);  // NOLINT(concurrency-mt-unsafe)
    }
  }
  EXPECT_EQ(difference(before, list_tree(mount.path())), "") << "an attempt changed something";
}

TEST_F(ReadOnlyErrno, ReadingADirectoryIsEisdirAndPastTheEndIsNothing) {
  MountedPackage mount(kPkgfs, single("sizes-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::array<char, 64> buffer{};
  const UniqueFd directory(::open(mount.path().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(::read(directory.get(), buffer.data(), buffer.size()), -1);
  EXPECT_EQ(errno, EISDIR);
  for (const auto& [path, entry] : list_tree(mount.path())) {
    if (entry.type != "file") {
      continue;
    }
    const UniqueFd file(::open((mount.path().string() + path).c_str(), O_RDONLY | O_CLOEXEC));
    const auto size = static_cast<off_t>(entry.length);
    EXPECT_EQ(::pread(file.get(), buffer.data(), buffer.size(), size), 0) << path;
    EXPECT_EQ(::pread(file.get(), buffer.data(), buffer.size(), size + 1'000'000), 0) << path;
    EXPECT_EQ(::pread(file.get(), buffer.data(), 0, 0), 0) << path;
    if (size > 0) {
      EXPECT_EQ(::pread(file.get(), buffer.data(), buffer.size(), size - 1), 1) << path;
    }
  }
}

TEST_F(ReadOnlyErrno, NamesBeyondTheLimitAreEnametoolong) {
  MountedPackage mount(kPkgfs, single("basic-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(errno_of_open(mount / std::string(255, 'n'), O_RDONLY), ENOENT);
  EXPECT_EQ(errno_of_open(mount / std::string(256, 'n'), O_RDONLY), ENAMETOOLONG);
  struct statvfs status{};
  ASSERT_EQ(::statvfs(mount.path().c_str(), &status), 0);
  EXPECT_EQ(status.f_namemax, 255U);
}

TEST_F(ReadOnlyErrno, MissingNamesStayMissingHoweverOftenAsked) {
  MountedPackage mount(kPkgfs, single("basic-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(errno_of_open(mount / "absent", O_RDONLY), ENOENT);
    EXPECT_EQ(errno_of_open(mount / "DATA", O_RDONLY), ENOENT) << "names are bytes, no case folding";
  }
}

TEST_F(ReadOnlyErrno, RemountingWritableDoesNotHelp) {
  MountedPackage mount(kPkgfs, single("basic-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can remount";
  }
  static_cast<void>(run({"mount", "-o", "remount,rw", mount.path()}));
  EXPECT_EQ(errno_of(::mkdir((mount / "new").c_str(), 0755)), EROFS) << "the daemon itself must refuse";
}

}  // namespace
}  // namespace pkgfs::test
