// SPDX-License-Identifier: MIT
// Risk: the process that waits for the end of a mount of an image clears changes that a program still uses, or its own
// end lets another command clear them.
#include <fcntl.h>
#include <sys/mount.h>

#include <csignal>

#include "tests/mounted/writable_image.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

TEST_F(WritableImage, NeedsNoProcess) {
  for (const int signal : {SIGTERM, SIGKILL}) {
    SCOPED_TRACE(signal);
    MountedPackage mount(kPkgfs, package(), options());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const std::string run = run_directory(mount.path());
    ASSERT_EQ(::kill(mount.daemon(), signal), 0);
    ASSERT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
    EXPECT_EQ(read_text(mount / "lib/deep/a.txt"), "a\n");
    write(mount / "new", "new\n");
    EXPECT_EQ(pkgfs({"changes", mount.path()}).out, "A /new  4 bytes\n");
    {
      MountedPackage other(kPkgfs, package(), options());
      EXPECT_TRUE(other.ok()) << other.result().describe();
      EXPECT_EQ(read_text(mount / "new"), "new\n") << "another mount clears only what has ended";
    }
    EXPECT_TRUE(pkgfs({"unmount", mount.path()}).ok());
    EXPECT_TRUE(is_gone(mount.path(), run)) << shell("ls -R " + run).out;
    EXPECT_FALSE(fs::exists(fs::path(kThrownAway) / fs::path(run).filename()));
  }
  MountedPackage mount(kPkgfs, package(), options());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  ASSERT_EQ(::kill(mount.daemon(), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
  ASSERT_EQ(::umount(mount.path().c_str()), 0);
  EXPECT_TRUE(fs::exists(run));
  MountedPackage next(kPkgfs, package(), {"--offline", "--writable"});
  EXPECT_TRUE(next.ok()) << next.result().describe();
  EXPECT_TRUE(is_gone(mount.path(), run)) << "the next writable mount clears it";
}

TEST_F(WritableImage, AContainerKeepsItAfterTheUnmount) {
  MountedPackage mount(kPkgfs, package(), options());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  const std::string upper = std::string(kThrownAway) + "/" + fs::path(run).filename().string() + "/upper";
  const ContainerProcess container(mount.path(), dir_.path() / "go");
  ASSERT_EQ(::umount(mount.path().c_str()), 0);
  EXPECT_TRUE(others_can_mount());
  EXPECT_TRUE(fs::exists(upper)) << "it is still used";
  EXPECT_EQ(container.finish(), "a\nlate\n");
  EXPECT_TRUE(eventually([&] { return is_gone(mount.path(), run); }));
  EXPECT_FALSE(fs::exists(upper));
}

TEST_F(WritableImage, WhatAContainerUsesStaysAlsoWithoutTheProcess) {
  MountedPackage mount(kPkgfs, package(), options());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  const std::string upper = std::string(kThrownAway) + "/" + fs::path(run).filename().string() + "/upper";
  const ContainerProcess container(mount.path(), dir_.path() / "go");
  kill_waiter(mount);
  const ProcessResult unmounted = pkgfs({"unmount", mount.path()});
  EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
  EXPECT_NE(unmounted.err.find("its changes stay"), std::string::npos) << unmounted.describe();
  EXPECT_FALSE(find_mount(mount.path()));
  EXPECT_TRUE(others_can_mount());
  EXPECT_TRUE(fs::exists(upper)) << "it is still used";
  EXPECT_EQ(container.finish(), "a\nlate\n");
  EXPECT_TRUE(eventually([&] { return pkgfs({"unmount", mount.path()}).ok() && is_gone(mount.path(), run); }));
  EXPECT_FALSE(fs::exists(upper));
}

TEST_F(WritableImage, ADirectoryInUseIsRefusedAlsoWithoutTheProcess) {
  MountedPackage mount(kPkgfs, package(), options(in_changes()));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  kill_waiter(mount);
  const int file = ::open((mount / "bin/tool").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  EXPECT_TRUE(pkgfs({"unmount", "--lazy", mount.path()}).ok());
  EXPECT_FALSE(find_mount(mount.path()));
  for (const char* engine : {"--engine=erofs", "--engine=fuse"}) {
    Arguments words = options(in_changes());
    words.front() = engine;
    const MountedPackage second(kPkgfs, package(), words);
    EXPECT_EQ(second.result().exit_code, 9) << second.result().describe();
    EXPECT_NE(second.result().err.find("are in use"), std::string::npos) << second.result().describe();
  }
  EXPECT_EQ(pkgfs({"discard", changes()}).exit_code, 9);
  ::close(file);
  const MountedPackage second(kPkgfs, package(), options(in_changes()));
  EXPECT_TRUE(second.ok()) << second.result().describe();
}

TEST_F(WritableImage, AMountThatOnlyAnotherNamespaceSeesIsNotCleared) {
  Arguments words = options();
  words.emplace_back("--writable-size=1M");  // its changes are seen there only, too
  MountedPackage mount(kPkgfs, package(), words);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  kill_waiter(mount);
  const ProcessResult other =
      shell("unshare -m --propagation private sh -ec 'cd " + dir_.path().string() + "; mkdir mp; umount -l " +
            mount.path().string() + " " + run + "/lower " + run + "/changes; " + kPkgfs +
            " mount --offline --writable " + package() + " mp; " + kPkgfs + " unmount mp'");
  EXPECT_TRUE(other.ok()) << other.describe();
  write(mount / "new", "new\n");
  EXPECT_EQ(pkgfs({"changes", mount.path()}).out, "A /new  4 bytes\n");
  EXPECT_TRUE(pkgfs({"unmount", mount.path()}).ok());
  EXPECT_TRUE(is_gone(mount.path(), run)) << shell("ls -R " + run).out;
}

TEST_F(WritableImage, WithoutTheMountBelowItIsStillOfAnImage) {
  MountedPackage mount(kPkgfs, package(), options());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string path = mount.path();
  const std::string run = run_directory(path);
  write(mount / "new", "new\n");
  ASSERT_EQ(::umount((run + "/lower").c_str()), 0);
  EXPECT_EQ(read_text(mount / "lib/deep/a.txt"), "a\n");
  const ProcessResult waited = pkgfs({"wait", path});
  EXPECT_TRUE(waited.ok()) << waited.describe();
  const ProcessResult stats = pkgfs({"stats", path});
  EXPECT_EQ(stats.exit_code, 5) << stats.describe();
  EXPECT_NE(stats.err.find("--engine=erofs"), std::string::npos) << stats.describe();
  const ProcessResult again = pkgfs({"mount", "--offline", package(), path});
  EXPECT_EQ(again.exit_code, 9) << again.describe();
  EXPECT_NE(again.err.find("\"acme/app@1.2.3\" is already mounted"), std::string::npos) << again.err;
  EXPECT_EQ(pkgfs({"changes", path}).out, "A /new  4 bytes\n");
  EXPECT_TRUE(pkgfs({"unmount", path}).ok());
  EXPECT_TRUE(eventually([&] { return is_gone(path, run); }));
}

TEST_F(WritableImage, WhereNoWatchCanBeMadeNothingIsMounted) {
  struct Limit {
    const char* error;
    const char* call;
    const char* raise;
  };
  for (const Limit limit : {Limit{"EMFILE", "inotify_init1", "fs.inotify.max_user_instances"},
                            Limit{"ENOSPC", "inotify_add_watch", "fs.inotify.max_user_watches"}}) {
    SCOPED_TRACE(limit.call);
    const fs::path path = dir_.path() / limit.call;
    fs::create_directory(path);
    Arguments words{"python3", source_directory() / "tests/mounted/deny_calls.py", limit.error, limit.call, kPkgfs,
                    "mount"};
    const Arguments more = options();
    words.insert(words.end(), more.begin(), more.end());
    words.insert(words.end(), {package(), path.string()});
    const ProcessResult result = run(words);
    EXPECT_EQ(result.exit_code, 1) << result.describe();
    EXPECT_NE(result.err.find(std::string("raise ") + limit.raise), std::string::npos) << result.describe();
    EXPECT_TRUE(
        eventually([&] { return run_of(path).empty() && !find_mount(path) && processes_with(path.string()).empty(); }));
    EXPECT_EQ(shell("grep -c ' erofs .*" + (dir_.path() / "cache").string() + "' /proc/self/mountinfo").out, "0\n");
  }
}

}  // namespace
}  // namespace pkgfs::test
