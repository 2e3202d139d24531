// SPDX-License-Identifier: MIT
// Risk: an upgrade that is killed at a bad moment leaves a mount without a daemon, or with two of them.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "tests/mounted/keeper.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

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

}  // namespace
}  // namespace pkgfs::test
