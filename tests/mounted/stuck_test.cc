// SPDX-License-Identifier: MIT
// Risk: because one mount doesn't answer, a pkgfs command hangs too, or pkgfs reports a working mount as stuck.
#include <chrono>
#include <csignal>
#include <map>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using std::chrono::steady_clock;

/// A process that does nothing for as long as this lives.
class Stopped {
 public:
  explicit Stopped(pid_t pid) : pid_(pid) { ::kill(pid_, SIGSTOP); }
  ~Stopped() { ::kill(pid_, SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

 private:
  pid_t pid_;
};

class Stuck : public MountedTest {
 protected:
  /// Runs `pkgfs ARGUMENTS...`, which must end before `limit`, killed or not.
  static ProcessResult quickly(Arguments arguments, std::chrono::milliseconds limit) {
    arguments.insert(arguments.begin(), kPkgfs);
    const auto begin = steady_clock::now();
    ProcessResult result = run(arguments, {.timeout = seconds(10)});
    EXPECT_LT(steady_clock::now() - begin, limit) << result.describe();
    EXPECT_FALSE(result.timed_out) << result.describe();
    return result;
  }

  const std::string package_ = single("basic-v3");
};

TEST_F(Stuck, MountsListsThemAllInTheTimeOfOne) {
  MountedPackage first(kPkgfs, package_);
  MountedPackage second(kPkgfs, package_);
  MountedPackage third(kPkgfs, package_);
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  {
    const Stopped one(first.daemon());
    const Stopped two(second.daemon());
    const Stopped three(third.daemon());
    const ProcessResult result = quickly({"mounts", "--json"}, std::chrono::milliseconds(2800));
    ASSERT_TRUE(result.ok()) << result.describe();
    std::map<std::string, std::string> states;
    for (const auto& entry : nlohmann::json::parse(result.out)) {
      states[entry["mountpoint"]] = entry["state"];
    }
    for (const MountedPackage* mount : {&first, &second, &third}) {
      EXPECT_EQ(states[mount->path()], "stuck");
    }
  }
}

TEST_F(Stuck, MountingThereIsRefusedHoweverItIsNamed) {
  MountedPackage mount(kPkgfs, package_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const fs::path link = mount.path().parent_path() / "link";
  fs::create_symlink("mnt", link);
  const Stopped daemon(mount.daemon());
  for (const std::string& name : {mount.path().string(), mount / "", mount / ".", link.string()}) {
    const ProcessResult result = quickly({"mount", package_, name}, seconds(4));
    EXPECT_EQ(result.exit_code, 9) << result.describe();
    EXPECT_NE(result.err.find("doesn't answer"), std::string::npos) << result.describe();
    EXPECT_NE(result.err.find("pkgfs unmount --lazy " + mount.path().string()), std::string::npos) << result.describe();
  }
}

TEST_F(Stuck, LazyUnmountWorks) {
  for (const bool with_link : {false, true}) {
    MountedPackage mount(kPkgfs, package_);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const fs::path link = mount.path().parent_path() / "link";
    fs::create_symlink("mnt", link);
    const Stopped daemon(mount.daemon());
    const ProcessResult result = quickly({"unmount", "--lazy", with_link ? link : mount.path()}, seconds(2));
    EXPECT_TRUE(result.ok()) << result.describe();
    EXPECT_FALSE(find_mount(mount.path()).has_value());
  }
}

TEST_F(Stuck, ProbeAsksTheDaemonSomethingThatCostsItNothing) {
  TempDir directory;
  const fs::path where = directory.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  Process daemon({kPkgfs, "mount", "-d", package_, where}, {.timeout = seconds(10)});
  ASSERT_TRUE(eventually([&] { return find_mount(where).has_value() && fs::exists(where / "data"); })) << daemon.err();
  const std::size_t before = daemon.err().size();
  const ProcessResult mounts = run({kPkgfs, "mounts"}, {.timeout = seconds(10)});
  EXPECT_NE(mounts.out.find(where.string() + " (live)"), std::string::npos) << mounts.describe();
  const std::string requests = daemon.err().substr(before);
  EXPECT_NE(requests.find("GETXATTR"), std::string::npos) << requests;
  EXPECT_EQ(requests.find("STATFS"), std::string::npos) << "that counts the tree";
  daemon.signal(SIGTERM);
  EXPECT_TRUE(daemon.wait().ok());
}

}  // namespace
}  // namespace pkgfs::test
