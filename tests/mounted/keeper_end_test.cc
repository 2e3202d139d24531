// SPDX-License-Identifier: MIT
// Risk: a mount with a keeper doesn't end, leaves a process, or hangs where no successor can serve it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/mounted/keeper.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

using KeeperEnds = KeeperTest;

TEST_F(KeeperEnds, WithItsMount) {
  for (const int kills : {0, 2}) {
    for (const std::string way : {"pkgfs unmount", "umount", "SIGTERM", "SIGINT"}) {
      SCOPED_TRACE(way + " after " + std::to_string(kills) + " kills");
      MountedPackage mount(kPkgfs, package());
      ASSERT_TRUE(mount.ok()) << mount.result().describe();
      Serving now = kept(mount.path());
      for (int i = 0; i < kills; ++i) {
        now = replace_daemon(mount.path());
      }
      ASSERT_GT(now.daemon, 1);
      if (way == "pkgfs unmount") {
        EXPECT_TRUE(mount.unmount().ok());
      } else if (way == "umount") {
        EXPECT_TRUE(run({"umount", mount.path()}).ok());
      } else {
        ::kill(now.daemon, way == "SIGTERM" ? SIGTERM : SIGINT);
      }
      EXPECT_TRUE(eventually([&] { return !find_mount(mount.path()).has_value(); }));
      EXPECT_TRUE(all_ended());
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(KeeperEnds, WithAFileOpenToo) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving now = replace_daemon(mount.path());
  ASSERT_GT(now.daemon, 1);
  {
    const UniqueFd held(::open((mount / "large").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(held);
    ::kill(now.daemon, SIGTERM);
    EXPECT_TRUE(eventually([&] { return !find_mount(mount.path()).has_value(); }));
    EXPECT_TRUE(all_ended()) << "the keeper keeps a connection that a file needs";
  }
}

TEST_F(KeeperEnds, WithTheLastFileOfAMountThatWasUnmountedLazily) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving now = kept(mount.path());
  ASSERT_GT(now.daemon, 1);
  {
    const UniqueFd held(::open((mount / "large").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(held);
    ASSERT_TRUE(run({kPkgfs, "unmount", "--lazy", mount.path()}).ok());
    ::kill(now.daemon, SIGKILL);
    const std::string name = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(held.get());
    const ProcessResult read = run({"cat", name}, {.timeout = seconds(5)});
    EXPECT_TRUE(read.out == read_text(source() + "/large")) << read.err << (read.timed_out ? "a reader hangs" : "");
  }
  EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); })) << "a successor serves no mount";
  EXPECT_TRUE(all_ended());
}

TEST_F(KeeperEnds, WithItsDaemonKilledAtTheSameTime) {
  MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  kill_both(mount.path());
  ASSERT_FALSE(HasFailure());
  EXPECT_TRUE(becomes_dead(mount.path()));
  EXPECT_TRUE(all_ended());
  const ProcessResult again = run({kPkgfs, "mount", package(), mount.path()});
  EXPECT_TRUE(again.ok()) << again.describe();
  EXPECT_EQ(serving(mount.path()).generation, 1);
  EXPECT_EQ(read_text(mount / "d4/f444"), read_text(source() + "/d4/f444"));
  kill_both(mount.path());
  EXPECT_TRUE(becomes_dead(mount.path()));
  EXPECT_TRUE(mount.unmount().ok());
  EXPECT_FALSE(find_mount(mount.path()).has_value());
}

/// Whichever of them comes first: the mount goes on, or is dead. No reader hangs, and no process is left.
TEST_F(KeeperEnds, OrGoesOnWhenBothAreKilledShortlyAfterEachOther) {
  int round = 0;
  for (const bool daemon_first : {true, false}) {
    for (const int pause_ms : {0, 1, 2, 4, 8, 16, 32}) {
      SCOPED_TRACE(std::string(daemon_first ? "the daemon first, pause " : "the keeper first, pause ") +
                   std::to_string(pause_ms));
      MountedPackage mount(kPkgfs, package());
      ASSERT_TRUE(mount.ok()) << mount.result().describe();
      const Serving now = kept(mount.path());
      ASSERT_GT(now.keeper, 1);
      ::kill(daemon_first ? now.daemon : now.keeper, SIGKILL);
      sleep_ms(pause_ms);
      ::kill(daemon_first ? now.keeper : now.daemon, SIGKILL);
      ++round;
      const std::string name = "d" + std::to_string(round) + "/f" + std::to_string(round * 100);
      const ProcessResult read = run({"cat", mount / name}, {.timeout = seconds(5)});
      EXPECT_FALSE(read.timed_out) << "a reader hangs";
      EXPECT_TRUE(!read.ok() || read.out == read_text(source() + "/" + name)) << "wrong bytes";
      serving(mount.path());  // a successor must end, too
      EXPECT_TRUE(mount.unmount().ok());
      EXPECT_TRUE(all_ended());
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(KeeperEnds, ThereIsNoneWhereNoneIsAskedFor) {
  const std::vector<Arguments> without{{"--keeper=off"}, {"--auto-unmount"}, {"-o", "keeper=off"}};
  for (const Arguments& options : without) {
    SCOPED_TRACE(options.back());
    MountedPackage mount(kPkgfs, package(), options);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving now = serving(mount.path());
    EXPECT_EQ(now.keeper, 0) << now.all;
    ASSERT_GT(now.daemon, 1);
    ::kill(now.daemon, SIGKILL);
    if (options.back() == "--auto-unmount") {
      EXPECT_TRUE(eventually([&] { return !find_mount(mount.path()).has_value(); }));
    } else {
      EXPECT_TRUE(becomes_dead(mount.path()));
      EXPECT_TRUE(mount.unmount().ok());
    }
    EXPECT_TRUE(all_ended());
  }
  const MountedPackage wrong(kPkgfs, package(), {"--keeper=maybe"});
  EXPECT_EQ(wrong.result().exit_code, 2) << wrong.result().describe();
  expect_refused(wrong);
}

TEST_F(KeeperEnds, FollowedManifestsHaveNone) {
  const TempDir dir;
  dir.write("wasmer.toml", "[package]\nname = \"acme/live\"\nversion = \"1.0.0\"\n\n[fs]\n\"/\" = \"web\"\n");
  dir.write("web/index.html", "hello\n");
  const MountedPackage mount(kPkgfs, dir.path(), {"--follow-manifest"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving now = serving(mount.path());
  EXPECT_GT(now.daemon, 1);
  EXPECT_EQ(now.keeper, 0) << now.all;
}

TEST_F(KeeperEnds, InTheForegroundOnlyWhenAskedFor) {
  for (const bool asked : {false, true}) {
    SCOPED_TRACE(asked);
    const TempDir dir;
    const fs::path at = dir.path() / "mnt";
    fs::create_directory(at);
    Arguments words{kPkgfs, "mount", "-f"};
    if (asked) {
      words.emplace_back("--keeper=on");
    }
    words.insert(words.end(), {package(), at});
    const MountGuard guard(at);
    Process daemon(words);
    ASSERT_TRUE(eventually([&] { return find_mount(at).has_value() && fs::exists(at / "large"); })) << daemon.err();
    if (!asked) {
      EXPECT_EQ(serving(at).keeper, 0);
    } else {
      const Serving now = replace_daemon(at);
      EXPECT_EQ(read_text(at / "d4/f444"), read_text(source() + "/d4/f444"));
      EXPECT_GT(now.keeper, 1);
    }
    const ProcessResult unmounted = run({kPkgfs, "unmount", at});
    EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
    EXPECT_TRUE(daemon.ends_within(seconds(5)));
    EXPECT_TRUE(all_ended());
  }
}

TEST_F(KeeperEnds, WhenTheDaemonCrashesAgainAndAgain) {
  constexpr int kCrashes = 6;
  MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (int i = 1; i < kCrashes; ++i) {
    replace_daemon(mount.path(), SIGSEGV);
    ASSERT_FALSE(HasFailure()) << "crash " << i;
  }
  const Serving last = serving(mount.path());
  ASSERT_GT(last.daemon, 1);
  ::kill(last.daemon, SIGSEGV);
  EXPECT_TRUE(becomes_dead(mount.path())) << "a crash loop goes on";
  EXPECT_TRUE(all_ended());
  EXPECT_TRUE(mount.unmount().ok());
}

/// The keeper's children and the keeper, as far as they run.
std::vector<pid_t> with_children(pid_t process) {
  std::vector<pid_t> found{process};
  for (const std::string& word :
       {read_text("/proc/" + std::to_string(process) + "/task/" + std::to_string(process) + "/children")}) {
    std::istringstream pids(word);
    for (pid_t child = 0; pids >> child;) {
      found.push_back(child);
    }
  }
  return found;
}

TEST_F(KeeperEnds, WhenNoSuccessorCanStart) {
  MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving now = kept(mount.path());
  ASSERT_GT(now.keeper, 1);
  const rlimit little{.rlim_cur = 1U << 20U, .rlim_max = 1U << 20U};
  for (const pid_t pid : with_children(now.keeper)) {  // no program starts with so little
    if (pid != now.daemon) {
      ASSERT_EQ(::prlimit(pid, RLIMIT_AS, &little, nullptr), 0) << pid;
    }
  }
  Process reader({"cat", mount / "large"});
  ::kill(now.daemon, SIGKILL);
  EXPECT_TRUE(becomes_dead(mount.path(), seconds(1))) << "readers wait for a successor that can't come";
  EXPECT_TRUE(reader.ends_within(seconds(1))) << "a reader hangs";
  EXPECT_TRUE(all_ended());
  EXPECT_TRUE(mount.unmount().ok());
}

/// Overwrites what the keeper keeps in memory files. Returns how many it found.
int damage_kept_files(pid_t keeper) {
  int damaged = 0;
  const fs::path directory = "/proc/" + std::to_string(keeper) + "/fd";
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    std::error_code gone;
    if (fs::read_symlink(entry.path(), gone).string().find("memfd:") == std::string::npos) {
      continue;
    }
    const UniqueFd file(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    const off_t size = file ? ::lseek(file.get(), 0, SEEK_END) : 0;
    const std::string garbage(static_cast<std::size_t>(std::max<off_t>(size, 0)), '\xa5');
    damaged += file && size > 0 && ::pwrite(file.get(), garbage.data(), garbage.size(), 0) > 0 ? 1 : 0;
  }
  return damaged;
}

TEST_F(KeeperEnds, DamagedStateIsNoReasonForWrongBytesOrAHang) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to write to what another process keeps";
  }
  MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving now = kept(mount.path());
  ASSERT_GT(now.keeper, 1);
  const int damaged = damage_kept_files(now.keeper);
  ::kill(now.daemon, SIGKILL);
  const auto goes_on = [&] {
    const ProcessResult read = run({"cat", mount / "d4/f444"}, {.timeout = milliseconds(1500)});
    EXPECT_FALSE(read.timed_out) << "a reader hangs";
    EXPECT_TRUE(!read.ok() || read.out == read_text(source() + "/d4/f444")) << read.describe();
    return read.ok();
  };
  if (goes_on()) {
    EXPECT_EQ(run({"diff", "-r", source(), mount.path()}).out, "");
    serving(mount.path());
  } else {
    EXPECT_TRUE(becomes_dead(mount.path(), seconds(1)));
    EXPECT_TRUE(all_ended());
  }
  EXPECT_TRUE(mount.unmount().ok());
  if (damaged == 0) {
    GTEST_SKIP() << "the keeper keeps nothing that can be written to";
  }
}

TEST_F(KeeperEnds, TheKeeperIsReplacedAndTheNewOneKnowsAll) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  for (int round = 0; round < 3 && !HasFailure(); ++round) {
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ::kill(before.keeper, SIGKILL);
    Serving after;
    EXPECT_TRUE(eventually([&] {
      after = serving(mount.path());
      return after.keeper > 1 && after.keeper != before.keeper && is_running(after.keeper);
    })) << after.all;
    EXPECT_EQ(after.daemon, before.daemon);
    EXPECT_EQ(after.generation, before.generation);
    EXPECT_TRUE(eventually([&] { return !fs::exists("/proc/" + std::to_string(before.keeper)); })) << "a zombie";
    replace_daemon(mount.path());
  }
  reader.expect_right();
}

}  // namespace
}  // namespace pkgfs::test
