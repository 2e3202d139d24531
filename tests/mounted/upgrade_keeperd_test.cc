// SPDX-License-Identifier: MIT
// Risk: a mount ends that pkgfs-keeperd holds, because its daemons are killed during an upgrade, or pkgfs-keeperd keeps
// a mount open that no daemon serves.
#include <gmock/gmock.h>

#include <filesystem>
#include <iterator>
#include <optional>
#include <string>

#include "tests/mounted/upgrade_steps.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class UpgradeWithKeeperd : public UpgradeStepByStep {
 protected:
  void SetUp() override {
    UpgradeStepByStep::SetUp();
    keeperd_.emplace(Arguments{fs::path(kPkgfs).parent_path() / "pkgfs-keeperd", socket()});
    ASSERT_TRUE(eventually([&] { return fs::exists(socket()); })) << keeperd_->err();
    files_at_first_ = files();
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return files() == files_at_first_; })) << "it still holds what has ended";
    EXPECT_FALSE(keeperd_->ends_within(std::chrono::milliseconds(0))) << keeperd_->err();
    keeperd_->signal(SIGKILL);
    (void)keeperd_->wait();
    UpgradeStepByStep::TearDown();
  }

  [[nodiscard]] std::string socket() const { return dir_.path() / "keeperd.sock"; }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(fs::directory_iterator("/proc/" + std::to_string(keeperd_->pid()) + "/fd"), {});
  }
  [[nodiscard]] Arguments options() const { return {"--keeper=external"}; }
  [[nodiscard]] ProcessOptions environment() const { return {.environment = {{"PKGFS_KEEPERD", socket()}}}; }

  std::optional<Process> keeperd_;
  std::ptrdiff_t files_at_first_ = 0;
};

TEST_F(UpgradeWithKeeperd, ANewDaemonEndsIfKeeperdHasStartedAnotherOne) {
  const MountedPackage mount(kPkgfs, package(), options(), environment());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = held(mount.path());
  ASSERT_GT(before.keeper, 1);
  ComparingReader reader(mount.path(), source());
  // What comes last on the socket is its end.
  const ProcessResult upgraded = upgrade(before, R"(
serve()
kill(keeper, daemon)
time.sleep(2)
check()
assert mine.recv(2) == b""
)");
  EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
  reader.expect_right();
  EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; })) << "two daemons go on";
  EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
}

/// It knows of the new daemon, but not yet that this one has replaced the other. If only the old daemon is left, it is
/// stopped.
TEST_F(UpgradeWithKeeperd, ANewDaemonAndItsKeeperMayBeKilledAfterTheNote) {
  for (const char* const also : {"", "keeper", "keeper, daemon"}) {
    SCOPED_TRACE(also);
    const MountedPackage mount(kPkgfs, package(), options(), environment());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = held(mount.path());
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    const ProcessResult killed = upgrade(before, R"(
serve()
trace(new)
check()
for call in calls(new):
    if is_kill(call):
        break
assert replaced_by() == new and state_of(keeper) != "X" and state_of(daemon) == "T"
[its_keeper] = children_of(new)
kill(its_keeper, new, )" + std::string(also) + ")");
    EXPECT_TRUE(killed.ok()) << killed.describe();
    EXPECT_TRUE(eventually([&] { return !is_running(before.daemon) && !is_running(before.keeper); }));
    EXPECT_EQ(held(mount.path()).generation, before.generation + 2);
    expect_one_daemon(mount.path(), reader);
    kill_both(mount.path());
    EXPECT_TRUE(eventually([&] { return serving(mount.path()).generation == before.generation + 4; }));
    held(mount.path());
  }
}

/// Then the pending registration ends with that of the old daemon.
TEST_F(UpgradeWithKeeperd, ANewDaemonAndItsKeeperMayBeKilledBeforeTheNote) {
  for (const std::string& also : Arguments{"", "keeper", "keeper, daemon"}) {
    SCOPED_TRACE(also);
    MountedPackage mount(kPkgfs, package(), options(), environment());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = held(mount.path());
    ASSERT_GT(before.keeper, 1);
    ComparingReader reader(mount.path(), source());
    const ProcessResult killed = upgrade(before, R"(
import fcntl
serve()
trace(new)
check()
for call in calls(new):
    if call[0] == (72 if os.uname().machine == "x86_64" else 25) and call[2] == fcntl.F_SETLK:
        break
assert replaced_by() == 0
[its_keeper] = children_of(new)
kill(its_keeper, new, )" + also + ")");
    EXPECT_TRUE(killed.ok()) << killed.describe();
    const bool all = also == "keeper, daemon";
    EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 0; }));
    EXPECT_EQ(kept(mount.path()).generation, before.generation + (all ? 1 : 0));
    EXPECT_EQ(kept(mount.path()).daemon == before.daemon, !all);
    held(mount.path());
    reader.expect_right();
    EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).size() == 1; })) << "two daemons go on";
    EXPECT_TRUE(mount.unmount().ok());
    EXPECT_TRUE(eventually([&] { return files() == files_at_first_; })) << "it still holds what has ended";
  }
}

TEST_F(UpgradeWithKeeperd, AnUpgradeDoesNotNeedIt) {
  const MountedPackage mount(kPkgfs, package(), options(), environment());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = held(mount.path());
  ASSERT_GT(before.keeper, 1);
  ComparingReader reader(mount.path(), source());
  keeperd_->signal(SIGSTOP);
  const ProcessResult upgraded = run({program(), "upgrade-mounts", mount.path()});
  EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
  EXPECT_EQ(kept(mount.path()).generation, before.generation + 1);
  keeperd_->signal(SIGCONT);
  held(mount.path());
  expect_one_daemon(mount.path(), reader);
}

}  // namespace
}  // namespace pkgfs::test
