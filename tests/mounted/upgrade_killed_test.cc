// SPDX-License-Identifier: MIT
// Risk: an upgrade that fails or is killed at a bad moment leaves a mount without a daemon, with two of them, or with
// requests that no daemon answers.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tests/mounted/keeper.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class UpgradeKilled : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    // Keepers of this program come late while the file `slow` is there.
    fs::create_directory(own_);
    fs::copy_file(kPkgfs, program());
    dir_.write("own/pkgfs-keeper", "#!/bin/sh\ncd " + own_.string() + "\n[ -e slow ] && : > begun && sleep 1\nexec " +
                                       (fs::path(kPkgfs).parent_path() / "pkgfs-keeper").string() + " \"$@\"\n");
    fs::permissions(own_ / "pkgfs-keeper", fs::perms::owner_all);
  }
  [[nodiscard]] std::string program() const { return own_ / "pkgfs"; }
  void set_slow(bool slow) const {
    fs::remove(own_ / "begun");
    if (slow) {
      std::ofstream(own_ / "slow") << "";
    } else {
      fs::remove(own_ / "slow");
    }
  }
  [[nodiscard]] bool a_keeper_begins() const {
    return eventually([&] { return fs::exists(own_ / "begun"); });
  }
  /// How daemons get the requests of those before them.
  static std::vector<ProcessOptions> ways() {
    ProcessOptions without_resend;
    without_resend.environment = {{"PKGFS_TEST_NO_RESEND", "1"}};
    return {ProcessOptions(), without_resend};
  }
  [[nodiscard]] static std::vector<pid_t> children_of(pid_t process) {
    const std::string id = std::to_string(process);
    std::istringstream pids(read_text("/proc/" + id + "/task/" + id + "/children"));
    return {std::istream_iterator<pid_t>(pids), {}};
  }

  TempDir dir_;
  const fs::path own_ = dir_.path() / "own";
};

TEST_F(UpgradeKilled, BeforeTheNewDaemonHasAKeeperTheOldOneGoesOn) {
  for (const ProcessOptions& way : ways()) {
    for (const bool command_too : {true, false}) {
      SCOPED_TRACE(std::string(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep them") +
                   (command_too ? ", both are killed" : ", the new daemon is killed"));
      const MountedPackage mount(kPkgfs, package(), {}, way);
      ASSERT_TRUE(mount.ok()) << mount.result().describe();
      const Serving before = kept(mount.path());
      ASSERT_GT(before.keeper, 1);
      ComparingReader reader(mount.path(), source());
      set_slow(true);
      Process command({program(), "upgrade-mounts", mount.path()}, way);
      ASSERT_TRUE(a_keeper_begins());
      const std::vector<pid_t> fresh = children_of(before.keeper);
      ASSERT_EQ(fresh.size(), 1U);
      if (command_too) {
        command.signal(SIGKILL);
      }
      ::kill(fresh.front(), SIGKILL);
      EXPECT_FALSE(command.wait().ok());
      set_slow(false);
      EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 0; }));
      EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
      reader.expect_right();
      EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; })) << "two daemons go on";
      replace_daemon(mount.path());
    }
  }
}

TEST_F(UpgradeKilled, AfterwardsANewDaemonHasASuccessor) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  for (int i = 0; i < 5; ++i) {
    (void)kept(mount.path());
    const ProcessResult upgraded = run({i % 2 == 0 ? program() : kPkgfs, "upgrade-mounts", mount.path()});
    ASSERT_TRUE(upgraded.ok()) << upgraded.describe();
    replace_daemon(mount.path());
  }
  reader.expect_right();
  EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; }));
}

/// Does what `pkgfs upgrade-mounts` does until the new daemon serves, and then what the fifth argument says. Waits for
/// the file `go` before it stops the old daemon.
constexpr const char* kUpgrades = R"(
import array, os, signal, socket, sys, time
program, daemon, keeper, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
words = [word for word in open(f"/proc/{keeper}/cmdline").read().split("\0") if word]
asks = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asks.connect("\0pkgfs-keeper-" + words[3])
mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
def rights(*fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
def wait_for(name):
    while not os.path.exists(files + "/" + name):
        time.sleep(0.01)
asks.sendmsg([b"u\0"], rights(os.open(program, os.O_RDONLY), theirs.fileno()))
theirs.close()
mine.settimeout(10)
assert mine.recv(2) == b"p\0"
fresh = [int(pid) for pid in open(f"/proc/{keeper}/task/{keeper}/children").read().split()]
os.write(1, b"prepared ")
wait_for("go")
os.kill(daemon, signal.SIGSTOP)
while ") T" not in open(f"/proc/{daemon}/stat").read():
    time.sleep(0.001)
mine.sendmsg([b"g\0"], rights(os.pidfd_open(keeper)))
assert mine.recv(2) == b"s\0"
os.write(1, b"serves")
def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
def check():
    mine.sendmsg([b"q\0"])
exec(sys.argv[5])
)";

/// The old daemon is stopped while it starts another keeper. So it doesn't see that the one before ends by itself.
TEST_F(UpgradeKilled, RequestsAreAnsweredThatTheNewDaemonHasTakenDuringARefresh) {
  const fs::path newer = dir_.path() / "newer.webc";
  PackageBuilder("acme/many@2.0.0").mount("/", "data").file("data", "version", "2").write(newer);
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const FaultyDisk disk(package());
    ASSERT_TRUE(disk.ok());
    TempDir files;
    const fs::path shown = files.path() / "app.webc";
    fs::create_symlink(disk.disk(), shown);
    const MountedPackage mount(program(), shown, {"--follow=1h", "--keep-old=1", "--push=off"}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ASSERT_TRUE(run({"ls", "-R", mount.path()}).ok());  // the directories are in memory

    Process upgrade({"/usr/bin/python3", "-I", "-S", "-c", kUpgrades, kPkgfs, std::to_string(before.daemon),
                     std::to_string(before.keeper), files.path(), "wait_for('end'); kill(*fresh)"},
                    {.timeout = seconds(30)});
    ASSERT_TRUE(eventually([&] { return upgrade.out() == "prepared "; })) << upgrade.err();
    fs::remove(shown);
    fs::create_symlink(newer, shown);
    std::ifstream file(mount / "d1/f100");  // before the root shows the newer version
    set_slow(true);
    Process refresh({kPkgfs, "refresh", mount.path()});
    ASSERT_TRUE(a_keeper_begins());
    files.write("go", "");
    ASSERT_TRUE(eventually([&] { return upgrade.out() == "prepared serves"; })) << upgrade.err();
    set_slow(false);
    disk.command("drop");
    disk.command("hold");
    const long reads = disk.reads();
    Process reader({"cat", mount / "d1/f100"});
    ASSERT_TRUE(eventually([&] { return disk.reads() > reads; })) << "the new daemon has taken no request";
    files.write("end", "");
    EXPECT_TRUE(upgrade.wait().ok()) << upgrade.wait().describe();
    EXPECT_TRUE(eventually([&] { return !is_running(before.keeper); }));
    disk.command("release");
    EXPECT_EQ(reader.wait().out, read_text(source() + "/d1/f100")) << reader.wait().describe();
    EXPECT_FALSE(refresh.wait().timed_out);
    const Serving after = kept(mount.path());
    EXPECT_EQ(after.daemon, before.daemon);
    EXPECT_TRUE(run({"ls", mount.path()}).ok());
  }
}

class UpgradeStepByStep : public UpgradeKilled {
 protected:
  void SetUp() override {
    UpgradeKilled::SetUp();
    dir_.write("own/go", "");
  }
  /// Runs kUpgrades for a mount. `then`: the fifth argument. Its files are in the directory of `program`.
  [[nodiscard]] ProcessResult upgrade(const Serving& before, const std::string& then) const {
    return run({"/usr/bin/python3", "-I", "-S", "-c", kUpgrades, program(), std::to_string(before.daemon),
                std::to_string(before.keeper), own_, then},
               {.timeout = seconds(30)});
  }
};

TEST_F(UpgradeStepByStep, TheKeeperOfTheNewDaemonLetsTheOldOneGoOnIfItsOwnKeeperIsKilled) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const MountedPackage mount(kPkgfs, package(), {}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    set_slow(true);  // the note comes after the keeper
    const ProcessResult failed = upgrade(before, "check(); wait_for('begun'); kill(keeper, *fresh)");
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

TEST_F(UpgradeStepByStep, ANewDaemonEndsIfKeeperdHasStartedAnotherOne) {
  const std::string socket = dir_.path() / "keeperd.sock";
  Process keeperd({fs::path(kPkgfs).parent_path() / "pkgfs-keeperd", socket});
  ASSERT_TRUE(eventually([&] { return fs::exists(socket); })) << keeperd.err();
  {
    const MountedPackage mount(kPkgfs, package(), {"--keeper=external"}, {.environment = {{"PKGFS_KEEPERD", socket}}});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    Serving before;
    ASSERT_TRUE(eventually([&] { return (before = kept(mount.path())).all.value("keeperd", false); }));
    ComparingReader reader(mount.path(), source());
    // What comes last on the socket is its end.
    const ProcessResult upgraded = upgrade(before, R"(
kill(keeper, daemon)
time.sleep(2)
check()
mine.settimeout(10)
assert mine.recv(2) == b""
)");
    EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
    reader.expect_right();
    EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; })) << "two daemons go on";
    EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
  }
  keeperd.signal(SIGKILL);
  (void)keeperd.wait();
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
