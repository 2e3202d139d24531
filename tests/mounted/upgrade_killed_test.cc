// SPDX-License-Identifier: MIT
// Risk: an upgrade that fails or is killed at a bad moment leaves a mount without a daemon, with two of them, or with
// requests that no daemon answers.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tests/mounted/upgrade_steps.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

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

constexpr const char* kServesUntilAsked = R"(
os.write(1, b"prepared ")
wait_for("go")
serve()
os.write(1, b"serves")
wait_for("end")
kill(new)
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
                     std::to_string(before.keeper), files.path(), kServesUntilAsked},
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

}  // namespace
}  // namespace pkgfs::test
