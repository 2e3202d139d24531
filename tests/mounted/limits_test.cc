// SPDX-License-Identifier: MIT
// Risk: where file descriptors, memory or processes are scarce, or a filter denies system calls, pkgfs crashes, takes a
// good package for damaged, leaves something behind, or says something that helps nobody.
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/mounted/lifecycle.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr int kNotLoaded = 127;  // by the dynamic linker, which needs a file descriptor as well
constexpr int kFailed = 1;
constexpr int kRefused = 8;

class Limits : public Lifecycle {
 protected:
  /// Runs pkgfs below `ulimit`, for example "-n 8".
  ProcessResult limited(const std::string& ulimit, const std::string& arguments) const {
    return shell("ulimit " + ulimit + "; exec " + kPkgfs + " " + arguments,
                 {.timeout = std::chrono::seconds(20), .environment = {{"WASMER_CACHE_DIR", dir_.path() / "cache"}}});
  }
  static ProcessResult denied(const std::string& error, const std::string& calls, const Arguments& arguments) {
    Arguments words{"python3", source_directory() / "tests/mounted/deny_calls.py", error, calls, kPkgfs};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return run(words, {.timeout = std::chrono::seconds(20)});
  }
  /// Expects success, or one error that has `text` and blames neither pkgfs nor the package.
  static void expect_told(const ProcessResult& result, const std::string& text, const std::string& what) {
    if (result.exit_code == 0 || result.exit_code == kNotLoaded) {
      return;
    }
    EXPECT_EQ(result.exit_code, kFailed) << what << ": " << result.describe();
    EXPECT_TRUE(mentions(result, text)) << what << ": " << result.describe();
    EXPECT_EQ(result.err.find("error: "), result.err.rfind("error: ")) << what << ": " << result.describe();
    for (const char* wrong : {"internal", "damaged", "is /proc mounted", "Debian has it", "Bad file descriptor"}) {
      EXPECT_FALSE(mentions(result, wrong)) << what << ": " << result.describe();
    }
  }
  std::string mountpoint() const {
    fs::create_directories(dir_.path() / "mnt");
    return dir_.path() / "mnt";
  }
  /// Unmounts what was mounted. Expects that nothing is left of an attempt that failed.
  void expect_clean(const ProcessResult& result) const {
    const std::string where = mountpoint();
    if (result.ok()) {
      EXPECT_TRUE(fs::exists(where + "/data/README.md")) << result.describe();
      EXPECT_TRUE(pkgfs({"unmount", where}).ok());
    }
    EXPECT_FALSE(find_mount(where).has_value()) << result.describe();
    EXPECT_TRUE(ended(where));
  }

  TempDir dir_;
};

TEST_F(Limits, AMountNamesTheLimitOfFiles) {
  const std::string where = mountpoint();
  const MountGuard guard(where);
  bool failed = false;
  for (int most = 4; most <= 14; ++most) {
    const std::string what = "-n " + std::to_string(most);
    const ProcessResult result = limited(what, "mount " + package_ + " " + where);
    expect_told(result, "(the limit is " + std::to_string(most) + "; raise it with ulimit -n)", what);
    expect_clean(result);
    failed = failed || result.exit_code == kFailed;
  }
  EXPECT_TRUE(failed) << "no limit was reached: the test shows nothing";
}

TEST_F(Limits, CommandsNameTheLimitOfFilesAndWriteNothing) {
  const std::string out = dir_.path() / "out";
  const std::vector<std::string> commands{"ls " + package_,
                                          "cat " + package_ + " data/README.md",
                                          "tree " + package_,
                                          "inspect " + package_,
                                          "verify " + package_,
                                          "extract " + package_ + " " + out,
                                          "mounts",
                                          "resolve --registry=" + registry("chain-v3") + " acme/app"};
  for (const std::string& command : commands) {
    for (int most = 4; most <= 10; ++most) {
      const std::string what = command + " -n " + std::to_string(most);
      const ProcessResult result = limited("-n " + std::to_string(most), command);
      expect_told(result, "raise it with ulimit -n", what);
      EXPECT_EQ(fs::exists(out), result.ok() && command.starts_with("extract")) << what;
      fs::remove_all(out);
    }
  }
  for (const auto& entry : fs::directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.path().filename().string().find(".pkgfs-"), std::string::npos) << entry.path() << " is left";
  }
}

TEST_F(Limits, ExtractLeavesADirectoryAsItWas) {
  const fs::path out = dir_.path() / "out";
  const auto listing = [&] { return shell("cd " + out.string() + " && find . -printf '%p %y %m %s\\n' | sort").out; };
  ASSERT_TRUE(pkgfs({"extract", package_, out}).ok());
  dir_.write("out/data/README.md", "mine\n");
  dir_.write("out/data/share/other", "mine\n");
  const std::string before = listing();
  bool failed = false;
  for (int most = 4; most <= 24; ++most) {
    const std::string what = "-n " + std::to_string(most);
    const ProcessResult result = limited(what, "extract --force " + package_ + " " + out.string());
    if (result.ok()) {
      break;
    }
    expect_told(result, "raise it with ulimit -n", what);
    EXPECT_EQ(listing(), before) << what << ": " << result.describe();
    failed = true;
  }
  EXPECT_TRUE(failed) << "no limit was reached: the test shows nothing";
}

TEST_F(Limits, ThePluginNamesTheLimitOfFiles) {
  for (int most = 4; most <= 11; ++most) {
    Process plugin({"prlimit", "--nofile=" + std::to_string(most), kPkgfs, "volume-plugin",
                    "--socket=" + (dir_.path() / "p.sock").string(), "--state-dir=" + (dir_.path() / "state").string(),
                    "--mount-root=" + (dir_.path() / "root").string()});
    if (!plugin.ends_within(std::chrono::seconds(1))) {
      plugin.signal(SIGTERM);
    }
    expect_told(plugin.wait(), "raise it with ulimit -n", std::to_string(most));
  }
}

TEST_F(Limits, AMountNamesTheLimitOfMemory) {
  const std::string where = mountpoint();
  const MountGuard guard(where);
  bool failed = false;
  for (const int most : {18'000, 20'000, 22'000, 24'000, 26'000, 28'000, 32'000, 40'000, 60'000}) {
    const std::string what = "-v " + std::to_string(most);
    const ProcessResult result = limited(what, "mount " + package_ + " " + where);
    expect_told(result, "raise the limit with ulimit -v", what);
    expect_clean(result);
    failed = failed || result.exit_code == kFailed;
  }
  EXPECT_TRUE(failed) << "no limit was reached: the test shows nothing";
}

TEST_F(Limits, ALibraryThatDoesNotFitIsNotMissing) {
  const fs::path file = dir_.write("big/wasmer.toml", "[package]\nname = \"a/b\"\nversion = \"1.0.0\"\n");
  const std::string tarball = dir_.path() / "big.tar.gz";
  ASSERT_TRUE(run({"tar", "-czf", tarball, "-C", file.parent_path(), "."}).ok());
  for (const int most : {20'000, 30'000, 40'000}) {
    const ProcessResult result = limited("-v " + std::to_string(most), "ls " + tarball);
    EXPECT_EQ(result.exit_code, kFailed) << result.describe();
    expect_told(result, "raise the limit with ulimit -v", std::to_string(most));
  }
}

TEST_F(Limits, AUserIsToldOfTheLimitOfProcesses) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "not root: the limit counts the processes of a user, and this one has some";
  }
  // A user ID that has no other process.
  const ProcessResult result =
      run({"setpriv", "--reuid=54321", "--clear-groups", "prlimit", "--nproc=1", kPkgfs, "doctor", "--offline"});
  constexpr int kNotStarted = 126;
  if (result.exit_code >= kNotStarted) {
    GTEST_SKIP() << "another user can't run " << kPkgfs;
  }
  EXPECT_EQ(result.exit_code, kFailed) << result.describe();
  EXPECT_EQ((result.out + result.err).find("internal"), std::string::npos) << result.describe();
  EXPECT_NE(result.out.find("may have 1 processes and threads; raise the limit with ulimit -u"), std::string::npos)
      << result.describe();
}

TEST_F(Limits, AFilterThatDeniesThreadsIsNamed) {
  const std::string where = mountpoint();
  const MountGuard guard(where);
  for (const char* calls : {"clone3", "clone"}) {
    const ProcessResult result = denied("EPERM", calls, {"mount", package_, where});
    EXPECT_EQ(result.exit_code, kRefused) << result.describe();
    EXPECT_TRUE(mentions(result, "seccomp filter")) << result.describe();
    expect_clean(result);
  }
  const ProcessResult newer = denied("ENOSYS", "clone3", {"mount", package_, where});
  EXPECT_TRUE(newer.ok()) << "clone is enough: " << newer.describe();
  expect_clean(newer);
}

TEST_F(Limits, AMountNeedsNoProcessDescriptors) {
  const std::string where = mountpoint();
  const MountGuard guard(where);
  for (const char* error : {"EPERM", "ENOSYS"}) {
    const ProcessResult result = denied(error, "pidfd_open,pidfd_send_signal", {"mount", package_, where});
    EXPECT_TRUE(result.ok()) << result.describe();
    expect_clean(result);
  }
}

// The daemon learns of an unmount by this descriptor. Without it, the daemon went on for ever.
TEST_F(Limits, WithoutTheDescriptorOfItsEndThereIsNoMount) {
  const std::string where = mountpoint();
  const MountGuard guard(where);
  const ProcessResult result = denied("EMFILE", "eventfd2", {"mount", package_, where});
  EXPECT_EQ(result.exit_code, kFailed) << result.describe();
  EXPECT_TRUE(mentions(result, "Unable to watch the mount")) << result.describe();
  expect_clean(result);
}

}  // namespace
}  // namespace pkgfs::test
