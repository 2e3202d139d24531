// SPDX-License-Identifier: MIT
// Risk: a mount ends with its control group although pkgfs-keeperd holds it, or a client of pkgfs-keeperd harms others.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/mounted/keeper.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using ::testing::HasSubstr;

class Keeperd : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    environment_.environment = {{"PKGFS_KEEPERD", socket()}};
  }
  void TearDown() override {
    KeeperTest::TearDown();
    if (keeperd_) {
      EXPECT_FALSE(keeperd_->ends_within(std::chrono::milliseconds(0))) << keeperd_->err();
      keeperd_->signal(SIGKILL);
      (void)keeperd_->wait();
    }
  }

  [[nodiscard]] std::string socket() const { return dir_.path() / "keeperd.sock"; }
  void start() {
    keeperd_.emplace(Arguments{fs::path(kPkgfs).parent_path() / "pkgfs-keeperd", socket()});
    ASSERT_TRUE(eventually([&] { return fs::exists(socket()); })) << keeperd_->err();
    files_at_first_ = files();
  }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator("/proc/" + std::to_string(keeperd_->pid()) + "/fd"), {});
  }
  /// Kills daemon and keeper, and waits until others are there.
  void replace_both(const fs::path& mountpoint) {
    const Serving before = held(mountpoint);
    kill_both(mountpoint);
    EXPECT_TRUE(eventually(
        [&] {
          const Serving now = serving(mountpoint);
          return now.generation == before.generation + 1 && now.keeper > 1;
        },
        seconds(10)))
        << serving(mountpoint).all;
    EXPECT_NE(held(mountpoint).daemon, before.daemon);
    EXPECT_EQ(umask_of(serving(mountpoint).daemon), umask_of(::getpid())) << "it makes directories of the cache";
  }
  /// As the kernel writes it.
  static std::string umask_of(pid_t process) {
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    for (std::string word; status >> word;) {
      if (word == "Umask:" && status >> word) {
        return word;
      }
    }
    return {};
  }

  TempDir dir_;
  ProcessOptions environment_;
  std::optional<Process> keeperd_;
  std::ptrdiff_t files_at_first_ = 0;
};

TEST_F(Keeperd, AMountOutlivesItsDaemonAndItsKeeper) {
  start();
  MountedPackage mount(kPkgfs, package(), {"--keeper=external"}, environment_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  for (int i = 0; i < 5 && !HasFailure(); ++i) {
    replace_both(mount.path());
    if (i % 2 == 0) {
      replace_daemon(mount.path());
    }
  }
  reader.expect_right();
  EXPECT_TRUE(mount.unmount().ok());
  EXPECT_TRUE(all_ended());
  EXPECT_TRUE(eventually([&] { return files() == files_at_first_; })) << "it still holds what has ended";
}

TEST_F(Keeperd, OfTwoThatAreKilledShortlyAfterEachOtherOneGoesOn) {
  start();
  const MountedPackage mount(kPkgfs, package(), {"--keeper=external"}, environment_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  for (const bool daemon_first : {true, false}) {
    for (const int pause_ms : {0, 1, 2, 4, 8, 16, 32}) {
      SCOPED_TRACE(std::string(daemon_first ? "the daemon" : "the keeper") + " first, pause " +
                   std::to_string(pause_ms));
      const Serving now = held(mount.path());
      ASSERT_GT(now.keeper, 1);
      ::kill(daemon_first ? now.daemon : now.keeper, SIGKILL);
      sleep_ms(pause_ms);
      ::kill(daemon_first ? now.keeper : now.daemon, SIGKILL);
      // A successor that the keeper had just started ends with it.
      EXPECT_TRUE(eventually([&] { return serving(mount.path()).generation > now.generation; }, seconds(10)))
          << serving(mount.path()).all;
      held(mount.path());
      ASSERT_FALSE(HasFailure());
      EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 2; })) << "the reader and one daemon";
    }
  }
  reader.expect_right();
}

TEST_F(Keeperd, AMountRegistersAgainWhenItIsBack) {
  start();
  const MountedPackage mount(kPkgfs, package(), {"--keeper=external"}, environment_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  held(mount.path());
  keeperd_->signal(SIGKILL);
  (void)keeperd_->wait();
  EXPECT_TRUE(eventually([&] { return !serving(mount.path()).all.value("keeperd", false); }));
  EXPECT_TRUE(is_running(serving(mount.path()).daemon));
  fs::remove(socket());
  start();
  replace_both(mount.path());
  EXPECT_EQ(run({"diff", "-r", source(), mount.path()}, {.timeout = seconds(20)}).out, "");
}

TEST_F(Keeperd, AMountIsMadeWithoutItToo) {
  const MountedPackage mount(kPkgfs, package(), {"--keeper=external"}, environment_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_THAT(mount.result().err, HasSubstr("pkgfs-keeperd doesn't hold it"));
  EXPECT_FALSE(kept(mount.path()).all.contains("keeperd"));
  start();
  replace_both(mount.path());
}

TEST_F(Keeperd, HoldsSeveralMountsThatEndTogether) {
  start();
  std::vector<std::unique_ptr<MountedPackage>> mounts;
  for (int i = 0; i < 4; ++i) {
    mounts.push_back(std::make_unique<MountedPackage>(kPkgfs, package(), Arguments{"--keeper=external"}, environment_));
    ASSERT_TRUE(mounts.back()->ok()) << mounts.back()->result().describe();
    held(mounts.back()->path());
  }
  for (const auto& mount : mounts) {
    kill_both(mount->path());
  }
  for (const auto& mount : mounts) {
    EXPECT_TRUE(eventually([&] { return serving(mount->path()).generation == 2; }, seconds(10)));
    EXPECT_EQ(read_text(*mount / "d7/f777"), read_text(source() + "/d7/f777"));
  }
}

/// Begins a script that is a client.
constexpr const char* kClient = R"(
import array, os, socket, struct, sys, time
path = sys.argv[1]
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(3)
    s.connect(path)
    return s
def send(s, data, fds=()):
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
def answer(s):
    try:
        return s.recv(10)
    except (ConnectionError, socket.timeout):
        return b""
read, write = os.pipe()
null = os.open("/dev/null", os.O_RDWR)
fuse = os.open("/dev/fuse", os.O_RDWR)
own = os.pidfd_open(os.getpid())
stat = os.open("/proc/self/stat", os.O_RDONLY)
memory = os.memfd_create("x")
os.write(memory, b"53\0/\0" + b"1\0" * 7)
head = lambda count, version=1, kind=0: struct.pack("III", version, kind, count)
)";

constexpr const char* kLiar = R"(
lies = [
    (b"", ()), (b"x", ()), (b"x" * 5000, ()), (head(10, version=7), (null,)), (head(0), (null,)), (head(9), (null,) * 9),
    (head(2**32 - 1), (null,)), (head(10), (null,) * 10), (head(10), (read,) * 10), (head(10), (null,) * 11),
    (head(10, kind=2), ()), (head(10), ()), (head(10), (read, write, null, null, null, null, own, read, memory, own)),
    (head(10), (fuse, null, null, null, null, null, read, stat, memory, own)),
    (head(10), (fuse, null, null, null, null, null, own, null, memory, own)),
    (head(10), (fuse, null, null, null, null, null, own, stat, null, own)),
    (head(10, kind=2), (fuse, null, null, null, null, null, own, stat, memory, own)),  # beside no other
    (head(10, kind=3), (fuse, null, null, null, null, null, own, stat, memory, own)),
]
for data, fds in lies:
    try:
        s = connect()
        send(s, data, fds)
        got = answer(s)
    except ConnectionError:
        got = b""
    assert got in (b"", b"w", b"m"), (data[:20], fds, got)
half = [connect() for _ in range(30)]
for s in half:
    try:
        send(s, head(100), (null,) * 50)
    except ConnectionError:
        pass
many = []
for _ in range(100):
    try:
        many.append(connect())
    except OSError:
        break
# A registration of a mount that isn't one, whose keeper ends at once.
child = os.fork()
if child == 0:
    os._exit(0)
keeper = os.pidfd_open(child)
stat = os.open(f"/proc/{child}/task/{child}/stat", os.O_RDONLY)
for s in half[:20]:
    s.close()
for s in many:
    s.close()
for _ in range(100):  # as long as it has too many clients, it refuses others
    try:
        s = connect()
        send(s, head(10), (fuse, write, read, read, read, read, keeper, stat, memory, keeper))
        got = answer(s)
        if got == b"h":
            break
    except ConnectionError:
        pass
    time.sleep(0.05)
assert got == b"h", got
os.waitpid(child, 0)
print("done")
)";

TEST_F(Keeperd, LyingClientsHarmNoMount) {
  start();
  const MountedPackage mount(kPkgfs, package(), {"--keeper=external"}, environment_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  held(mount.path());
  for (int i = 0; i < 2; ++i) {
    const ProcessResult liar =
        run({"/usr/bin/python3", "-I", "-S", "-c", std::string(kClient) + kLiar, socket()}, {.timeout = seconds(60)});
    EXPECT_TRUE(liar.ok()) << liar.describe();
    replace_both(mount.path());
  }
  EXPECT_TRUE(eventually([&] { return files() < files_at_first_ + 20; }, seconds(10)))
      << "descriptors of clients that have gone";
}

/// It is refused without that one, or dropped with it: it must not keep a device open that nothing acts for.
TEST_F(Keeperd, APendingRegistrationLiesBesideThatOfTheDaemonBefore) {
  start();
  const ProcessResult client = run({"/usr/bin/python3", "-I", "-S", "-c", std::string(kClient) + R"(
PLAIN, ENDS, PENDING = range(3)
def register(kind, name, s=None):
    memory = os.memfd_create("x")
    os.write(memory, name + b"\0/\0" + b"1\0" * 7)
    s = s or connect()
    send(s, head(10, kind=kind), (fuse, null, null, null, null, null, own, stat, memory, own))
    return s, answer(s)
_, got = register(PENDING, b"1-other")
assert got == b"w", got
for end in (lambda s: send(s, head(0, kind=ENDS)), lambda s: register(PLAIN, b"1-mount"),
            lambda s: register(PLAIN, b"1-mount", s)):
    daemon, got = register(PLAIN, b"1-mount")
    assert got == b"h", got
    first, got = register(PENDING, b"1-mount")
    assert got == b"h", got
    _, got = register(PENDING, b"1-other")
    assert got == b"w", got
    second, got = register(PENDING, b"1-mount")
    assert got == b"h" and first.recv(1) == b"", "there are two"
    end(daemon)
    assert second.recv(1) == b"", "it is held without the other"
daemon, got = register(PLAIN, b"1-mount")
assert got == b"h", got
fresh, got = register(PENDING, b"1-mount")
assert got == b"h", got
for _ in range(2):
    _, got = register(PLAIN, b"1-mount", fresh)
    assert got == b"h", "a pending one doesn't become another"
assert daemon.recv(1) == b"", "the one before is still held"
)",
                                    socket()});
  EXPECT_TRUE(client.ok()) << client.describe();
  EXPECT_TRUE(eventually([&] { return files() < files_at_first_ + 10; })) << "it still holds what was dropped";
}

TEST_F(Keeperd, AnotherUserIsRefused) {
  start();
  fs::permissions(dir_.path(), fs::perms(0755));
  constexpr const char* kConnect = R"(
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect(sys.argv[1])
    print(s.recv(10))
except PermissionError:
    print("denied")
)";
  const Arguments words{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-S",
                        "-c",      kConnect,        socket()};
  EXPECT_EQ(run(words).out, "denied\n");
  fs::permissions(socket(), fs::perms(0777));
  EXPECT_EQ(run(words).out, "b'w'\n");
}

}  // namespace
}  // namespace pkgfs::test
