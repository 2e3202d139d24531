// SPDX-License-Identifier: MIT
// Risk: pkgfs doesn't understand the arguments of mount(8), fstab or mount.fuse(8), or gives a wrong exit code.
#include <gmock/gmock.h>

#include "daemon/cli/mount_words.h"
#include "tests/system/installed.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// One way to mount the sample at $M, and what findmnt must say of it.
struct Spelling {
  const char* name;
  const char* lines;
};

void PrintTo(const Spelling& spelling, std::ostream* out) { *out << spelling.lines; }

class Spellings : public InstalledTest, public ::testing::WithParamInterface<Spelling> {};

TEST_P(Spellings, MountTheSameReadOnlyTree) {
  const std::string out = sh(std::string(GetParam().lines) +
                             "\nfindmnt -n -o SOURCE,FSTYPE --mountpoint $M"
                             "\nfindmnt -n -o VFS-OPTIONS --mountpoint $M"
                             "\ncat $M/usr/share/greetings/default.txt"
                             "\ntest -x $M/bin/greet"
                             "\numount $M\nls $M");
  EXPECT_EQ(out, "demo/greetings@1.2.0 fuse.pkgfs\nro,nosuid,nodev,noatime\nHello!\n");
  EXPECT_TRUE(eventually([&] { return processes_with(mountpoint()).empty(); })) << "the daemon goes with its mount";
}

constexpr Spelling kSpellings[] = {
    {"ByType", "mount -t pkgfs 'demo/greetings@^1.2' $M -o registry=$R"},
    {"ByFuseType", "mount -t fuse.pkgfs 'demo/greetings@^1.2' $M -o registry=$R"},
    {"ByFuseTypeWithoutOurHelper",
     "rm $T/sbin/mount.fuse.pkgfs\nmount -t fuse.pkgfs 'demo/greetings@^1.2' $M -o registry=$R"},
    {"ByFuseSource", "mount -t fuse 'pkgfs#demo/greetings@^1.2' $M -o ro,registry=$R"},
    {"ByProgram", "pkgfs demo/greetings $M -o ro,registry=$R,dev,suid"},
    {"ByHelper", "mount.pkgfs demo/greetings $M -o rw,registry=$R"},
    {"WithOptionsFirst", "mount.pkgfs -n -o ro -oregistry=$R -t fuse.pkgfs -- demo/greetings $M"},
    {"AsIfWritable", "mount -t pkgfs -o rw,suid,dev,registry=$R demo/greetings $M"},
    {"Verbosely", "mount -v -t pkgfs -o registry=$R demo/greetings $M >$T/said 2>&1\ngrep -q 'is mounted at' $T/said"},
    {"Sloppily", "mount -s -t pkgfs -o nonsense=1,registry=$R,more demo/greetings $M"},
    {"WithAPath", "mount -t pkgfs $R/demo/greetings/1.2.0.webc $M"},
    {"FromFstab",
     "echo \"demo/greetings@^1.2 $M pkgfs registry=$R,_netdev,nofail,x-systemd.automount,x-a=b 0 0\" >$T/fstab\n"
     "mount -T $T/fstab $M"},
    {"FromFstabAll",
     "echo \"demo/greetings@^1.2 $M fuse.pkgfs registry=$R,auto,nofail,users,exec,comment=hi 0 0\" >$T/fstab\n"
     "mount -a -T $T/fstab"},
    {"FromFstabAsFuse", "echo \"pkgfs#demo/greetings $M fuse ro,registry=$R 0 0\" >$T/fstab\nmount -a -T $T/fstab"},
};

INSTANTIATE_TEST_SUITE_P(Mount, Spellings, ::testing::ValuesIn(kSpellings),
                         [](const auto& spelling) { return spelling.param.name; });

/// A call that must fail: nothing stays mounted, and one message says why.
struct Refusal {
  const char* name;
  const char* line;
  int exit_code;
  const char* message;
};

void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.line; }

class Refusals : public InstalledTest, public ::testing::WithParamInterface<Refusal> {};

TEST_P(Refusals, HaveTheExitCodesOfMount) {
  const ProcessResult result =
      run_lines(std::string(GetParam().line) + " || code=$?\n! mountpoint -q $M\nexit ${code:-0}");
  EXPECT_EQ(result.exit_code, GetParam().exit_code) << result.describe();
  EXPECT_THAT(result.err, HasSubstr(GetParam().message));
  EXPECT_TRUE(processes_with(mountpoint()).empty());
}

constexpr Refusal kRefusals[] = {
    {"NoOperands", "mount.pkgfs", 1, "usage: mount.pkgfs PACKAGE MOUNTPOINT"},
    {"OneOperand", "mount.pkgfs demo/greetings -o registry=$R", 1, "usage: mount.pkgfs PACKAGE MOUNTPOINT"},
    {"UnknownLetter", "mount.pkgfs demo/greetings $M -x", 1, "unknown option '-x'"},
    {"UnknownFlag", "mount.pkgfs demo/greetings $M --registry=$R", 1, "unknown option '--registry=/"},
    {"NoValue", "mount.pkgfs demo/greetings $M -o", 1, "option '-o' needs a value"},
    {"UnknownWord", "mount -t pkgfs demo/greetings $M -o registyr=$R", 1,
     "unknown mount option 'registyr'; did you mean 'registry'?"},
    {"UnknownWordThroughFuse", "mount -t fuse 'pkgfs#demo/greetings' $M -o nonsense", 1,
     "unknown mount option 'nonsense'"},
    {"BadValue", "mount -t pkgfs demo/greetings $M -o uid=me", 1, "option 'uid': \"me\" isn't a numeric id"},
    {"Remount", "mount.pkgfs demo/greetings $M -o remount", 1, "'remount' is refused: a mount can't be changed"},
    {"RemountOfNothing", "mount.pkgfs demo/greetings $M -o remount,ro", 32, "no package is mounted there"},
    {"ForeignName", "mount.pkgfs demo/greetings $M -o fsname=x", 1, "'fsname' is refused"},
    {"FakeWithAnUnknownWord", "mount -f -t pkgfs demo/greetings $M -o nonsense", 1, "unknown mount option"},
    {"NoSuchPackage", "mount -t pkgfs demo/nothing $M -o registry=$R,offline", 32, "demo/nothing"},
    {"NoSuchVersion", "mount -t pkgfs demo/greetings@^9 $M -o registry=$R,offline", 32, "demo/greetings"},
    {"NoSuchMountpoint", "mount.pkgfs demo/greetings $M/x/y -o registry=$R", 32, "The mount point"},
    {"NotADirectory", "mount.pkgfs demo/greetings $R/demo/greetings/1.2.0.webc -o registry=$R", 1,
     "is not a directory"},
    {"NoNamespace", "mount.pkgfs demo/greetings $M -N $M/none -o registry=$R", 32, "mount namespace"},
    {"NoDevice", "mount --bind /dev/null /dev/fuse; mount -t pkgfs demo/greetings $M -o registry=$R", 32, "mount"},
};

INSTANTIATE_TEST_SUITE_P(Mount, Refusals, ::testing::ValuesIn(kRefusals),
                         [](const auto& refusal) { return refusal.param.name; });

class MountHelper : public InstalledTest {};

TEST_F(MountHelper, ServesEveryPackage) {
  EXPECT_EQ(sh("echo \"serve: $M pkgfs ro,registry=$R,offline,idle=1m,_netdev,nofail 0 0\" >$T/fstab\n"
               "mount -T $T/fstab $M\nfindmnt -n -o SOURCE,FSTYPE --mountpoint $M\n"
               "cat $M/demo/greetings/usr/share/greetings/default.txt\nreadlink $M/demo/greetings\n"
               "mount -T $T/fstab $M 2>&1 | grep -o 'already mounted'\n"
               "findmnt --mountpoint $M -n | wc -l\numount $M\nls $M"),
            "serve: fuse.pkgfs\nHello!\ngreetings@1.2.0\nalready mounted\n1\n");
  EXPECT_EQ(run_lines("mount -t pkgfs -o registry=$R,keep_old=2 serve: $M").exit_code, 1) << "not for this command";
}

TEST_F(MountHelper, FakeMountsNothing) {
  EXPECT_EQ(sh("mount -f -t pkgfs no/such/package $M -o ro\n! mountpoint -q $M\nls -A $M"), "");
}

TEST_F(MountHelper, AnotherPackageAtTheSamePointIsRefused) {
  const ProcessResult result = run_lines(
      "mount -t pkgfs demo/greetings $M -o registry=$R\n"
      "code=0; mount -t pkgfs $R/../hello $M -o registry=$R || code=$?\numount $M\n! mountpoint -q $M\nexit $code");
  EXPECT_EQ(result.exit_code, 32) << result.describe();
  EXPECT_THAT(result.err, HasSubstr("\"demo/greetings@1.2.0\" is already mounted at"));
}

/// Every word of the table, as mount(8) may say it.
TEST_F(MountHelper, WordsWithoutEffectHaveNone) {
  std::string words;
  for (const MountWord& word : mount_words()) {
    if (word.ignored() || word.unasked) {
      std::string text(word.word);
      if (text.ends_with('*') || text.ends_with('=')) {
        text = text.substr(0, text.find('*')) + "root";
      }
      words += text + ",";
    }
  }
  EXPECT_EQ(sh("mount.pkgfs demo/greetings $M -o " + words +
               "registry=$R\nfindmnt -n -o VFS-OPTIONS --mountpoint $M\numount $M"),
            "ro,nosuid,nodev,noatime\n");
}

TEST_F(MountHelper, NoexecIsHonoured) {
  EXPECT_EQ(sh("mount -t pkgfs demo/greetings $M -o noexec,registry=$R\nfindmnt -n -o VFS-OPTIONS --mountpoint $M\n"
               "umount $M\nmount -t pkgfs demo/greetings $M -o user,exec,registry=$R\n"
               "findmnt -n -o VFS-OPTIONS --mountpoint $M\numount $M"),
            "ro,nosuid,nodev,noexec,noatime\nro,nosuid,nodev,noatime\n");
}

TEST_F(MountHelper, RemountReadOnlyChangesNothing) {
  EXPECT_EQ(sh("mount -t pkgfs demo/greetings $M -o registry=$R\nmount -o remount,ro $M\n"
               "findmnt -n -o VFS-OPTIONS --mountpoint $M\numount $M"),
            "ro,nosuid,nodev,noatime\n");
}

TEST_F(MountHelper, BlanksAndCommasArriveWhole) {
  const fs::path where = point("a b");
  fs::copy(source_directory() / "packaging/sample/registry", directory() / "reg, is try", fs::copy_options::recursive);
  const std::string out =
      sh("echo \"demo/greetings $T/a\\\\040b pkgfs ro,registry=\\\"$T/reg,\\\\040is\\\\040try\\\" 0 0\" >$T/fstab\n"
         "mount -a -T $T/fstab\n"
         "cat \"$T/a b/usr/share/greetings/default.txt\"\n"
         "findmnt -n -o TARGET --mountpoint \"$T/a b\"\n"
         "umount \"$T/a b\"\n"
         "mount.pkgfs demo/greetings \"$T/a b\" -o \"ro,registry=$T/reg\\\\, is try\"\n"
         "umount \"$T/a b\"\n");
  EXPECT_EQ(out, "Hello!\n" + where.string() + "\n");
}

/// The kernel shows other sources than fstab has, so mount(8) calls again. No registry is needed for that.
TEST_F(MountHelper, MountAllTwiceChangesNothing) {
  point("file");
  const ProcessResult result = run_lines(
      "printf '%s\\n' \"demo/greetings@^1.2 $M pkgfs registry=$T/r 0 0\" "
      "\"$R/demo/greetings/1.2.0.webc $T/file pkgfs ro 0 0\" >$T/fstab\n"
      "cp -r $R $T/r\nmount -a -T $T/fstab\nrm -r $T/r\nmount -a -T $T/fstab\n"
      "grep -c $T/.*fuse.pkgfs /proc/self/mounts\numount $M $T/file");
  EXPECT_EQ(result.exit_code, 0) << result.describe();
  EXPECT_EQ(result.out, "2\n");
  EXPECT_THAT(result.err, HasSubstr("already mounted"));
}

TEST_F(MountHelper, MountsInAnotherNamespace) {
  EXPECT_EQ(sh("unshare -m --propagation private sleep 20 & other=$!\n"
               "trap 'kill $other' EXIT\n"
               "until [ \"$(readlink /proc/$other/ns/mnt)\" != \"$(readlink /proc/$$/ns/mnt)\" ]; do sleep 0.02; done\n"
               "mount -N $other -t pkgfs demo/greetings $M -o registry=$R\n"
               "! mountpoint -q $M\n"
               "nsenter -m -t $other cat $M/usr/share/greetings/default.txt\n"
               "nsenter -m -t $other umount $M"),
            "Hello!\n");
}

/// What fstab's `user` is for. /dev/fuse is made usable in the test's own namespace only.
TEST_F(MountHelper, AUserMayMountAndUnmountWhatFstabAllows) {
  EXPECT_EQ(sh("echo \"demo/greetings@^1.2 $M pkgfs registry=$R,user,noauto,cache_dir=$T/cache 0 0\" >$T/fstab\n"
               "mount --bind $T/fstab /etc/fstab\n"
               "mknod $T/fuse c 10 229; chmod 666 $T/fuse; mount --bind $T/fuse /dev/fuse\n"
               "chown nobody $M\n"
               "as() { setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"; }\n"
               "as mount $M\n"
               "as cat $M/usr/share/greetings/default.txt\n"
               "findmnt -n -o SOURCE,VFS-OPTIONS --mountpoint $M\n"
               "as umount $M\n"
               "! mountpoint -q $M"),
            "Hello!\ndemo/greetings@1.2.0 ro,nosuid,nodev,noexec,noatime\n");
}

}  // namespace
}  // namespace pkgfs::test
