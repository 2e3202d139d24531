// SPDX-License-Identifier: MIT
// Risk: a mount that doesn't end, leaves a process or a mount point behind, or ends while it is in use.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include "tests/mounted/lifecycle.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

using Unmount = Lifecycle;

TEST_F(Unmount, DeadMountIsRecognisedAndClearedByTheNextOne) {
  MountedPackage mount(kPkgfs, package_, {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ::kill(mount.daemon(), SIGKILL);
  ASSERT_TRUE(eventually([&] {
    struct stat status{};  // of the root the kernel may remember what others have asked
    return ::stat((mount / "absent").c_str(), &status) != 0 && errno == ENOTCONN;
  }));
  const ProcessResult again = pkgfs({"mount", package_, mount.path()});
  EXPECT_TRUE(again.ok()) << again.describe();
  EXPECT_TRUE(fs::is_directory(mount / "data"));
}

TEST_F(Unmount, DeadMountCanBeUnmounted) {
  MountedPackage mount(kPkgfs, package_, {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ::kill(mount.daemon(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
  const ProcessResult result = mount.unmount();
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_FALSE(find_mount(mount.path()).has_value());
}

TEST_F(Unmount, OneOfManyMountsTakesThePlaceOfADeadOne) {
  MountedPackage mount(kPkgfs, package_, {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string again = kPkgfs + " mount --keeper=off " + package_ + " " + mount.path().string();
  for (int round = 0; round < 4; ++round) {
    ::kill(mount.daemon(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
    const ProcessResult result = shell("for i in 1 2 3 4 5 6; do (" + again + " 2>&1 && echo SUCCESS) & done; wait");
    EXPECT_EQ(result.out.find("SUCCESS"), result.out.rfind("SUCCESS")) << result.describe();
    EXPECT_TRUE(fs::is_directory(mount / "data")) << result.describe();
    // The children of commands that didn't succeed may end a moment after them.
    EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; })) << result.describe();
  }
}

TEST_F(Unmount, AnotherFileSystemOverTheMountStays) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to mount a tmpfs";
  }
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_EQ(::mount("data", mount.path().c_str(), "tmpfs", 0, nullptr), 0) << std::strerror(errno);
  std::ofstream(mount / "kept") << "data";
  ::kill(mount.daemon(), SIGTERM);
  EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
  EXPECT_TRUE(fs::exists(mount / "kept"));
  EXPECT_EQ(::umount2(mount.path().c_str(), MNT_DETACH), 0) << std::strerror(errno);
  EXPECT_TRUE(mount.unmount().ok()) << "the dead mount below";
  EXPECT_FALSE(find_mount(mount.path()).has_value());
}

class StopSignals : public Lifecycle, public ::testing::WithParamInterface<int> {};

TEST_P(StopSignals, EndTheMountSoonEvenWithAFileOpen) {
  MountedPackage mount(kPkgfs, single("big4m-v3"));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::string file;
  for (const auto& [path, entry] : list_tree(mount.path())) {
    file = entry.type == "file" && entry.length > 1'000'000 ? mount.path().string() + path : file;
  }
  ASSERT_FALSE(file.empty());
  const UniqueFd held(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(held);
  const auto begin = std::chrono::steady_clock::now();
  ::kill(mount.daemon(), GetParam());
  EXPECT_TRUE(ended(mount.path())) << "still there after five seconds";
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(5));
}

INSTANTIATE_TEST_SUITE_P(Signals, StopSignals, ::testing::Values(SIGTERM, SIGINT),
                         [](const auto& signal) { return signal.param == SIGTERM ? "SIGTERM" : "SIGINT"; });

TEST_F(Unmount, SigpipeDoesNotEndTheDaemon) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ::kill(mount.daemon(), SIGPIPE);
  sleep_ms(50);
  EXPECT_TRUE(fs::is_directory(mount / "data"));
  EXPECT_GT(mount.daemon(), 0);
}

TEST_F(Unmount, PlainUmountEndsTheDaemon) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_TRUE(run({"umount", mount.path()}).ok());
  EXPECT_TRUE(ended(mount.path()));
}

TEST_F(Unmount, AQuestionToTheDaemonDoesNotBlockIt) {
  for (const char* command : {"stats", "mounts", "mount"}) {
    MountedPackage mount(kPkgfs, package_);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const pid_t daemon = mount.daemon();
    ::kill(daemon, SIGSTOP);  // the question waits for a second
    std::thread asking([&] {
      Arguments words{kPkgfs, command};
      if (command == std::string("mount")) {
        words.push_back(package_);
      }
      if (command != std::string("mounts")) {
        words.push_back(mount.path());
      }
      (void)run(words);
    });
    sleep_ms(300);
    EXPECT_EQ(::umount2(mount.path().c_str(), 0), 0) << command << ": " << std::strerror(errno);
    ::kill(daemon, SIGCONT);
    asking.join();
    EXPECT_TRUE(ended(mount.path())) << command;
  }
}

TEST_F(Unmount, WaitsForADirectoryThatIsOpenForAMoment) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  UniqueFd held(::open((mount / "data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(held);
  std::thread looking([&] {
    sleep_ms(60);
    held.reset();
  });
  const ProcessResult unmounted = mount.unmount();
  looking.join();
  EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
}

TEST_F(Unmount, LazyUmountWithAFileOpenEndsTheDaemonAfterTheLastClose) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  {
    const UniqueFd held(::open((mount / "data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(held);
    EXPECT_TRUE(run({"umount", "-l", mount.path()}).ok());
  }
  EXPECT_TRUE(ended(mount.path()));
}

TEST_F(Unmount, TwiceSaysThatNothingIsMounted) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_TRUE(mount.unmount().ok());
  const ProcessResult again = mount.unmount();
  EXPECT_GT(again.exit_code, 0) << again.describe();
  EXPECT_TRUE(mentions(again, mount.path())) << again.describe();
}

TEST_F(Unmount, LeavesForeignFileSystemsAlone) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can mount a tmpfs";
  }
  TempDir directory;
  const fs::path where = directory.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  ASSERT_EQ(::mount("tmpfs", where.c_str(), "tmpfs", 0, nullptr), 0);
  const ProcessResult result = pkgfs({"unmount", where});
  EXPECT_EQ(result.exit_code, 2) << result.describe();
  EXPECT_TRUE(mentions(result, "isn't a mount of pkgfs")) << result.describe();
  EXPECT_TRUE(find_mount(where).has_value());
}

TEST_F(Unmount, TwentyRoundsLeaveNothing) {
  TempDir directory;
  const fs::path where = directory.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  for (int round = 0; round < 20; ++round) {
    const ProcessResult mounted = pkgfs({"mount", package_, where});
    ASSERT_TRUE(mounted.ok()) << "round " << round << ": " << mounted.describe();
    const ProcessResult unmounted = pkgfs({"unmount", where});
    ASSERT_TRUE(unmounted.ok()) << "round " << round << ": " << unmounted.describe();
    ASSERT_FALSE(find_mount(where).has_value()) << "round " << round;
  }
  EXPECT_TRUE(ended(where));
}

}  // namespace
}  // namespace pkgfs::test
