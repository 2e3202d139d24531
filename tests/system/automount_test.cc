// SPDX-License-Identifier: MIT
// Risk: a line of fstab or of an autofs map fails or waits for itself at boot, when no administrator sees the message.
#include <gmock/gmock.h>

#include "tests/support/patterns.h"
#include "tests/system/installed.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kGenerator = "/usr/lib/systemd/system-generators/systemd-fstab-generator";

/// `Key=value` of a unit file.
std::string value_of(const std::string& unit, const std::string& key) {
  const Groups line = find_groups(unit, "(?:^|\n)" + key + "=(.*)");
  return line.empty() ? "(none)" : line[1];
}

class Fstab : public InstalledTest {
 protected:
  void SetUp() override {
    InstalledTest::SetUp();
    if (!IsSkipped() && !fs::exists(kGenerator)) {
      GTEST_SKIP() << "no " << kGenerator;
    }
  }
};

TEST_F(Fstab, GeneratorMakesUnitsThatMount) {
  sh("line='demo/greetings@^1.2 '$M' pkgfs ro,allow_other,noauto,_netdev,nofail,x-systemd.automount,"
     "x-systemd.idle-timeout=10min,registry='$R' 0 0'\n"
     "mkdir $T/n $T/e $T/l\n"
     "echo \"$line\" >$T/fstab\n"
     "SYSTEMD_FSTAB=$T/fstab " +
     kGenerator + " $T/n $T/e $T/l\n");
  std::string unit = shell("systemd-escape -p " + mountpoint().string()).out;
  unit.pop_back();
  const std::string mount = read_text(directory() / "n" / (unit + ".mount"));
  EXPECT_EQ(value_of(mount, "Type"), "pkgfs");
  EXPECT_EQ(value_of(mount, "What"), "demo/greetings@^1.2");
  EXPECT_EQ(value_of(mount, "Where"), mountpoint());
  const std::string automount = read_text(directory() / "n" / (unit + ".automount"));
  EXPECT_EQ(value_of(automount, "Where"), mountpoint());
  EXPECT_EQ(value_of(automount, "TimeoutIdleSec"), "10min");
  EXPECT_TRUE(fs::is_symlink(directory() / "n/remote-fs.target.wants" / (unit + ".automount")) ||
              fs::is_symlink(directory() / "n/remote-fs.target.requires" / (unit + ".automount")))
      << shell("find " + directory().string()).out;
  // As the manager starts it.
  EXPECT_EQ(sh("mount '" + value_of(mount, "What") + "' $M -t " + value_of(mount, "Type") + " -o '" +
               value_of(mount, "Options") + "'\ncat $M/usr/share/greetings/german.txt\numount $M"),
            "Guten Tag!\n");
}

class Automount : public InstalledTest {
 protected:
  void SetUp() override {
    InstalledTest::SetUp();
    if (!IsSkipped() && !shell("grep -qw autofs /proc/filesystems").ok()) {
      GTEST_SKIP() << "the kernel has no autofs";
    }
  }
};

TEST_F(Automount, OfSystemdDoesNotWaitForItself) {
  const std::string out = sh("exec 3< <(exec python3 " + (source_directory() / "tests/system/automount.py").string() +
                             " demo/greetings@^1.2 $M ro,registry=$R)\n"
                             "manager=$!; trap 'kill $manager' EXIT\n"
                             "read -t 5 -u 3 ready; echo $ready\n"
                             "timeout 10 cat $M/usr/share/greetings/default.txt\n"
                             "findmnt -n -o FSTYPE $M\n");
  EXPECT_THAT(out, HasSubstr("ready\nHello!\n"));
  EXPECT_THAT(out, HasSubstr("fuse.pkgfs\n"));
}

/// Its shortest time-out is a second, and it looks four times in one: this takes a few.
TEST_F(Automount, OfAutofsMountsOnAccessAndExpires) {
  if (!have_program("automount")) {
    GTEST_SKIP() << "no automount (package autofs)";
  }
  point("auto/greet");
  fs::remove(directory() / "auto/greet");
  const std::string out =
      sh("echo \"greet -fstype=pkgfs,registry=$R :demo/greetings@^1.2\" >$T/auto.pkgfs\n"
         "echo \"nothing -fstype=pkgfs,registry=$R,offline :demo/nothing\" >>$T/auto.pkgfs\n"
         "echo \"$T/auto $T/auto.pkgfs --timeout=1\" >$T/auto.master\n"
         "automount -f -C -p $T/pid $T/auto.master >$T/log 2>&1 & daemon=$!\n"
         "trap 'kill $daemon; wait $daemon' EXIT\n"
         "for i in {1..50}; do mountpoint -q $T/auto && break; sleep 0.1; done\n"
         "timeout 5 cat $T/auto/greet/usr/share/greetings/default.txt\n"
         "findmnt -n -o SOURCE,FSTYPE,VFS-OPTIONS --mountpoint $T/auto/greet\n"
         "! timeout 5 ls $T/auto/nothing 2>/dev/null\n"
         "for i in {1..80}; do grep -q $T/auto/greet /proc/self/mounts || break; sleep 0.1; done\n"
         "! grep $T/auto/greet /proc/self/mounts\n");
  EXPECT_EQ(out, "Hello!\ndemo/greetings@1.2.0 fuse.pkgfs ro,nosuid,nodev,noatime\n");
}

}  // namespace
}  // namespace pkgfs::test
