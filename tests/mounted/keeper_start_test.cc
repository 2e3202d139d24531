// SPDX-License-Identifier: MIT
// Risk: a keeper that is started before its mount stays although the daemon has ended, or takes a descriptor for
// another. Or a daemon is killed before its keeper watches it, and the mount is dead.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "tests/mounted/keeper.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// Does what a daemon does until it has a mount (daemon/keeper/description.h). Arguments: the keeper, and what to do.
constexpr const char* kDaemon = R"py(
import array, os, socket, struct, subprocess, sys, time
keeper, task = sys.argv[1:]
open("/dev/null")
held = [os.open("/dev/null", os.O_RDWR) for _ in range(8)]  # number 3 is the keeper's
mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
mine.settimeout(5)
child = subprocess.Popen([keeper, "1", "later", "connection", "/absent", "pkgfs", "mount"], pass_fds=(3,),
                         preexec_fn=lambda: os.dup2(theirs.fileno(), 3))
theirs.close()

def describe(connection, containers, descriptors):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    mine.sendmsg([struct.pack("=c11sI", b"d", connection, containers)], rights)

own = os.getpid()
state = os.memfd_create("state")
os.ftruncate(state, 4096)
fixed = [held[0], held[1], held[2], held[3], state, held[4], os.pidfd_open(own),
         os.open(f"/proc/{own}/task/{own}/stat", os.O_RDONLY)]
if task == "end":
    mine.close()
elif task == "nonsense":
    mine.send(b"e\0")
elif task == "none":
    mine.send(struct.pack("=c11sI", b"d", b"999999", 0))
elif task == "few":
    describe(b"999999", 300, fixed)
    mine.close()
else:
    assert task == "all"
    files = [os.memfd_create(str(i)) for i in range(300)]
    everything = fixed + files
    describe(b"999999", 300, everything[:200])
    describe(b"999999", 300, everything[200:])
    assert mine.recv(16) == b"r\0"
    for number in range(300):
        link = os.readlink(f"/proc/{child.pid}/fd/{12 + number}")
        assert link == f"/memfd:{number} (deleted)", link
    words = open(f"/proc/{child.pid}/cmdline", "rb").read()
    assert [word for word in words.split(b"\0") if word][1:] == [b"1", b"300", b"999999", b"/absent", b"pkgfs", b"mount"]
    child.kill()
    sys.exit(0)
assert child.wait(5) == 0
)py";

class KeeperStart : public MountedTest {
 protected:
  static void expect_right(const char* task) {
    const fs::path keeper = fs::path(kPkgfs).parent_path() / "pkgfs-keeper";
    const ProcessResult daemon =
        run({"/usr/bin/python3", "-I", "-S", "-c", kDaemon, keeper, task}, {.timeout = std::chrono::seconds(15)});
    EXPECT_TRUE(daemon.ok()) << task << ": " << daemon.describe();
  }
};

TEST_F(KeeperStart, TheKeeperEndsWithADaemonThatHasNoMountYet) { expect_right("end"); }

TEST_F(KeeperStart, TheKeeperEndsIfItIsToldNonsense) {
  for (const char* task : {"nonsense", "none", "few"}) {
    expect_right(task);
  }
}

TEST_F(KeeperStart, EachDescriptorHasItsNumber) { expect_right("all"); }

class LateKeeper : public KeeperTest {
 protected:
  /// Copies pkgfs to a directory where its keepers begin only when the file `go` is there.
  [[nodiscard]] std::string program() const {
    const fs::path keeper = fs::path(kPkgfs).parent_path() / "pkgfs-keeper";
    fs::copy_file(kPkgfs, dir_.path() / "pkgfs");
    dir_.write("pkgfs-keeper", "#!/bin/sh\necho $$ >>" + begun().string() + "\nfor i in $(seq 1000); do [ -e " + go() +
                                   " ] && break; sleep 0.01; done\nexec " + keeper.string() + " \"$@\"\n");
    fs::permissions(dir_.path() / "pkgfs-keeper", fs::perms::owner_all);
    return dir_.path() / "pkgfs";
  }
  [[nodiscard]] std::string go() const { return dir_.path() / "go"; }
  /// Gets the process ids of the keepers.
  [[nodiscard]] fs::path begun() const { return dir_.path() / "begun"; }

  TempDir dir_;
};

TEST_F(LateKeeper, IsToldOfTheMountBeforeTheCommandReturns) {
  const MountedPackage mount(program(), package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  ASSERT_GT(daemon, 0);
  ::kill(daemon, SIGKILL);
  dir_.write("go", "");
  const Serving after = kept(mount.path());
  EXPECT_NE(after.daemon, daemon);
  EXPECT_EQ(after.generation, 2);
  EXPECT_EQ(read_text(mount / "d1/f100"), read_text(source() + "/d1/f100"));
}

TEST_F(LateKeeper, IsReplacedIfItNeverBegins) {
  const MountedPackage mount(program(), package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_TRUE(eventually([&] { return fs::exists(begun()); }));
  const pid_t first = std::stoi(read_text(begun()));
  EXPECT_TRUE(eventually([&] { return !is_running(first); }, std::chrono::seconds(15)));
  EXPECT_EQ(serving(mount.path()).keeper, 0);
  dir_.write("go", "");
  EXPECT_NE(kept(mount.path()).keeper, first);
  replace_daemon(mount.path());
}

}  // namespace
}  // namespace pkgfs::test
