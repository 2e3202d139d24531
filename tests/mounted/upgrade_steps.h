// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tests/mounted/keeper.h"

namespace pkgfs::test {

/// Tests of upgrades that fail, or that are killed.
class UpgradeKilled : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    // Keepers of this program come late while the file `slow` is there.
    std::filesystem::create_directory(own_);
    std::filesystem::copy_file(kPkgfs, program());
    dir_.write("own/pkgfs-keeper", "#!/bin/sh\ncd " + own_.string() + "\n[ -e slow ] && : > begun && sleep 1\nexec " +
                                       (std::filesystem::path(kPkgfs).parent_path() / "pkgfs-keeper").string() +
                                       " \"$@\"\n");
    std::filesystem::permissions(own_ / "pkgfs-keeper", std::filesystem::perms::owner_all);
  }
  [[nodiscard]] std::string program() const { return own_ / "pkgfs"; }
  void set_slow(bool slow) const {
    std::filesystem::remove(own_ / "begun");
    if (slow) {
      std::ofstream(own_ / "slow") << "";
    } else {
      std::filesystem::remove(own_ / "slow");
    }
  }
  [[nodiscard]] bool a_keeper_begins() const {
    return eventually([&] { return std::filesystem::exists(own_ / "begun"); });
  }
  /// How daemons get the requests of those before them.
  static std::vector<ProcessOptions> ways() {
    ProcessOptions without_resend;
    without_resend.environment = {{"PKGFS_TEST_NO_RESEND", "1"}};
    return {ProcessOptions(), without_resend};
  }
  /// Whether readers have seen no error, and exactly one daemon is left, which a successor can replace.
  void expect_one_daemon(const std::filesystem::path& mountpoint, ComparingReader& reader) {
    EXPECT_TRUE(eventually([&] { return serving(mountpoint).keeper > 0; })) << "no daemon goes on";
    reader.expect_right();
    EXPECT_TRUE(eventually([&] { return processes_with(mountpoint).size() == 1; })) << "two daemons go on";
    replace_daemon(mountpoint);
  }
  [[nodiscard]] static std::vector<pid_t> children_of(pid_t process) {
    const std::string id = std::to_string(process);
    std::istringstream pids(read_text("/proc/" + id + "/task/" + id + "/children"));
    return {std::istream_iterator<pid_t>(pids), {}};
  }

  TempDir dir_;
  const std::filesystem::path own_ = dir_.path() / "own";
};

/// Functions that stop another process before each of its system calls.
constexpr const char* kTraces = R"(
import ctypes, os, signal, struct, sys
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, SYSCALL, CALL_INFO, DETACH, ANY_CHILD = 0x4206, 0x4207, 24, 0x420E, 17, 0x40000000
def trace(pid):  # stops the main thread of the process
    assert libc.ptrace(SEIZE, pid, None, 1) == 0 and libc.ptrace(INTERRUPT, pid, None, None) == 0
    os.waitpid(pid, ANY_CHILD)
def calls(pid):  # lets that thread go on, and stops it again before each of its system calls: number, arguments
    info, passed = ctypes.create_string_buffer(88), 0
    while libc.ptrace(SYSCALL, pid, None, passed) == 0:
        _, status = os.waitpid(pid, ANY_CHILD)
        passed = os.WSTOPSIG(status) if os.WIFSTOPPED(status) and status >> 16 == 0 else 0
        if passed == signal.SIGTRAP | 0x80:
            passed = 0
            libc.ptrace(CALL_INFO, pid, len(info), info)
            if info.raw[0] == 1:
                yield struct.unpack_from("7Q", info.raw, 24)
def start(words):  # a program that is stopped so; its id
    pid = os.fork()
    if not pid:
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execv(words[0], words)
    os.waitpid(pid, os.WUNTRACED)
    trace(pid)
    os.kill(pid, signal.SIGCONT)
    return pid
def finish(pid):  # lets it run to its end, and ends as it does
    assert libc.ptrace(DETACH, pid, None, None) == 0
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
)";

/// Plays `pkgfs upgrade-mounts`: asks the keeper for the new daemon, and waits until that is prepared. Then runs the
/// code in the last argument, which does the other steps, or something else, by these functions. While the file `late`
/// is there, the connection is idle for a while first.
inline const std::string kUpgrades = std::string(kTraces) + R"(
import array, socket, time
program, daemon, keeper, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
mountpoint = open(f"/proc/{daemon}/cmdline").read().split("\0")[-2]
asks = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asks.connect(f"\0pkgfs-keeper-{os.minor(os.stat(mountpoint).st_dev)}")
mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
def rights(*fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
def wait_for(name):
    while not os.path.exists(files + "/" + name):
        time.sleep(0.01)
def state_of(pid):  # as proc_pid_stat(5) names it; "X": it has ended
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(") ")[2][0].replace("Z", "X")
    except OSError:
        return "X"
def children_of(pid):
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]
def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
def pause(pid):
    os.kill(pid, signal.SIGSTOP)
    while state_of(pid) != "T":
        time.sleep(0.001)
def go():
    mine.sendmsg([b"g\0"], rights(os.pidfd_open(keeper)))
def serve():
    pause(daemon)
    go()
    assert mine.recv(2) == b"s\0"
def check():
    mine.sendmsg([b"q\0"])
def replaced():
    assert mine.recv(2) == b"k\0"
def replaced_by():
    return struct.unpack("I", os.pread(state[0], 4, 1104))[0]
def is_kill(call):
    return call[0] == 424 and call[2] == signal.SIGKILL  # pidfd_send_signal
if os.path.exists(files + "/late"):
    open(files + "/connected", "w").close()
    time.sleep(0.7)
asks.sendmsg([b"u\0"], rights(os.open(program, os.O_RDONLY), theirs.fileno()))
theirs.close()
mine.settimeout(10)
text, state, _, _ = socket.recv_fds(mine, 2, 1)
assert text == b"p\0"
[new] = children_of(keeper)
exec(sys.argv[5])
)";

/// Runs a command, but stops it for a while before it asks the keeper (sendmsg), as if other processes had the CPU.
inline const std::string kAsksLate = std::string(kTraces) + R"(
import time
pid = start(sys.argv[1:])
for call in calls(pid):
    if call[0] == 46:
        break
time.sleep(0.7)
finish(pid)
)";
/// Runs `pkgfs upgrade-mounts` of `program` so.
inline ProcessResult upgrade_late(const std::string& program, const std::filesystem::path& mountpoint) {
  return run({"/usr/bin/python3", "-I", "-S", "-c", kAsksLate, program, "upgrade-mounts", mountpoint},
             {.timeout = std::chrono::seconds(30)});
}

/// Runs the command in the first arguments until it is about to stop the old daemon. Then it runs the code in the last
/// one, and lets the command go on.
inline const std::string kBeforeTheStop = std::string(kTraces) + R"(
import time
program, mountpoint, daemon, keeper, code = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
pid = start([program, "upgrade-mounts", mountpoint])
for call in calls(pid):
    if call[0] == 424 and call[2] == signal.SIGSTOP:
        break
[new] = open(f"/proc/{keeper}/task/{keeper}/children").read().split()
exec(code)
finish(pid)
)";

/// The steps of an upgrade, one by one.
class UpgradeStepByStep : public UpgradeKilled {
 protected:
  /// The command that runs kUpgrades for a mount. `steps`: the code. Its files are in the directory of `program`.
  [[nodiscard]] Arguments upgrade_words(const Serving& before, const std::string& steps) const {
    return {"/usr/bin/python3",
            "-I",
            "-S",
            "-c",
            kUpgrades,
            fresh_,
            std::to_string(before.daemon),
            std::to_string(before.keeper),
            own_,
            steps};
  }
  /// Runs it to its end.
  [[nodiscard]] ProcessResult upgrade(const Serving& before, const std::string& steps) const {
    return run(upgrade_words(before, steps), {.timeout = std::chrono::seconds(30)});
  }

  std::string fresh_ = program();  // what the new daemon runs
};

}  // namespace pkgfs::test
