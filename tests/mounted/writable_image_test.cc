// SPDX-License-Identifier: MIT
// Risk: changes above a mount by the kernel are lost, differ from those above a daemon, or leave something behind.
#include <sys/mount.h>
#include <sys/stat.h>

#include <csignal>

#include "tests/mounted/writable_image.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST_F(WritableImage, TakesChangesWhichEndWithTheMount) {
  MountedPackage mount(kPkgfs, package(), options());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  const auto lower = find_mount(run + "/lower");
  ASSERT_TRUE(lower);
  EXPECT_EQ(lower->type, "erofs");
  const auto line = find_mount(mount.path());
  EXPECT_EQ(line->type, "overlay");
  EXPECT_EQ(line->source, "acme/app@1.2.3");
  for (const char* word : {"rw", "nosuid", "nodev"}) {
    EXPECT_TRUE(line->has(word)) << word;
  }
  write(mount / "new", "new\n");
  write(mount / "etc/app.conf", "changed\n");
  EXPECT_EQ(::unlink((mount / "lib/deep/a.txt").c_str()), 0);
  EXPECT_EQ(::rename((mount / "lib").c_str(), (mount / "moved").c_str()), 0) << "without EXDEV";
  EXPECT_EQ(read_text(mount / "moved/deep/b.txt"), "b\n");
  struct stat packaged{};
  struct stat added{};
  ASSERT_EQ(::stat((mount / "bin/tool").c_str(), &packaged), 0);
  ASSERT_EQ(::stat((mount / "new").c_str(), &added), 0);
  EXPECT_EQ(packaged.st_dev, added.st_dev);
  EXPECT_EQ(
      pkgfs({"changes", mount.path()}).out,
      "M /etc/app.conf  8 -> 8 bytes\nD /lib/\nR /lib/ -> /moved/\nD /moved/deep/a.txt  2 bytes\nA /new  4 bytes\n");
  const fs::path thrown_away = fs::path(kThrownAway) / fs::path(run).filename();
  EXPECT_TRUE(fs::exists(thrown_away));
  ASSERT_EQ(::umount(mount.path().c_str()), 0) << "as umount(8) does";
  EXPECT_TRUE(eventually([&] { return is_gone(mount.path(), run); })) << shell("ls -R " + run).out;
  EXPECT_FALSE(fs::exists(thrown_away));
}

TEST_F(WritableImage, TheCommandsForMountsTreatBothAsOne) {
  MountedPackage mount(kPkgfs, package(), options());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string path = mount.path();
  const std::string run = run_directory(path);
  const std::string list = pkgfs({"mounts"}).out;
  EXPECT_NE(list.find("acme/app@1.2.3 on " + path + " (live, served by the kernel: erofs)\n"), std::string::npos)
      << list;
  EXPECT_EQ(list.find(kRuns), std::string::npos) << list;
  for (const json& entry : json::parse(pkgfs({"mounts", "--json"}).out)) {
    if (entry["mountpoint"] == path) {
      EXPECT_EQ(entry["engine"], "erofs");
      EXPECT_EQ(entry["options"].get<std::string>().substr(0, 3), "rw,");
    }
  }
  EXPECT_TRUE(pkgfs({"wait", path}).ok());
  EXPECT_EQ(pkgfs({"stats", path}).exit_code, 5);
  EXPECT_EQ(pkgfs({"refresh", path}).exit_code, 5);
  for (const Arguments& words : {Arguments{"mount", "--offline", package(), path},
                                 Arguments{"mount", "--offline", "--writable", package(), path}}) {
    const ProcessResult again = pkgfs(words);
    EXPECT_EQ(again.exit_code, 9) << again.describe();
    EXPECT_NE(again.err.find("\"acme/app@1.2.3\" is already mounted"), std::string::npos) << again.err;
  }
  EXPECT_EQ(pkgfs({"doctor"}).out.find(kRuns), std::string::npos);
  const int file = ::open((mount / "bin/tool").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  EXPECT_EQ(pkgfs({"unmount", path}).exit_code, 9) << "a program uses it";
  EXPECT_TRUE(pkgfs({"unmount", "--lazy", path}).ok());
  EXPECT_FALSE(find_mount(path));
  char byte = 0;
  EXPECT_EQ(::pread(file, &byte, 1, 0), 1) << "until it is closed";
  EXPECT_TRUE(fs::exists(run));
  ::close(file);
  EXPECT_TRUE(eventually([&] { return is_gone(path, run); }));
}

TEST_F(WritableImage, AboveACacheInMemoryALoopDeviceIsNamedAsTheImage) {
  if (!fs::exists("/dev/loop-control")) {
    GTEST_SKIP() << "there are no loop devices";
  }
  const std::string cache = dir_.path() / "cache";
  fs::create_directory(cache);
  ASSERT_EQ(::mount("tmpfs", cache.c_str(), "tmpfs", 0, "size=8m,mode=0700"), 0);
  {
    MountedPackage mount(kPkgfs, package(), options());
    EXPECT_TRUE(mount.ok()) << mount.result().describe();
    if (mount.ok()) {
      const std::string path = mount.path();
      const std::string run = run_directory(path);
      EXPECT_TRUE(find_mount(run + "/lower")->source.starts_with("/dev/loop"));
      const std::string list = pkgfs({"mounts"}).out;
      EXPECT_NE(list.find("acme/app@1.2.3 on " + path + " (live, served by the kernel: erofs)\n"), std::string::npos)
          << list;
      EXPECT_TRUE(pkgfs({"wait", path}).ok());
      EXPECT_EQ(pkgfs({"stats", path}).exit_code, 5);
      const ProcessResult again = pkgfs({"mount", "--offline", package(), path});
      EXPECT_EQ(again.exit_code, 9) << again.describe();
      EXPECT_NE(again.err.find("\"acme/app@1.2.3\" is already mounted"), std::string::npos) << again.err;
      EXPECT_TRUE(pkgfs({"unmount", path}).ok());
      EXPECT_TRUE(eventually([&] { return is_gone(path, run); }));
    }
  }
  EXPECT_TRUE(eventually([&] { return ::umount2(cache.c_str(), 0) == 0; })) << "the loop device stays";
}

TEST_F(WritableImage, ADirectoryOfChangesFitsBothEngines) {
  {
    MountedPackage mount(kPkgfs, package(), options(in_changes()));
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "etc/app.conf", "mine\n");
    EXPECT_EQ(::unlink((mount / "bin/tool").c_str()), 0);
    EXPECT_EQ(::rename((mount / "lib").c_str(), (mount / "moved").c_str()), 0);
    const ProcessResult discarded = pkgfs({"discard", changes()});
    EXPECT_EQ(discarded.exit_code, 9) << discarded.describe();
    const TempDir other;
    EXPECT_EQ(pkgfs({"mount", "--offline", in_changes(), package(), other.path()}).exit_code, 9);
    const ProcessResult packed = pkgfs({"pack", mount.path(), "-o", dir_.path() / "mounted.webc"});
    EXPECT_TRUE(packed.ok()) << packed.describe();
  }
  for (const Arguments& engine : {Arguments{"--offline", in_changes()}, options(in_changes())}) {
    MountedPackage mount(kPkgfs, package(), engine);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_EQ(read_text(mount / "etc/app.conf"), "mine\n");
    EXPECT_EQ(read_text(mount / "moved/deep/b.txt"), "b\n");
    EXPECT_FALSE(fs::exists(mount / "bin/tool"));
    EXPECT_FALSE(fs::exists(mount / "lib"));
    const ProcessResult packed = pkgfs({"pack", mount.path(), "-o", dir_.path() / "again.webc"});
    EXPECT_TRUE(packed.ok()) << packed.describe();
    EXPECT_EQ(file_sha256(dir_.path() / "again.webc"), file_sha256(dir_.path() / "mounted.webc"));
  }
  EXPECT_TRUE(pkgfs({"discard", changes()}).ok());
  MountedPackage mount(kPkgfs, package(), options(in_changes()));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "etc/app.conf"), "one\ntwo\n");
}

TEST_F(WritableImage, ShowsWhatADaemonShows) {
  for (const char* name : {"basic-v2", "names-v3", "symlinks-v3"}) {
    SCOPED_TRACE(name);
    MountedPackage daemon(kPkgfs, single(name), {"--offline", "--writable"});
    MountedPackage kernel(kPkgfs, single(name), options());
    ASSERT_TRUE(daemon.ok()) << daemon.result().describe();
    ASSERT_TRUE(kernel.ok()) << kernel.result().describe();
    EXPECT_EQ(difference(list_tree(daemon.path()), list_tree(kernel.path())), "");
  }
}

TEST_F(WritableImage, WhatCannotBeMountedLeavesNothing) {
  // The directory of changes is on an overlay, where the kernel makes no other one.
  const std::string line =
      "set -e; mkdir -p l u w m mp; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; mkdir m/c; trap 'umount "
      "m' "
      "EXIT; ! " +
      kPkgfs + " mount --offline --engine=erofs --cache-dir cache --writable=m/c " + package() + " mp 2> error";
  const ProcessResult refused = shell("cd " + dir_.path().string() + " && (" + line + ")");
  EXPECT_TRUE(refused.ok()) << refused.describe();
  EXPECT_NE(read_text(dir_.path() / "error").find("Unable to mount the changes"), std::string::npos)
      << read_text(dir_.path() / "error");
  const fs::path path = dir_.path() / "mp";
  EXPECT_TRUE(eventually([&] { return run_of(path).empty() && !find_mount(path) && processes_with("mp").empty(); }));
  EXPECT_EQ(shell("grep -c ' erofs .*" + (dir_.path() / "cache").string() + "' /proc/self/mountinfo").out, "0\n");
  EXPECT_EQ(shell("ls -A " + (dir_.path() / "u/c").string()).out, "");
  for (const char* option : {"--uid=1", "--keeper=on", "--foreground"}) {
    Arguments words = options();
    words.emplace_back(option);
    MountedPackage mount(kPkgfs, package(), words);
    expect_refused(mount);
    EXPECT_EQ(mount.result().exit_code, 2) << mount.result().describe();
  }
}

TEST_F(WritableImage, AUserNamespaceIsRefused) {
  if (!shell("unshare -Urm true").ok()) {
    GTEST_SKIP() << "no user namespace can be made";
  }
  const ProcessResult result =
      run({"unshare", "-Urm", "--", "sh", "-ec",
           "cd " + dir_.path().string() + " && mkdir mp && " + kPkgfs +
               " mount --offline --engine=erofs --cache-dir cache --writable=c " + package() + " mp"});
  EXPECT_EQ(result.exit_code, 8) << result.describe();
  EXPECT_NE(result.err.find("user namespace"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(changes()));
}

TEST_F(WritableImage, MemoryHasTheLimitsThatWereAsked) {
  Arguments words = options();
  words.emplace_back("--writable-size=1M");
  MountedPackage mount(kPkgfs, package(), words);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string run = run_directory(mount.path());
  write(mount / "small", "x");
  EXPECT_NE(shell("head -c 4M /dev/zero > " + (mount / "large")).exit_code, 0);
  EXPECT_TRUE(pkgfs({"unmount", mount.path()}).ok());
  EXPECT_TRUE(eventually([&] { return is_gone(mount.path(), run); }));
}

}  // namespace
}  // namespace pkgfs::test
