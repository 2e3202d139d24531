// SPDX-License-Identifier: MIT
// Risk: a message names a wrong cause, or gives advice that doesn't help.
#include <unistd.h>

#include <chrono>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

ProcessResult pkgfs(Arguments arguments) {
  arguments.insert(arguments.begin(), kPkgfs);
  return run(arguments, {.timeout = seconds(15)});
}

TEST(CommandLine, EveryCommandTellsTheVersion) {
  const std::string version = pkgfs({"-V"}).out;
  ASSERT_TRUE(version.starts_with("pkgfs "));
  for (const char* command : {"mount", "unmount", "mounts", "inspect", "ls"}) {
    for (const char* flag : {"-V", "--version"}) {
      const ProcessResult result = pkgfs({command, flag});
      EXPECT_TRUE(result.ok()) << command << ": " << result.describe();
      EXPECT_EQ(result.out, version) << command;
    }
  }
  EXPECT_EQ(pkgfs({"inspect", "--", "-V"}).out, "") << "an operand";
}

TEST(CommandLine, GuessesAreWhatCanStandThere) {
  const std::vector<std::pair<Arguments, std::string>> guesses{
      {{"-o", "foreground"}, "mount option 'foreground' is refused: "},
      {{"-o", "alow_other"}, "unknown mount option 'alow_other'; did you mean 'allow_other'?"},
      {{"-o", "nosudi"}, "unknown mount option 'nosudi'; did you mean 'nosuid'?"},
      {{"--foregruond"}, "unknown option '--foregruond'; did you mean '--foreground'?"},
      {{"--nosudi"}, "unknown option '--nosudi' (see"}};
  for (const auto& [options, text] : guesses) {
    Arguments arguments{"mount"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.insert(arguments.end(), {"a", "b"});
    const ProcessResult result = pkgfs(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.describe();
    EXPECT_NE(result.err.find(text), std::string::npos) << "expected " << text << " in " << result.describe();
  }
}

TEST(CommandLine, UnmountSaysWhatItIsAbout) {
  const ProcessResult result = pkgfs({"unmount", "/nonexist/x"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_TRUE(result.err.starts_with("pkgfs: error: The mount point \"/nonexist/x\" can't be used\n"))
      << result.describe();
}

TEST(CommandLine, ExitCodesSayWhatASignalMeans) {
  const ProcessResult result = pkgfs({"help", "exit-codes"});
  EXPECT_NE(result.out.find("A signal stopped pkgfs before it was done"), std::string::npos) << result.describe();
}

TEST(FileSizeLimit, IsAFailureAndNotTheEnd) {
  const TempDir dir;
  const ProcessResult result =
      shell("ulimit -f 8; exec " + kPkgfs + " extract " + single("big4m-v3") + " " + (dir.path() / "out").string());
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  EXPECT_NE(result.err.find("File too large"), std::string::npos) << result.describe();
  EXPECT_TRUE(fs::is_empty(dir.path())) << "all of it, or nothing";
}

class OtherUser : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped() && (::geteuid() != 0 || !have_program("setpriv"))) {
      GTEST_SKIP() << "needs root and setpriv";
    }
  }

  /// Unmounts as a user that isn't root and that didn't make the mount.
  static ProcessResult unmount(const MountedPackage& mount, const std::string& path) {
    fs::permissions(mount.path().parent_path(), fs::perms::others_exec, fs::perm_options::add);
    return run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "PATH=" + path, kPkgfs, "unmount",
                mount.path()},
               {.timeout = seconds(15)});
  }
};

TEST_F(OtherUser, MissingFusermountIsNamed) {
  MountedPackage mount(kPkgfs, single("basic-v3"));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ProcessResult result = unmount(mount, "/nonexistent");
  EXPECT_EQ(result.exit_code, 8) << result.describe();
  EXPECT_NE(result.err.find("fusermount3"), std::string::npos) << result.describe();
  EXPECT_NE(result.err.find("No such file or directory"), std::string::npos) << result.describe();
}

TEST_F(OtherUser, IsToldWhatFusermountSays) {
  if (!have_program("fusermount3")) {
    GTEST_SKIP() << "needs fusermount3";
  }
  MountedPackage mount(kPkgfs, single("basic-v3"));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ProcessResult result = unmount(mount, "/usr/bin:/bin");
  EXPECT_EQ(result.exit_code, 8) << "not busy: " << result.describe();
  EXPECT_NE(result.err.find("caused by: fusermount3: "), std::string::npos) << result.describe();
  EXPECT_TRUE(mount.ok());
}

}  // namespace
}  // namespace pkgfs::test
