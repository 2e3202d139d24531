// SPDX-License-Identifier: MIT
// Risk: an upgrade of pkgfs makes readers fail, loses a mount, or lets one user change the mount of another.
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <iterator>
#include <random>
#include <sstream>
#include <vector>

#include "tests/mounted/keeper.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Upgrade : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    fs::permissions(dir_.path(), fs::perms(0755));
    for (const char* const name : {"one", "two"}) {
      fs::create_directories(dir_.path() / name);
      for (const fs::path& program : {fs::path(kPkgfs), fs::path(kPkgfs).parent_path() / "pkgfs-keeper"}) {
        fs::copy_file(program, dir_.path() / name / program.filename());
      }
    }
  }

  [[nodiscard]] std::string program(const std::string& copy) const { return dir_.path() / copy / "pkgfs"; }
  /// How daemons get the requests of those before them.
  static std::vector<ProcessOptions> ways() {
    ProcessOptions without_resend;
    without_resend.environment = {{"PKGFS_TEST_NO_RESEND", "1"}};
    return {ProcessOptions(), without_resend};
  }
  [[nodiscard]] static fs::path program_of(pid_t process) {
    return fs::read_symlink("/proc/" + std::to_string(process) + "/exe");
  }

  TempDir dir_;
};

TEST_F(Upgrade, ReadersDoNotNoticeIt) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const MountedPackage mount(kPkgfs, package(), {}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    const std::string listed = listing(mount.path() / "d3");
    ComparingReader reader(mount.path(), source());
    ComparingReader second(mount.path(), source());
    for (int i = 0; i < 10; ++i) {
      const std::string copy = program(i % 2 == 0 ? "one" : "two");
      const ProcessResult upgraded = run({copy, "upgrade-mounts", mount.path()});
      ASSERT_TRUE(upgraded.ok()) << upgraded.describe();
      EXPECT_THAT(upgraded.out, HasSubstr("runs this program now"));
      const Serving after = kept(mount.path());
      EXPECT_EQ(program_of(after.daemon), copy);
      EXPECT_EQ(after.generation, before.generation + i + 1);
      EXPECT_EQ(after.last_end, "replaced by another version");
    }
    reader.expect_right();
    second.expect_right();
    EXPECT_EQ(listing(mount.path() / "d3"), listed);
    EXPECT_EQ(processes_with(mount.path()).size(), 1U) << "the daemon";
  }
}

/// The daemon has taken requests, and waits for the disk, when it is replaced.
TEST_F(Upgrade, RequestsInFlightAreAnswered) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const FaultyDisk disk(package());
    ASSERT_TRUE(disk.ok());
    const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off"}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    kept(mount.path());
    disk.command("drop");
    disk.command("hold");
    Process one({"cat", mount / "d1/f100"});
    Process two({"cat", mount / "d9/f900"});
    ASSERT_TRUE(eventually([&] { return disk.reads() > 0; }));
    Process upgrade({program("one"), "upgrade-mounts", mount.path()});
    sleep_ms(300);
    disk.command("release");
    const ProcessResult& upgraded = upgrade.wait();
    EXPECT_TRUE(upgraded.ok() || upgraded.exit_code == 10) << upgraded.describe();
    EXPECT_EQ(one.wait().out, read_text(source() + "/d1/f100")) << one.wait().describe();
    EXPECT_EQ(two.wait().out, read_text(source() + "/d9/f900")) << two.wait().describe();
    kept(mount.path());
  }
}

TEST_F(Upgrade, ADaemonOfThisProgramStays) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  const ProcessResult upgraded = run({kPkgfs, "upgrade-mounts", mount.path()});
  EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
  EXPECT_THAT(upgraded.out, HasSubstr("runs this program already"));
  EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
}

TEST_F(Upgrade, AMountWithoutAKeeperKeepsItsDaemon) {
  const MountedPackage mount(kPkgfs, package(), {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ProcessResult upgraded = run({program("one"), "upgrade-mounts", mount.path()});
  EXPECT_EQ(upgraded.exit_code, 10) << upgraded.describe();
  EXPECT_THAT(upgraded.err, HasSubstr("keeps its daemon"));
  EXPECT_THAT(upgraded.err, HasSubstr("It has no keeper"));
  EXPECT_TRUE(run({"ls", mount.path()}).ok());
}

TEST_F(Upgrade, AnotherUserIsRefused) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  const ProcessResult refused = run(
      {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program("one"), "upgrade-mounts", mount.path()});
  EXPECT_EQ(refused.exit_code, 10) << refused.describe();
  EXPECT_EQ(kept(mount.path()).daemon, before.daemon);
}

TEST_F(Upgrade, TheCommandMayBeKilledAtAnyMoment) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const MountedPackage mount(kPkgfs, package(), {}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    kept(mount.path());
    ComparingReader reader(mount.path(), source());
    std::mt19937 random(std::random_device{}());
    for (int i = 0; i < 20 && !HasFailure(); ++i) {
      Process command({program(i % 2 == 0 ? "one" : "two"), "upgrade-mounts", mount.path()});
      sleep_ms(static_cast<int>(random() % 80));
      command.signal(SIGKILL);
      (void)command.wait();
      EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 0; })) << "round " << i;
    }
    reader.expect_right();
    EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; }))
        << "the daemon, and none that was stopped";
  }
}

/// The processes below the keeper: the new daemon.
std::vector<pid_t> children_of(pid_t process) {
  const std::string id = std::to_string(process);
  std::istringstream pids(read_text("/proc/" + id + "/task/" + id + "/children"));
  return {std::istream_iterator<pid_t>(pids), {}};
}

bool is_stopped(pid_t process) {
  const std::string stat = read_text("/proc/" + std::to_string(process) + "/stat");
  const std::size_t name = stat.rfind(')');
  return name != std::string::npos && stat.compare(name, 3, ") T") == 0;
}

TEST_F(Upgrade, TheCommandAndTheNewDaemonMayBeKilledWhileTheOldOneIsStopped) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests");
    const MountedPackage mount(kPkgfs, package(), {}, way);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    ComparingReader reader(mount.path(), source());
    int caught = 0;
    for (int round = 0; round < 40 && caught < 3; ++round) {
      const Serving before = kept(mount.path());
      ASSERT_GT(before.keeper, 1);
      Process command({program(round % 2 == 0 ? "one" : "two"), "upgrade-mounts", mount.path()});
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
      while (!is_stopped(before.daemon) && is_running(before.daemon) && std::chrono::steady_clock::now() < deadline) {
      }
      const std::vector<pid_t> fresh = children_of(before.keeper);
      command.signal(SIGKILL);
      for (const pid_t pid : fresh) {
        ::kill(pid, SIGKILL);
      }
      (void)command.wait();
      EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 0; })) << "round " << round;
      ASSERT_FALSE(HasFailure());
      caught += serving(mount.path()).daemon == before.daemon ? 1 : 0;
    }
    EXPECT_GT(caught, 0) << "no daemon was stopped when the others were killed";
    reader.expect_right();
  }
}

/// Asks a keeper for an upgrade, kills the new daemon, stops the old one, and ends.
constexpr const char* kStopsTooLate = R"(
import array, os, signal, socket, sys, time
connection, program, daemon, keeper = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
asks = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asks.connect("\0pkgfs-keeper-" + connection)
mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
fds = [os.open(program, os.O_RDONLY), theirs.fileno()]
asks.sendmsg([b"u\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
theirs.close()
mine.settimeout(10)
assert mine.recv(2) == b"p\0"
children = f"/proc/{keeper}/task/{keeper}/children"
for pid in open(children).read().split():
    os.kill(int(pid), signal.SIGKILL)
while open(children).read().split():
    time.sleep(0.01)
os.kill(daemon, signal.SIGSTOP)
while ") T" not in open(f"/proc/{daemon}/stat").read():
    time.sleep(0.01)
)";

TEST_F(Upgrade, ADaemonGoesOnThatIsStoppedAfterTheNewOneHasEnded) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.keeper, 1);
  const std::string words = read_text("/proc/" + std::to_string(before.keeper) + "/cmdline");
  std::vector<std::string> all;  // the fourth is the number of the connection
  for (std::size_t at = 0; at < words.size(); at = words.find('\0', at) + 1) {
    if (words[at] != '\0') {  // behind a number that the keeper has written later
      all.emplace_back(words.c_str() + at);
    }
  }
  ASSERT_GT(all.size(), 3U);
  const ProcessResult client = run({"/usr/bin/python3", "-I", "-S", "-c", kStopsTooLate, all[3], program("one"),
                                    std::to_string(before.daemon), std::to_string(before.keeper)},
                                   {.timeout = std::chrono::seconds(30)});
  EXPECT_TRUE(client.ok()) << client.describe();
  EXPECT_TRUE(eventually([&] { return serving(mount.path()).daemon == before.daemon; })) << "it stays stopped";
  ::kill(before.daemon, SIGCONT);
}

TEST_F(Upgrade, WhatIsNotMountedIsNotFound) {
  const ProcessResult missing = run({kPkgfs, "upgrade-mounts", dir_.path()});
  EXPECT_EQ(missing.exit_code, 3) << missing.describe();
}

}  // namespace
}  // namespace pkgfs::test
