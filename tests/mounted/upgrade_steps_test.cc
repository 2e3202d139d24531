// SPDX-License-Identifier: MIT
// Risk: an upgrade leaves two daemons or none when a process is killed or stopped between two of its steps.
#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/mounted/upgrade_steps.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST_F(UpgradeStepByStep, TheKeeperMayBeAskedLongAfterAProcessHasConnected) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.keeper, 1);
  dir_.write("own/late", "");
  const ProcessResult upgraded = upgrade(before, "serve(); check(); replaced()");
  EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
  EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
}

TEST_F(UpgradeStepByStep, AProcessThatAsksForNothingDoesNotKeepOthersFromIt) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.keeper, 1);
  dir_.write("own/late", "");
  Process asks(upgrade_words(before, ""));  // it is stopped before it asks
  ASSERT_TRUE(eventually([&] { return fs::exists(own_ / "connected"); }));
  asks.signal(SIGSTOP);
  const ProcessResult upgraded = run({program(), "upgrade-mounts", mount.path()});
  EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
  EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
  asks.signal(SIGKILL);
}

TEST_F(UpgradeStepByStep, TheKeeperOfTheNewDaemonLetsTheOldOneGoOnIfItsOwnKeeperIsKilled) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const MountedPackage mount(kPkgfs, package(), {}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    set_slow(true);  // the note comes after the keeper
    const ProcessResult failed = upgrade(before, "serve(); check(); wait_for('begun'); kill(keeper, new)");
    EXPECT_TRUE(failed.ok()) << failed.describe();
    set_slow(false);
    EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 0; })) << "it stays stopped";
    EXPECT_EQ(serving(mount.path()).daemon, before.daemon);
    ::kill(before.daemon, SIGCONT);
    reader.expect_right();
    EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; })) << "two daemons go on";
    replace_daemon(mount.path());
  }
}

TEST_F(UpgradeStepByStep, ANewDaemonMayBeKilledBetweenItsNoteAndEachOfItsSignals) {
  // The signals are to the keeper before and to the daemon before.
  for (const ProcessOptions& way : ways()) {
    for (const int signals : {1, 2}) {
      SCOPED_TRACE(std::string(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep them") +
                   ", before signal " + std::to_string(signals));
      const MountedPackage mount(kPkgfs, package(), {}, way);
      ASSERT_TRUE(mount.ok()) << mount.result().describe();
      const Serving before = kept(mount.path());
      ASSERT_GT(before.keeper, 1);
      ComparingReader reader(mount.path(), source());
      const ProcessResult killed = upgrade(before, "signals = left = " + std::to_string(signals) + R"(
serve()
trace(new)
check()
for call in calls(new):
    left -= is_kill(call)
    if not left:
        break
assert replaced_by() == new, "the note comes later"
assert state_of(daemon) == "T" and (signals == 2 or state_of(keeper) != "X"), "the signals came earlier"
kill(new)
)");
      EXPECT_TRUE(killed.ok()) << killed.describe();
      EXPECT_TRUE(eventually([&] { return !is_running(before.daemon) && !is_running(before.keeper); }));
      EXPECT_EQ(kept(mount.path()).generation, before.generation + 2);
      expect_one_daemon(mount.path(), reader);
    }
  }
}

/// Some of the about 180 system calls that the new daemon's main thread makes between the first step and the last.
TEST_F(UpgradeStepByStep, ANewDaemonMayBeKilledBeforeAnyOfItsSystemCalls) {
  const std::uint64_t step = number_from_environment("PKGFS_TEST_UPGRADE_CALLS", 0);  // 1: every call
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  bool is_done = false;
  for (std::uint64_t number = 1; !is_done && number < 10'000; number += step > 0 ? step : 10 + number / 10) {
    SCOPED_TRACE("call " + std::to_string(number));
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    const ProcessResult killed = upgrade(before, "left = " + std::to_string(number) + R"(
import select
pause(daemon)
trace(new)
go()
for call in calls(new):
    left -= 1
    message = mine.recv(2) if select.select([mine], [], [], 0)[0] else None
    if message == b"s\0":
        check()
    if message == b"k\0" or not left:
        break
if left:
    print("done")
else:
    noted = replaced_by() == new
    kill(new)
    print("noted" if noted else "")
)");
    ASSERT_TRUE(killed.ok()) << killed.describe();
    is_done = killed.out == "done\n";
    const int replaced = is_done ? 1 : killed.out == "noted\n" ? 2 : 0;
    ASSERT_TRUE(eventually([&] {
      const Serving now = serving(mount.path());
      return now.keeper > 0 && now.generation == before.generation + replaced;
    })) << serving(mount.path()).all;
  }
  EXPECT_TRUE(is_done);
  expect_one_daemon(mount.path(), reader);
}

TEST_F(UpgradeStepByStep, TheOldKeeperMayBeStoppedAtEachStep) {
  for (const char* const steps :
       {"pause(keeper); serve(); check(); replaced()", "serve(); pause(keeper); check(); replaced()",
        "serve(); check(); wait_for('begun'); pause(keeper); replaced()"}) {
    SCOPED_TRACE(steps);
    const MountedPackage mount(kPkgfs, package());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    set_slow(true);
    const ProcessResult upgraded = upgrade(before, steps);
    set_slow(false);
    EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
    EXPECT_TRUE(eventually([&] { return !is_running(before.daemon) && !is_running(before.keeper); }));
    EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
    expect_one_daemon(mount.path(), reader);
  }
}

/// What ends then is the new daemon and the process that plays the command.
TEST_F(UpgradeStepByStep, AfterAnUpgradeThatFailsTheOldDaemonGoesOnAlthoughItsKeeperWasStopped) {
  for (const char* const steps : {"pause(keeper); kill(new)", "pause(keeper); serve(); kill(new)",
                                  "serve(); pause(keeper); check(); wait_for('begun'); kill(new)",
                                  "serve(); check(); wait_for('begun'); pause(keeper); kill(new)"}) {
    SCOPED_TRACE(steps);
    const MountedPackage mount(kPkgfs, package());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    set_slow(true);
    const ProcessResult failed = upgrade(before, steps);
    set_slow(false);
    EXPECT_TRUE(failed.ok()) << failed.describe();
    sleep_ms(1500);
    ::kill(before.keeper, SIGCONT);
    EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 0; })) << "it stays stopped";
    EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
    ::kill(before.daemon, SIGCONT);
    expect_one_daemon(mount.path(), reader);
  }
}

/// The keeper of the new daemon lets the old one go on, which must take back what the new one has taken.
TEST_F(UpgradeStepByStep, RequestsAreAnsweredThatTheNewDaemonHasTakenWhileTheOldKeeperIsStopped) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const FaultyDisk disk(package());
    ASSERT_TRUE(disk.ok());
    const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off"}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ASSERT_TRUE(run({"ls", "-R", mount.path()}).ok());  // the directories are in memory
    set_slow(true);
    Process upgrade(upgrade_words(before, R"(
serve()
os.write(1, b"serves")
wait_for("taken")
check()
wait_for("begun")
pause(keeper)
kill(new)
)"));
    ASSERT_TRUE(eventually([&] { return upgrade.out() == "serves"; })) << upgrade.err();
    disk.command("drop");
    disk.command("hold");
    const long reads = disk.reads();
    Process reader({"cat", mount / "d1/f100"});
    ASSERT_TRUE(eventually([&] { return disk.reads() > reads; })) << "the new daemon has taken no request";
    dir_.write("own/taken", "");
    EXPECT_TRUE(upgrade.wait().ok()) << upgrade.wait().describe();
    set_slow(false);
    disk.command("release");
    EXPECT_EQ(reader.wait().out, read_text(source() + "/d1/f100")) << reader.wait().describe();
    EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
    ::kill(before.keeper, SIGCONT);
    fs::remove(own_ / "taken");
  }
}

/// It can't end, as if a thread waited for a disk. Meanwhile, a refresh has replaced the keeper. An upgrade before has
/// failed when its daemon may have taken requests.
TEST_F(UpgradeStepByStep, ANewDaemonThatWasNotToldToServeKeepsNoReaderWaiting) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  const Serving first = kept(mount.path());
  ASSERT_GT(first.keeper, 1);
  const ProcessResult failed = upgrade(first, "serve(); kill(new)");
  EXPECT_TRUE(failed.ok()) << failed.describe();
  EXPECT_TRUE(eventually([&] { return !is_running(first.keeper); }));
  const Serving before = kept(mount.path());
  ASSERT_EQ(before.daemon, first.daemon);
  ASSERT_GT(before.keeper, 1);
  constexpr const char* kEndsLate = R"(
assert libc.ptrace(SEIZE, int(new), None, 0x40) == 0  # stops it before it ends
os.kill(keeper, signal.SIGKILL)
while os.path.exists(f"/proc/{keeper}"):
    time.sleep(0.01)
)";
  const ProcessResult refused = run({"/usr/bin/python3", "-I", "-S", "-c", kBeforeTheStop, program(), mount.path(),
                                     std::to_string(before.daemon), std::to_string(before.keeper), kEndsLate},
                                    {.timeout = std::chrono::seconds(30)});
  EXPECT_EQ(refused.exit_code, 10) << refused.describe();
  EXPECT_THAT(refused.err, HasSubstr("try again"));
  EXPECT_TRUE(eventually([&] { return serving(mount.path()).daemon == before.daemon; })) << "it stays stopped";
  ::kill(before.daemon, SIGCONT);
  expect_one_daemon(mount.path(), reader);
}

TEST_F(UpgradeStepByStep, ANewDaemonThatGetsNoKeeperDoesNotReplaceTheOldOne) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ComparingReader reader(mount.path(), source());
  dir_.write("own/pkgfs-keeper", "#!/bin/sh\nexit 1\n");
  const ProcessResult refused = run({program(), "upgrade-mounts", mount.path()});
  EXPECT_EQ(refused.exit_code, 10) << refused.describe();
  EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
  expect_one_daemon(mount.path(), reader);
}

class StoppedKeeper : public UpgradeKilled {};

TEST_F(StoppedKeeper, TheCommandSaysThatItDoesNotAnswer) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.keeper, 1);
  ComparingReader reader(mount.path(), source());
  ::kill(before.keeper, SIGSTOP);
  for (int i = 0; i < 4; ++i) {  // more than the kernel queues for the keeper
    const ProcessResult refused =
        run({program(), "upgrade-mounts", mount.path()}, {.timeout = std::chrono::seconds(10)});
    EXPECT_EQ(refused.exit_code, 10) << refused.describe();
    EXPECT_THAT(refused.err, ::testing::AnyOf(HasSubstr("doesn't answer"), HasSubstr("can't be reached")));
  }
  EXPECT_EQ(serving(mount.path()).daemon, before.daemon);
  ::kill(before.keeper, SIGCONT);
  EXPECT_TRUE(eventually([&] { return run({program(), "upgrade-mounts", mount.path()}).ok(); }));
  EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
  expect_one_daemon(mount.path(), reader);
}

TEST_F(StoppedKeeper, TheCommandLetsTheOldDaemonGoOn) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.keeper, 1);
  ComparingReader reader(mount.path(), source());
  set_slow(true);
  Process command({program(), "upgrade-mounts", mount.path()});
  ASSERT_TRUE(a_keeper_begins());
  const std::vector<pid_t> fresh = children_of(before.keeper);
  ASSERT_EQ(fresh.size(), 1U);
  ::kill(before.keeper, SIGSTOP);
  ::kill(fresh.front(), SIGKILL);
  EXPECT_FALSE(command.wait().ok());
  set_slow(false);
  EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
  expect_one_daemon(mount.path(), reader);
}

/// As a keeper of an older version passes them on.
TEST_F(UpgradeStepByStep, VariablesOfAnotherKeeperMeanNothing) {
  const ProcessOptions inherited{.environment = {{"PKGFS_BEFORE", "1"}, {"PKGFS_SUCCESSIONS", "7"}}};
  const MountedPackage mount(kPkgfs, package(), {}, inherited);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  (void)kept(mount.path());
  replace_daemon(mount.path());
  replace_daemon(mount.path());
}

}  // namespace
}  // namespace pkgfs::test
