// SPDX-License-Identifier: MIT
// Risk: an option that people carry from other file systems is accepted, and the mount doesn't do what it says.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class MountWords : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    PackageBuilder builder("test/words@1.0.0");
    builder.file("v", "d/f", "content").link("v", "l", "d/f").mount("/", "v");
    builder.write(package_);
  }

  static mode_t mode_of(const std::string& path) {
    struct stat status{};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777U;
  }

  /// Whether user 65534 can run `program` with `path`.
  static bool as_nobody(const std::string& program, const fs::path& path) {
    return run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, path}).ok();
  }

  TempDir dir_;
  std::string package_ = dir_.path() / "p.webc";
};

TEST_F(MountWords, UmaskAndNamesOfUsers) {
  const MountedPackage mount(kPkgfs, package_, {"-o", "umask=027,uid=nobody,gid=nogroup"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(mode_of(mount / "d"), 0750U);
  EXPECT_EQ(mode_of(mount / "d/f"), 0640U);
  struct stat status{};
  ASSERT_EQ(::stat((mount / "d/f").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 65534U);
  EXPECT_EQ(status.st_gid, 65534U);
}

TEST_F(MountWords, AllowRootKeepsOthersOutOfWhatIsCached) {
  if (::geteuid() != 0 || !have_program("setpriv")) {
    GTEST_SKIP() << "needs root and setpriv";
  }
  for (const bool root_only : {false, true}) {
    const MountedPackage mount(kPkgfs, package_, {"-o", root_only ? "allow_root" : "allow_other"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    fs::permissions(mount.path().parent_path(), fs::perms::others_exec, fs::perm_options::add);
    EXPECT_EQ(read_text(mount / "d/f"), "content");  // now the kernel knows it
    EXPECT_EQ(as_nobody("cat", mount / "d/f"), !root_only);
    EXPECT_EQ(as_nobody("ls", mount.path()), !root_only);
    EXPECT_EQ(mode_of(mount / "d/f"), 0644U) << "files keep their modes";
  }
}

TEST_F(MountWords, NonemptyChangesNothing) {
  const fs::path where = dir_.path() / "mnt";
  dir_.write("mnt/file", "below");
  const MountGuard guard(where);
  const ProcessResult result = run({kPkgfs, "mount", "-o", "nonempty", package_, where});
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(read_text(where / "d/f"), "content");
  EXPECT_FALSE(fs::exists(where / "file"));
}

TEST_F(MountWords, NosymfollowForbidsToFollowLinks) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  for (const bool follow : {false, true}) {
    const MountedPackage mount(kPkgfs, package_, {"-o", follow ? "symfollow" : "nosymfollow,noexec"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const int fd = ::open((mount / "l").c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(fd >= 0, follow);
    if (!follow) {
      EXPECT_EQ(errno, ELOOP);
    }
    ::close(fd);
    EXPECT_EQ(fs::read_symlink(mount / "l"), "d/f");
    const auto line = find_mount(mount.path());
    EXPECT_EQ(line->has("nosymfollow"), !follow);
    EXPECT_EQ(line->has("noexec"), !follow);
    EXPECT_TRUE(line->has("nosuid") && line->has("nodev") && line->has("ro"));
  }
}

TEST_F(MountWords, ContextsReachTheKernel) {
  for (const std::string word : {"context", "fscontext", "defcontext", "rootcontext"}) {
    MountedPackage mount(kPkgfs, package_, {"-o", word + "=\"system_u:object_r:usr_t:s0:c1,c2\""});
    if (fs::exists("/sys/fs/selinux/enforce")) {
      EXPECT_TRUE(mount.ok()) << mount.result().describe();
      continue;
    }
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find("mount failed: Invalid argument"), std::string::npos)
        << "the kernel's own reason\n"
        << mount.result().describe();
    EXPECT_NE(mount.result().err.find("doesn't use SELinux"), std::string::npos) << mount.result().describe();
  }
}

TEST_F(MountWords, RemountReadOnlyIsDoneAlready) {
  const MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto remount = [&](const std::string& words, const fs::path& where) {
    return run({kPkgfs, "mount", "-o", words, package_, where});
  };
  const ProcessResult done = remount("remount,ro", mount.path());
  EXPECT_TRUE(done.ok()) << done.describe();
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(read_text(mount / "d/f"), "content");
  const ProcessResult more = remount("remount,ro,nosuid,exec,noatime,uid=7,view=package,noexec", mount.path());
  EXPECT_EQ(more.exit_code, 0) << more.describe();
  EXPECT_NE(more.err.find("remount doesn't change noexec, uid, view;"), std::string::npos) << more.describe();
  EXPECT_EQ(std::ranges::count(more.err, '\n'), 1) << more.describe();
  EXPECT_EQ(remount("remount,ro,quiet,view=package", mount.path()).err, "");
  EXPECT_EQ(remount("remount", mount.path()).exit_code, 2);
  EXPECT_EQ(remount("remount,rw", mount.path()).exit_code, 2);
  const ProcessResult nothing = remount("remount,ro", dir_.path());
  EXPECT_FALSE(nothing.ok());
  EXPECT_NE(nothing.err.find("no package is mounted there"), std::string::npos) << nothing.describe();
}

}  // namespace
}  // namespace pkgfs::test
