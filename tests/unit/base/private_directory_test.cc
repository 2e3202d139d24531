// SPDX-License-Identifier: MIT
// Risk: another user of a shared directory gets pkgfs to read, write or remove a file elsewhere.
#include "core/base/private_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/error.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Content = PrivateDirectory::Content;

constexpr uid_t kNobody = 65534;

/// Runs `call` in a child without rights over the files of others. Returns what it says.
std::string as_another_user(const std::function<std::string()>& call) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "no such user";
    if (::setgid(kNobody) == 0 && ::setuid(kNobody) == 0) {
      said = call();
    }
    ::_exit(::write(ends[1], said.data(), said.size()) < 0 ? 1 : 0);
  }
  ::close(ends[1]);
  std::string said(4096, '\0');
  const ssize_t length = ::read(ends[0], said.data(), said.size());
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  said.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
  return said;
}

/// Makes a directory in `dir` to which every user may write, as /tmp is one.
fs::path make_shared_directory(const TempDir& dir) {
  fs::permissions(dir.path(), fs::perms::all);
  fs::create_directory(dir.path() / "shared");
  fs::permissions(dir.path() / "shared", fs::perms::all | fs::perms::sticky_bit);
  return dir.path() / "shared";
}

TEST(PrivateDirectory, IsMadeWithItsParentsAndFoundAgain) {
  const TempDir dir;
  const std::string path = dir.path() / "a/b/c";
  EXPECT_FALSE(PrivateDirectory::find(path));
  EXPECT_EQ(PrivateDirectory::make(path).path(), path);
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
  EXPECT_TRUE(PrivateDirectory::find(path));
  dir.write("file", "");
  EXPECT_THROW(static_cast<void>(PrivateDirectory::make(dir.path() / "file")), Error);
  EXPECT_FALSE(PrivateDirectory::find(dir.path() / "file"));
}

TEST(PrivateDirectory, LinkInItsPlaceIsRemovedAndNotFollowed) {
  const TempDir dir;
  const CapturedLog log;
  fs::permissions(dir.path(), fs::perms::all);
  fs::create_directory(dir.path() / "elsewhere");
  fs::create_directory_symlink("elsewhere", dir.path() / "ours");
  EXPECT_FALSE(PrivateDirectory::find(dir.path() / "ours"));
  const PrivateDirectory made = PrivateDirectory::make(dir.path() / "ours");
  made.write_file("x", "text");
  EXPECT_EQ(made.read_file("x", 10), "text");
  EXPECT_TRUE(fs::is_empty(dir.path() / "elsewhere"));
  EXPECT_THAT(log.text(), HasSubstr("a symbolic link to \"elsewhere\""));
}

TEST(PrivateDirectory, LinkThatOnlyThisUserCanHaveMadeIsFollowed) {
  const TempDir dir;
  const CapturedLog log;
  fs::create_directory(dir.path() / "other disk");
  fs::create_directory_symlink("other disk", dir.path() / "ours");
  PrivateDirectory::make(dir.path() / "ours").write_file("x", "text");
  EXPECT_EQ(read_text(dir.path() / "other disk/x"), "text");
  ASSERT_TRUE(PrivateDirectory::find(dir.path() / "ours"));
  EXPECT_EQ(PrivateDirectory::find(dir.path() / "ours")->read_file("x", 10), "text");
  EXPECT_TRUE(fs::is_symlink(dir.path() / "ours"));
  EXPECT_EQ(log.text(), "");
  if (::geteuid() == 0) {
    ASSERT_EQ(::lchown((dir.path() / "ours").c_str(), kNobody, kNobody), 0);
    EXPECT_FALSE(PrivateDirectory::find(dir.path() / "ours")) << "it is of another user";
  }
  fs::remove_all(dir.path() / "other disk");
  EXPECT_FALSE(PrivateDirectory::find(dir.path() / "ours"));
  dir.write("other disk", "no directory");
  fs::remove(dir.path() / "ours");
  fs::create_symlink("other disk", dir.path() / "ours");
  EXPECT_THROW(static_cast<void>(PrivateDirectory::make(dir.path() / "ours")), Error);
  EXPECT_TRUE(fs::is_symlink(dir.path() / "ours"));
}

/// What `make` says of the directory `path`; empty if it opens it.
std::string refusal(const fs::path& path) {
  try {
    static_cast<void>(PrivateDirectory::make(path));
    return {};
  } catch (const Error& error) {
    return error.code() == ErrorCode::kPermission ? error.what() : "another code";
  }
}

TEST(PrivateDirectory, DirectoryOfAnotherUserIsRefused) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const TempDir dir;
  const fs::path shared = dir.path() / "shared";
  fs::create_directory(shared);
  for (const fs::perms mode : {fs::perms::owner_all, fs::perms::all | fs::perms::sticky_bit}) {
    ASSERT_EQ(::chown(shared.c_str(), kNobody, kNobody), 0);
    fs::permissions(shared, mode);
    EXPECT_THAT(refusal(shared), HasSubstr(shared.string() + "\" belongs to user 65534, who could replace"));
    EXPECT_THAT(refusal(shared), HasSubstr("chown root \"" + shared.string() + "\" && chmod 1777"));
    EXPECT_TRUE(fs::is_empty(shared)) << "nothing is left there";
    ASSERT_EQ(::chown(shared.c_str(), 0, 0), 0);
    EXPECT_EQ(refusal(shared), "");
  }
}

TEST(PrivateDirectory, DirectoryThatOthersMayWriteGetsTheStickyBit) {
  const TempDir dir;
  fs::permissions(dir.path(), fs::perms::all);
  const fs::path shared = dir.path() / "shared";
  fs::create_directory(shared);
  fs::permissions(shared, fs::perms::all);
  if (::geteuid() == 0) {  // only the owner can set it
    EXPECT_THAT(as_another_user([&] { return refusal(shared); }),
                HasSubstr("its mode is 0777, without the sticky bit"));
  }
  EXPECT_EQ(refusal(shared), "");
  EXPECT_EQ(fs::status(shared).permissions(), fs::perms::all | fs::perms::sticky_bit);
  if (::geteuid() == 0) {
    EXPECT_EQ(as_another_user([&] { return refusal(shared); }), "");
  }
}

TEST(PrivateDirectory, StaysTheSameWhereverItsPathLeads) {
  const TempDir dir;
  const PrivateDirectory ours = PrivateDirectory::make(dir.path() / "ours");
  fs::create_directory(dir.path() / "elsewhere");
  fs::rename(dir.path() / "ours", dir.path() / "moved");
  fs::create_directory_symlink("elsewhere", dir.path() / "ours");
  ours.write_file("x", "text");
  EXPECT_TRUE(fs::exists(dir.path() / "moved/x"));
  EXPECT_EQ(ours.move_out("x", dir.path() / "out"), 0);
  EXPECT_EQ(read_text(dir.path() / "out"), "text");
  EXPECT_TRUE(fs::is_empty(dir.path() / "elsewhere"));
}

TEST(PrivateDirectory, LinksAreNeitherReadNorListed) {
  const TempDir dir;
  const fs::path secret = dir.write("secret", "secret");
  const PrivateDirectory ours = PrivateDirectory::make(dir.path() / "ours");
  fs::create_symlink(secret, dir.path() / "ours/link");
  EXPECT_THROW(static_cast<void>(ours.read_file("link", 10)), Error);
  std::error_code failed;
  ours.for_each_file(failed, [](const std::string& name, const struct stat&) { ADD_FAILURE() << name; });
  EXPECT_FALSE(failed);
}

TEST(PrivateDirectory, FilesOfOtherUsersHoldNoContentOfOurs) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const TempDir dir;
  const CapturedLog log;
  const PrivateDirectory ours = PrivateDirectory::make(dir.path() / "ours");
  const std::string planted = dir.write("ours/x", "theirs");
  ASSERT_EQ(::chown(planted.c_str(), 65534, 65534), 0);
  struct stat after{};
  static_cast<void>(ours.open_file("x", Content::kNone));
  EXPECT_EQ(read_text(planted), "theirs") << "a lock may be of another user";
  static_cast<void>(ours.open_file("x", Content::kTrusted));
  ASSERT_EQ(::stat(planted.c_str(), &after), 0);
  EXPECT_EQ(after.st_uid, ::geteuid());
  EXPECT_EQ(after.st_size, 0);
}

TEST(PrivateDirectory, FilesOfOtherUsersAreNotRead) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const TempDir dir;
  const PrivateDirectory ours = PrivateDirectory::make(dir.path() / "ours");
  EXPECT_EQ(ours.read_file("x", 10), std::nullopt);
  const std::string planted = dir.write("ours/x", "theirs");
  EXPECT_EQ(ours.read_file("x", 6), "theirs");
  EXPECT_THROW(static_cast<void>(ours.read_file("x", 5)), Error);
  ASSERT_EQ(::chown(planted.c_str(), kNobody, kNobody), 0);
  EXPECT_THROW(static_cast<void>(ours.read_file("x", 10)), Error);
}

TEST(PrivateDirectory, LockOfAnotherUserIsALock) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const TempDir dir;
  const fs::path shared = make_shared_directory(dir);
  static_cast<void>(PrivateDirectory::make(shared).open_file("lock", Content::kNone));
  const std::string said = as_another_user([&]() -> std::string {
    try {
      const UniqueFd fd = PrivateDirectory::make(shared).open_file("lock", Content::kNone);
      return ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 ? "taken" : "not taken";
    } catch (const Error& error) {
      return error.what();
    }
  });
  EXPECT_EQ(said, "taken");
}

TEST(PrivateDirectory, WhatIsNotOursToRemoveIsNamed) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const TempDir dir;
  const fs::path shared = make_shared_directory(dir);
  fs::create_symlink("/etc/passwd", shared / "x");
  fs::create_directory_symlink("/etc", shared / "y");
  const std::string said = as_another_user([&] {
    std::string texts;
    try {
      static_cast<void>(PrivateDirectory::find(shared)->open_file("x", Content::kTrusted));
    } catch (const Error& error) {
      texts += error.what();
    }
    try {
      static_cast<void>(PrivateDirectory::make(shared / "y"));
    } catch (const Error& error) {
      texts += error.what();
    }
    return texts;
  });
  EXPECT_THAT(said, HasSubstr("shared/x\" is a symbolic link to \"/etc/passwd\", which pkgfs doesn't use. It belongs to"
                              " user 0 and must be removed, but pkgfs can't: Operation not permitted"));
  EXPECT_THAT(said, HasSubstr("shared/y\" is a symbolic link to \"/etc\""));
}

}  // namespace
}  // namespace pkgfs::test
