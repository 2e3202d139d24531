// SPDX-License-Identifier: MIT
// Risk: an upgrade leaves two daemons or none if the keeper is of a version that doesn't know of the note by which the
// new daemon takes the mount (keeper::kReplacedBy).
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/mounted/upgrade_steps.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// Acts as such a keeper did: of several keepers, the one that raises the number of successors acts; if the new daemon
/// ends, the old one goes on; if the old one ends, the new one is killed. It waits for the question of an upgrade for
/// 200 ms only. While the file `closes` is there, it doesn't wait.
constexpr const char* kOlderKeeper = R"(
import mmap, os, select, signal, socket, struct, sys, time
CONTROL, DEVICE, PROGRAM, STATE, ENDED, MAIN = 3, 4, 7, 8, 10, 11
words, mask = sys.argv[5:], set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
os.setsid()
signal.pthread_sigmask(signal.SIG_BLOCK, mask)
control, fds, expected = socket.socket(fileno=CONTROL), [], 1
while len(fds) < expected:
    text, received, _, _ = socket.recv_fds(control, 16, 200)
    if not text:
        sys.exit(0)
    fds, expected = fds + received, 8 + struct.unpack("I", text[12:])[0]
assert fds == list(range(DEVICE, DEVICE + len(fds))), fds
for fd in fds:
    os.set_inheritable(fd, True)
number = memoryview(mmap.mmap(STATE, 4096)).cast("I")[8:9]
known = int(os.environ.pop("PKGFS_SUCCESSIONS", number[0]))
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(b"\0pkgfs-keeper-" + text[1:12].rstrip(b"\0"))
listener.listen(1)
control.send(b"r\0")
def start(program, socket, ended):
    os.environ["PKGFS_TAKEOVER"] = f"1:{len(fds) - 8}:0:{ended}:{int(not ended)}"
    child = os.fork()
    if child:
        return child
    os.dup2(socket, CONTROL)
    os.close(MAIN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, mask)
    os.dup2(program, PROGRAM)
    os.execve(PROGRAM, words, os.environ)
upgrade, upgrade_end, asks = 0, None, None
while True:
    ready, _, _ = select.select([ENDED, control, listener] + [upgrade_end] * bool(upgrade), [], [])
    if ENDED in ready or control in ready:
        break
    if upgrade_end in ready:
        os.waitpid(upgrade, 0)
        upgrade = 0
        stopped = ") T" in open("/dev/fd/%d" % MAIN).read()
        signal.pidfd_send_signal(ENDED, signal.SIGCONT)
        if stopped:
            sys.exit(0)
    if listener in ready:
        asks, _ = listener.accept()
        closes = os.path.exists("closes")
        if closes or not select.select([asks], [], [], 0.2)[0]:
            closes and os.remove("closes")
            asks.close()
            continue
        _, (program, theirs), _, _ = socket.recv_fds(asks, 2, 2)
        upgrade = start(program, theirs, 0)
        upgrade_end = os.pidfd_open(upgrade)
        os.close(program)
        os.close(theirs)
listener.close()
if upgrade:
    os.kill(upgrade, signal.SIGKILL)
    os.waitpid(upgrade, 0)
if control in ready and control.recv(2)[:1] == b"e":
    for fd in fds:
        if fd != ENDED:
            os.close(fd)
    control.send(b"l\0")
    select.select([ENDED], [], [])
elif number[0] == known:
    number[0] = known + 1
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    start(PROGRAM, theirs.fileno(), time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    theirs.close()
    mine.recv(2)
os._exit(0)
)";

class UpgradeWithOlderKeeper : public UpgradeStepByStep {
 protected:
  void SetUp() override {
    UpgradeStepByStep::SetUp();
    fresh_ = kPkgfs;
    dir_.write("own/older.py", kOlderKeeper);
    const std::string keeper = fs::path(kPkgfs).parent_path() / "pkgfs-keeper";
    dir_.write("own/pkgfs-keeper", "#!/bin/sh\ncd " + own_.string() +
                                       "\n[ -e older ] && rm older && exec python3 -I -S older.py \"$@\"\nexec " +
                                       keeper + " \"$@\"\n");
  }
  void next_keeper_is_older() { dir_.write("own/older", ""); }
  Serving prepare(const MountedPackage& mount) {
    EXPECT_TRUE(mount.ok()) << mount.result().describe();
    Serving before = kept(mount.path());
    EXPECT_FALSE(fs::exists(own_ / "older")) << "its keeper isn't the older one";
    return before;
  }
};

TEST_F(UpgradeWithOlderKeeper, TheNewDaemonReplacesTheOldOne) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    next_keeper_is_older();
    const MountedPackage mount(program(), package(), {}, way);
    const Serving before = prepare(mount);
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    const ProcessResult upgraded = run({kPkgfs, "upgrade-mounts", mount.path()});
    EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
    EXPECT_TRUE(eventually([&] { return !is_running(before.daemon) && !is_running(before.keeper); }));
    EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
    expect_one_daemon(mount.path(), reader);
  }
}

TEST_F(UpgradeWithOlderKeeper, ItIsAskedAgainAfterItHasClosedTheConnection) {
  for (const bool is_late : {true, false}) {
    SCOPED_TRACE(is_late ? "it was asked late" : "before it read the question");
    next_keeper_is_older();
    const MountedPackage mount(program(), package());
    const Serving before = prepare(mount);
    ASSERT_GT(before.keeper, 1);
    if (!is_late) {
      dir_.write("own/closes", "");
    }
    const ProcessResult upgraded =
        is_late ? upgrade_late(kPkgfs, mount.path()) : run({kPkgfs, "upgrade-mounts", mount.path()});
    EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
    EXPECT_FALSE(fs::exists(own_ / "closes"));
    EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
  }
}

TEST_F(UpgradeWithOlderKeeper, AtEachStepThatFailsOneDaemonGoesOn) {
  const std::string traced = R"(
serve()
trace(new)
check()
for call in calls(new):
    left -= is_kill(call)
    if not left:
        break
assert replaced_by() == new and state_of(daemon) == "T" and (left_at_first == 2 or state_of(keeper) != "X")
kill(new)
)";
  struct Case {
    std::string steps;
    int replaced;  // so many daemons
  };
  for (const Case& each :
       {Case{"kill(new)", 0}, Case{"serve(); kill(new)", 0}, Case{"serve(); kill(daemon)", 1},
        Case{"serve(); kill(keeper, daemon); check(); replaced()", 1}, Case{"left = left_at_first = 1" + traced, 2},
        Case{"left = left_at_first = 2" + traced, 2}}) {
    SCOPED_TRACE(each.steps);
    next_keeper_is_older();
    const MountedPackage mount(program(), package());
    const Serving before = prepare(mount);
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    const ProcessResult failed = upgrade(before, each.steps);
    EXPECT_TRUE(failed.ok()) << failed.describe();
    EXPECT_TRUE(eventually([&] {
      const Serving now = serving(mount.path());
      return now.keeper > 0 && now.generation == before.generation + each.replaced;
    })) << serving(mount.path()).all;
    expect_one_daemon(mount.path(), reader);
  }
}

}  // namespace
}  // namespace pkgfs::test
