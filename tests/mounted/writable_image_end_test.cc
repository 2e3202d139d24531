// SPDX-License-Identifier: MIT
// Risk: the process that waits for the end of a mount of an image clears changes that a program still uses, or its own
// end lets another command clear them.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

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

/// `pkgfs` with the words, where the kernel answers the call with the error.
ProcessResult pkgfs_without(const std::string& call, const std::string& error, Arguments words) {
  const std::string script = source_directory() / "tests/mounted/deny_calls.py";
  words.insert(words.begin(), {"python3", script, error, call, kPkgfs});
  return run(words);
}

TEST_F(WritableImage, WhatTheKernelDoesNotTellIsNotRemoved) {
  const std::string elsewhere = dir_.path() / "elsewhere";
  fs::create_directory(elsewhere);
  const std::pair<const char*, const char*> refusals[] = {
      {"fsopen", "EMFILE"}, {"fsconfig", "ENOMEM"}, {"open_tree", "EINVAL"}};
  for (const auto& [call, error] : refusals) {
    SCOPED_TRACE(call);
    MountedPackage mount(kPkgfs, package(), options());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const std::string run = run_directory(mount.path());
    const fs::path upper = fs::path(kThrownAway) / fs::path(run).filename() / "upper";
    kill_waiter(mount);
    const int file = ::open((mount / "bin/tool").c_str(), O_RDONLY | O_CLOEXEC);  // no mount table tells that
    ASSERT_GE(file, 0);
    const ProcessResult unmounted = pkgfs_without(call, error, {"unmount", "--lazy", mount.path()});
    EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
    EXPECT_NE(unmounted.err.find("Unable to find out whether"), std::string::npos) << unmounted.describe();
    EXPECT_TRUE(fs::exists(upper));
    (void)pkgfs_without(call, error, {"mount", "--offline", "--writable", package(), elsewhere});
    (void)pkgfs({"unmount", elsewhere});
    EXPECT_TRUE(fs::exists(upper)) << "another mount clears only what has ended";
    EXPECT_TRUE(fs::exists(run));
    ::close(file);
    EXPECT_TRUE(eventually([&] { return pkgfs({"unmount", mount.path()}).ok() && is_gone(mount.path(), run); }));
    EXPECT_FALSE(fs::exists(upper));
  }
}

TEST_F(WritableImage, ADirectoryIsRefusedIfTheKernelDoesNotTellWhetherItIsInUse) {
  const std::string place = dir_.path() / "place";
  const std::string in_place = place + "/changes";
  ASSERT_TRUE(shell("mkdir " + place + " && mount --bind " + place + " " + place).ok());
  {
    MountedPackage mount(kPkgfs, package(), options("--writable=" + in_place));
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "new", "new\n");
    kill_waiter(mount);
    const int file = ::open((mount / "bin/tool").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    const std::string run = run_directory(mount.path());
    EXPECT_TRUE(pkgfs({"unmount", "--lazy", mount.path()}).ok());
    // As in a container, which sees neither the run directory nor the overlay in its mount table.
    ASSERT_TRUE(shell("umount -l " + run + "/lower && rm -r " + run).ok());
    ASSERT_TRUE(shell("mount --make-unbindable " + place).ok());  // so the kernel doesn't come to its mark
    const ProcessResult unbindable = pkgfs({"discard", in_place});
    EXPECT_NE(unbindable.err.find("Unable to find out whether"), std::string::npos) << unbindable.describe();
    ASSERT_TRUE(shell("mount --make-private " + place).ok());
    const ProcessResult denied = pkgfs_without("fsopen", "EPERM", {"discard", in_place});
    EXPECT_EQ(denied.exit_code, 8) << denied.describe();
    EXPECT_NE(denied.err.find("Operation not permitted"), std::string::npos) << denied.describe();
    EXPECT_TRUE(fs::exists(in_place + "/upper/new"));
    ::close(file);
    EXPECT_TRUE(pkgfs({"discard", in_place}).ok());
  }
  EXPECT_TRUE(shell("umount " + place).ok());
}

TEST_F(WritableImage, AMountTableThatCannotBeReadKeepsTheRecord) {
  Arguments words = options();
  words.emplace_back("--writable-size=1M");
  MountedPackage mount(kPkgfs, package(), words);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  kill_waiter(mount);
  const std::string path = mount.path();
  const std::string deny = "python3 " + (source_directory() / "tests/mounted/deny_calls.py").string();
  const ProcessResult other = shell("unshare -m --propagation private sh -ec 'umount -l " + run + "/changes; " + deny +
                                    " ENOMEM getdents64 " + kPkgfs + " unmount " + path + "'");
  EXPECT_TRUE(other.ok()) << other.describe();
  EXPECT_TRUE(fs::exists(run + "/mount.json"));
  EXPECT_EQ(read_text(mount / "lib/deep/a.txt"), "a\n");
  EXPECT_TRUE(pkgfs({"unmount", path}).ok());
  EXPECT_TRUE(is_gone(path, run)) << shell("ls -R " + run).out;
}

TEST_F(WritableImage, ATableOfAnotherUserNamespaceIsNotBelieved) {
  const std::string as_user = "setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Urm ";
  if (!have_program("setpriv") || !shell(as_user + "true").ok()) {
    GTEST_SKIP() << "needs setpriv, and user namespaces of users without privileges";
  }
  for (const bool in_memory : {false, true}) {
    SCOPED_TRACE(in_memory);
    Arguments words = options();
    if (in_memory) {
      words.emplace_back("--writable-size=1M");
    }
    MountedPackage mount(kPkgfs, package(), words);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const std::string run = run_directory(mount.path());
    kill_waiter(mount);
    ASSERT_EQ(::umount(mount.path().c_str()), 0);
    if (in_memory) {
      ASSERT_EQ(::umount((run + "/changes").c_str()), 0);  // else the kernel's mark tells it
    }
    const std::string ready = dir_.path() / "ready";
    ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
    ASSERT_TRUE(shell("mkfifo -m 666 " + ready).ok());
    const std::string forged = as_user + "sh -c 'mount -t tmpfs none /run && mkdir -p /run/u /run/w /run/m " + run +
                               "/lower && mount -t overlay -o userxattr,lowerdir=" + run +
                               "/lower,upperdir=/run/u,workdir=/run/w none /run/m && echo ok > " + ready +
                               "; read x < " + ready + "'";
    ASSERT_EQ(shell("(" + forged + ") > /dev/null 2>&1 & timeout 10 cat " + ready).out, "ok\n");
    EXPECT_TRUE(pkgfs({"unmount", mount.path()}).ok());
    EXPECT_TRUE(is_gone(mount.path(), run)) << shell("ls -R " + run).out;
    EXPECT_TRUE(shell("echo end > " + ready + "; rm " + ready).ok());
  }
}

TEST_F(WritableImage, OneProcessAtATimeAsksTheKernel) {
  MountedPackage mount(kPkgfs, package(), options(in_changes()));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  kill_waiter(mount);
  ASSERT_EQ(::umount(mount.path().c_str()), 0);
  {
    const UniqueFd lock(::open(changes().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
    EXPECT_TRUE(pkgfs({"unmount", mount.path()}).ok());
    EXPECT_TRUE(fs::exists(run)) << "a mount may be made of the changes just now";
  }
  EXPECT_TRUE(pkgfs({"unmount", mount.path()}).ok());
  EXPECT_TRUE(is_gone(mount.path(), run)) << shell("ls -R " + run).out;
}

TEST_F(WritableImage, AMountWaitsAMomentForAnotherCommandAndForTheKernel) {
  {
    MountedPackage first(kPkgfs, package(), options(in_changes()));
    ASSERT_TRUE(first.ok()) << first.result().describe();
  }
  const auto briefly = [](const std::string& hold, const std::string& release) {
    return shell(hold + "; (sleep 0.12; " + release + ") > /dev/null 2>&1 &").ok();
  };
  ASSERT_TRUE(eventually([&] { return shell("flock -n " + changes() + " true").ok(); }));
  ASSERT_TRUE(shell("flock " + changes() + " sleep 0.12 > /dev/null 2>&1 & sleep 0.02").ok());
  {
    const MountedPackage mount(kPkgfs, package(), options(in_changes()));
    EXPECT_TRUE(mount.ok()) << mount.result().describe();
  }
  const std::string marked = dir_.path() / "marked";
  ASSERT_TRUE(eventually([&] { return shell("flock -n " + changes() + " true").ok(); }));
  ASSERT_TRUE(shell("mkdir " + marked).ok());
  ASSERT_TRUE(briefly("mount -t overlay -o index=off,lowerdir=" + marked + ",upperdir=" + changes() +
                          "/upper,workdir=" + changes() + "/work none " + marked,
                      "umount " + marked));
  const MountedPackage mount(kPkgfs, package(), options(in_changes()));
  EXPECT_TRUE(mount.ok()) << mount.result().describe();
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
