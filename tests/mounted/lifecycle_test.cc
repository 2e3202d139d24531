// SPDX-License-Identifier: MIT
// Risk: a mount that hangs, stays behind, lies about being ready, or lands where it shouldn't.
#include <unistd.h>

#include <chrono>
#include <map>

#include <nlohmann/json.hpp>

#include "core/base/printable.h"
#include "tests/mounted/lifecycle.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

TEST_F(Lifecycle, ParentReturnsOnlyWhenTheMountAnswers) {
  for (int round = 0; round < 5; ++round) {
    MountedPackage mount(kPkgfs, package_);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_TRUE(fs::is_directory(mount / "data")) << "right after the return";
    EXPECT_GT(mount.daemon(), 0);
  }
}

TEST_F(Lifecycle, BackgroundDaemonHoldsNoPipeOfItsCaller) {
  TempDir directory;
  const fs::path where = directory.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  const ProcessResult result =
      shell("out=$(" + kPkgfs + " mount " + package_ + " " + where.string() + " 2>&1); echo \"returned $?\"",
            {.timeout = seconds(10)});
  EXPECT_EQ(result.out, "returned 0\n") << result.describe();
  EXPECT_TRUE(pkgfs({"unmount", where}).ok());
  EXPECT_TRUE(ended(where));
}

TEST_F(Lifecycle, BackgroundDaemonHoldsNoDescriptorOfItsCaller) {
  TempDir directory;
  const fs::path where = directory.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  for (const std::string option : {"", "--auto-unmount ", "--live-timeout=0 "}) {
    const std::string mount = kPkgfs + " mount " + option + package_ + " " + where.string();
    const std::string lock = directory.path() / "lock";
    ProcessResult result =
        shell("flock " + lock + " " + mount + " && flock -n " + lock + " echo free", {.timeout = seconds(10)});
    EXPECT_EQ(result.out, "free\n") << option << result.describe();
    EXPECT_TRUE(pkgfs({"unmount", where}).ok());
    // The pipe is a descriptor after the standard streams: `cat` ends when no process has it open.
    result = shell("{ " + mount + " >&2; } 7>&1 | cat && echo ended", {.timeout = seconds(10)});
    EXPECT_EQ(result.out, "ended\n") << option << result.describe();
    EXPECT_TRUE(pkgfs({"unmount", where}).ok());
    EXPECT_TRUE(ended(where));
  }
}

TEST_F(Lifecycle, RelativePathsMeanWhatTheyMeantToTheCaller) {
  TempDir directory;
  fs::create_directory(directory.path() / "mnt");
  fs::copy_file(package_, directory.path() / "p.webc");
  const MountGuard guard(directory.path() / "mnt");  // unmounted, the daemon ends
  const ProcessResult result =
      run({kPkgfs, "mount", "./p.webc", "mnt"}, {.timeout = seconds(15), .directory = directory.path()});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(fs::is_directory(directory.path() / "mnt/data"));
  EXPECT_TRUE(run({kPkgfs, "unmount", "mnt"}, {.timeout = seconds(15), .directory = directory.path()}).ok());
  EXPECT_FALSE(find_mount(directory.path() / "mnt").has_value());
}

TEST_F(Lifecycle, DaemonDoesNotPinTheCallersDirectory) {
  TempDir directory;
  fs::create_directory(directory.path() / "mnt");
  const std::string own = directory.path() / "p.webc";  // a word that only this test's daemon has
  fs::copy_file(package_, own);
  const MountGuard guard(directory.path() / "mnt", own);
  const ProcessResult result =
      run({kPkgfs, "mount", own, "mnt"}, {.timeout = seconds(15), .directory = directory.path()});
  ASSERT_TRUE(result.ok()) << result.describe();
  const std::vector<pid_t> pids = processes_with(own);
  ASSERT_EQ(pids.size(), 1U);
  EXPECT_EQ(fs::read_symlink("/proc/" + std::to_string(pids.front()) + "/cwd"), "/");
  EXPECT_TRUE(pkgfs({"unmount", directory.path() / "mnt"}).ok());
}

TEST_F(Lifecycle, MountpointThatIsMissingOrNoDirectoryIsRefused) {
  TempDir directory;
  refuse(directory.path() / "absent", "No such file or directory");
  refuse(directory.path() / "absent/mnt", "No such file or directory");
  refuse(directory.write("file", "x"), "is not a directory");
}

TEST_F(Lifecycle, MountpointInUseIsRefusedAndTheOldMountStays) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  const ProcessResult again = pkgfs({"mount", single("symlinks-v3"), mount.path()});
  EXPECT_GT(again.exit_code, 0) << again.describe();
  EXPECT_TRUE(mentions(again, mount.path())) << again.describe();
  EXPECT_EQ(mount.daemon(), daemon);
  EXPECT_TRUE(fs::is_directory(mount / "data"));
}

TEST_F(Lifecycle, ContentUnderTheMountpointIsHiddenAndComesBack) {
  TempDir directory;
  const fs::path where = directory.path() / "mnt";
  directory.write("mnt/precious", "kept");
  const MountGuard guard(where);
  const ProcessResult result = pkgfs({"mount", package_, where});
  ASSERT_TRUE(result.ok()) << "a directory that isn't empty may be used, as mount(8) allows: " << result.describe();
  EXPECT_TRUE(fs::is_directory(where / "data"));
  EXPECT_FALSE(fs::exists(where / "precious"));
  EXPECT_TRUE(pkgfs({"unmount", where}).ok());
  EXPECT_TRUE(ended(where));
  EXPECT_EQ(read_text(where / "precious"), "kept");
}

TEST_F(Lifecycle, WhatIsNeededLaterIsLoadedBeforeTheMount) {
  const auto mount_without_libcrypto = [&](const std::string& verify) {
    const TempDir place;
    const MountGuard guard(place.path() / "mnt", place.path() / "mnt");
    fs::create_directory(place.path() / "mnt");
    return run({"unshare", "-m", "sh", "-ec",
                std::string(kHideLibcrypto) +
                    "\nunset WASMER_REGISTRY\n\"$1\" mount --verify=\"$2\" \"$3\" \"$4\"; \"$1\" unmount \"$4\"",
                "-", kPkgfs, verify, package_, place.path() / "mnt"});
  };
  const ProcessResult refused = mount_without_libcrypto("read");
  EXPECT_EQ(refused.exit_code, 5) << refused.describe();
  EXPECT_TRUE(mentions(refused, "libcrypto.so.3") && mentions(refused, "libssl3")) << refused.describe();
  const ProcessResult unneeded = mount_without_libcrypto("none");
  EXPECT_TRUE(unneeded.ok()) << unneeded.describe();
}

TEST_F(Lifecycle, MountsListsEveryMountOfOurs) {
  MountedPackage first(kPkgfs, package_);
  MountedPackage second(kPkgfs, single("symlinks-v3"));
  ASSERT_TRUE(first.ok() && second.ok());
  const ProcessResult result = pkgfs({"mounts", "--json"});
  ASSERT_TRUE(result.ok()) << result.describe();
  std::map<std::string, std::string> listed;  // package and state, by mountpoint
  for (const auto& entry : nlohmann::json::parse(result.out)) {
    listed[entry["mountpoint"]] = entry["package"].get<std::string>() + " " + entry["state"].get<std::string>();
  }
  EXPECT_EQ(listed[first.path()], "acme/basic@1.2.3 live") << result.out;
  EXPECT_EQ(listed[second.path()], "acme/symlinks@1.2.3 live") << result.out;
  const ProcessResult plain = pkgfs({"mounts"});
  EXPECT_NE(plain.out.find("acme/basic@1.2.3 on " + first.path().string() + " (live)\n"), std::string::npos)
      << plain.describe();
  first.unmount();
  EXPECT_EQ(pkgfs({"mounts", "--json"}).out.find(first.path()), std::string::npos);
}

TEST_F(Lifecycle, ForegroundStaysUntilItIsStopped) {
  for (const int signal : {SIGTERM, SIGINT}) {
    TempDir directory;
    const fs::path where = directory.path() / "mnt";
    fs::create_directory(where);
    const MountGuard guard(where);
    Process daemon({kPkgfs, "mount", "-f", package_, where}, {.timeout = seconds(10)});
    ASSERT_TRUE(eventually([&] { return fs::exists(where / "data"); })) << daemon.err();
    daemon.signal(signal);
    const ProcessResult& result = daemon.wait();
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.signal, 0) << "it ends by itself";
    EXPECT_EQ(result.exit_code, 0) << result.describe();
    EXPECT_TRUE(ended(where));
  }
}

TEST_F(Lifecycle, KernelShowsASafeReadOnlyMountWhateverWasAskedFor) {
  const std::vector<Arguments> asked{{}, {"-o", "ro"}, {"-o", "noatime,nodev"}, {"-o", "defaults,nofail,_netdev"}};
  for (const Arguments& options : asked) {
    MountedPackage mount(kPkgfs, package_, options);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const auto line = find_mount(mount.path());
    ASSERT_TRUE(line.has_value());
    EXPECT_EQ(line->type, "fuse.pkgfs");
    for (const char* option : {"ro", "nosuid", "nodev", "default_permissions"}) {
      EXPECT_TRUE(line->has(option)) << option;
    }
    EXPECT_EQ(line->has("allow_other"), ::geteuid() == 0) << "the default when root mounts";
  }
  MountedPackage named(kPkgfs, single("symlinks-v3"));
  EXPECT_EQ(find_mount(named.path())->source, "acme/symlinks@1.2.3");
}

TEST_F(Lifecycle, WritableOrUnsafeMountsAreRefused) {
  for (const char* word : {"rw", "suid", "dev"}) {
    MountedPackage mount(kPkgfs, package_, {"-o", word});
    expect_refused(mount);
    EXPECT_TRUE(mentions(mount.result(), word)) << mount.result().describe();
  }
}

TEST_F(Lifecycle, UnknownOptionsAreNamed) {
  for (const Arguments& options :
       {Arguments{"-o", "ro,frobnicate=3"}, Arguments{"--frobnicate"}, Arguments{"-o", "frobnicate"}}) {
    MountedPackage mount(kPkgfs, package_, options);
    expect_refused(mount);
    EXPECT_TRUE(mentions(mount.result(), "frobnicate")) << mount.result().describe();
  }
}

TEST_F(Lifecycle, PackageNamesWithCommasAndSpacesMount) {
  TempDir directory;
  const fs::path odd = directory.path() / "a,b =c #d.webc";
  fs::copy_file(single("id-none-v3"), odd);
  MountedPackage mount(kPkgfs, odd);
  EXPECT_TRUE(mount.ok()) << mount.result().describe();
}

TEST_F(Lifecycle, MountpointsWithSpacesAndCommasWork) {
  TempDir directory;
  const fs::path where = directory.path() / "a, b\\040\tc";
  fs::create_directory(where);
  const MountGuard guard(where);
  const ProcessResult mounted = pkgfs({"mount", package_, where});
  ASSERT_TRUE(mounted.ok()) << mounted.describe();
  EXPECT_TRUE(fs::is_directory(where / "data"));
  EXPECT_NE(pkgfs({"mounts"}).out.find(" on " + printable(where.string()) + " (live)\n"), std::string::npos);
  const ProcessResult unmounted = pkgfs({"unmount", where});
  EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
  EXPECT_TRUE(ended(where));
}

TEST_F(Lifecycle, PackageThatIsMissingIsRefusedBeforeAnythingIsMounted) {
  TempDir directory;
  MountedPackage absent(kPkgfs, directory.path() / "absent.webc");
  expect_refused(absent);
  EXPECT_TRUE(mentions(absent.result(), "absent.webc")) << absent.result().describe();
  MountedPackage unknown(kPkgfs, "acme/absent", {"--registry", registry("chain-v3")});
  expect_refused(unknown);
  EXPECT_TRUE(mentions(unknown.result(), "acme/absent")) << unknown.result().describe();
  MountedPackage nowhere(kPkgfs, "acme/app", {"--registry", directory.path() / "nowhere"});
  expect_refused(nowhere);
  EXPECT_TRUE(mentions(nowhere.result(), "nowhere")) << nowhere.result().describe();
}

TEST_F(Lifecycle, WithoutFuseThereIsOneClearLine) {
  if (::geteuid() != 0 || !have_program("unshare")) {
    GTEST_SKIP() << "needs root and unshare";
  }
  TempDir directory;
  fs::create_directory(directory.path() / "mnt");
  const MountGuard guard(directory.path() / "mnt");
  const ProcessResult result =
      run({"unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec \"$@\"", "sh",
           kPkgfs, "mount", package_, directory.path() / "mnt"},
          {.timeout = seconds(15)});
  EXPECT_GT(result.exit_code, 0) << result.describe();
  EXPECT_TRUE(mentions(result, "/dev/fuse")) << result.describe();
  EXPECT_FALSE(find_mount(directory.path() / "mnt").has_value());
}

TEST_F(Lifecycle, OtherUsersAreKeptOutUnlessAllowed) {
  if (::geteuid() != 0 || !have_program("setpriv")) {
    GTEST_SKIP() << "needs root and setpriv";
  }
  const auto as_nobody = [](const fs::path& path) {
    return run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", path}, {.timeout = seconds(10)})
        .ok();
  };
  for (const bool allowed : {false, true}) {
    MountedPackage mount(kPkgfs, package_, {"-o", allowed ? "allow_other" : "no_allow_other"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    fs::permissions(mount.path().parent_path(), fs::perms::others_exec, fs::perm_options::add);
    EXPECT_EQ(as_nobody(mount.path()), allowed);
  }
}

TEST_F(Lifecycle, ChangingTheFileAfterwardsDoesNotMatterToAReplacedOne) {
  TempDir directory;
  const fs::path file = directory.path() / "p.webc";
  fs::copy_file(package_, file);
  MountedPackage mount(kPkgfs, file, {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Tree before = list_tree(mount.path());
  fs::remove(file);
  directory.write("p.webc", "something else");
  EXPECT_EQ(difference(before, list_tree(mount.path())), "") << "the mount holds the file that it opened";
}

}  // namespace
}  // namespace pkgfs::test
