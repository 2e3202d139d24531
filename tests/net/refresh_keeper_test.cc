// SPDX-License-Identifier: MIT
// Risk: a daemon that is killed while it refreshes its mount takes the mount with it, two daemons go on with one mount,
// or the next daemon takes the package for another one.
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/net/refresh.h"
#include "tests/support/tree.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// The program has a directory of its own. Its keepers come late while the file `slow` is there, and don't come while
/// `refuse` is there.
class RefreshKeeper : public RefreshTest {
 protected:
  void SetUp() override {
    RefreshTest::SetUp();
    fs::create_directory(own_);
    fs::copy_file(kPkgfs, own_ / "pkgfs");
    const fs::path real = fs::path(kPkgfs).parent_path() / "pkgfs-keeper";
    home_.write("own/pkgfs-keeper", "#!/bin/sh\ncd " + own_.string() +
                                        "\n[ -e refuse ] && exit 1\n[ -e slow ] && : >begun && sleep 0.5\nexec " +
                                        real.string() + " \"$@\"\n");
    fs::permissions(own_ / "pkgfs-keeper", fs::perms::owner_all);
  }
  [[nodiscard]] std::unique_ptr<MountedPackage> mount_own(Arguments options = {}, const std::string& directory = {}) {
    options.insert(options.begin(), {"--registry", server_.endpoint(), "--timeout", "2"});
    return std::make_unique<MountedPackage>(own_ / "pkgfs", "acme/app@^2", options,
                                            ProcessOptions{.directory = directory, .environment = environment()});
  }
  void set(const std::string& name, bool is_there) const {
    if (is_there) {
      std::ofstream(own_ / name) << "";
    } else {
      fs::remove(own_ / name);
    }
  }
  [[nodiscard]] static nlohmann::json stats(const fs::path& mountpoint) {
    return nlohmann::json::parse(run({kPkgfs, "stats", "--json", mountpoint}, {.timeout = 5s}).out, nullptr, false);
  }
  /// The statistics once the mount has a keeper, and a daemon other than `before`.
  [[nodiscard]] static nlohmann::json kept(const MountedPackage& mounted, pid_t before = 0) {
    nlohmann::json now;
    EXPECT_TRUE(eventually(
        [&] {
          now = stats(mounted.path());
          return now.is_object() && now.contains("keeper") && now.at("pid") != before;
        },
        10s))
        << now;
    return now;
  }
  static void kill_daemon(const MountedPackage& mounted) {
    const pid_t daemon = kept(mounted).value("pid", 0);
    ASSERT_GT(daemon, 1);
    ::kill(daemon, SIGKILL);
    (void)kept(mounted, daemon);
  }

  const fs::path own_ = home_.path() / "own";
};

TEST_F(RefreshKeeper, TheOldKeeperActsUntilTheNewOneDoes) {
  const auto mounted = mount_own({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const nlohmann::json first = kept(*mounted);
  publish(2);
  set("slow", true);
  Process asks({kPkgfs, "refresh", mounted->path()}, {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return fs::exists(own_ / "begun"); }));
  set("slow", false);
  ::kill(first.at("pid").get<pid_t>(), SIGKILL);
  const nlohmann::json second = kept(*mounted, first.at("pid"));
  EXPECT_FALSE(asks.wait().ok());
  EXPECT_EQ(shown(*mounted), version(1)) << "it wasn't shown yet";
  std::this_thread::sleep_for(1s);  // the new keeper has come meanwhile
  pid_t daemon = 0;
  EXPECT_NO_THROW(daemon = mounted->daemon()) << "two keepers have started a daemon each";
  EXPECT_EQ(daemon, second.at("pid"));
  EXPECT_TRUE(refresh(*mounted).ok());
  EXPECT_EQ(shown(*mounted), version(2));
}

TEST_F(RefreshKeeper, WithoutANewKeeperNothingChanges) {
  const auto mounted = mount_own({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const nlohmann::json before = kept(*mounted);
  publish(2);
  set("refuse", true);
  const ProcessResult refused = refresh(*mounted);
  EXPECT_EQ(refused.exit_code, 5) << refused.describe();
  EXPECT_NE(refused.err.find("keeper"), std::string::npos) << refused.err;
  EXPECT_EQ(shown(*mounted), version(1));
  const nlohmann::json after = stats(mounted->path());
  EXPECT_TRUE(after.contains("keeper")) << after;
  EXPECT_EQ(after.value("pid", 0), before.at("pid"));
  set("refuse", false);
  kill_daemon(*mounted);
  EXPECT_EQ(shown(*mounted), version(1));
  EXPECT_TRUE(refresh(*mounted).ok());
  EXPECT_EQ(shown(*mounted), version(2));
}

TEST_F(RefreshKeeper, ADaemonThatIsKilledAtAnyMomentHasASuccessor) {
  const auto rounds = static_cast<int>(number_from_environment("PKGFS_TEST_REFRESH_KILLS", 6));
  const auto mounted = mount({"--follow=1h", "--keep-old=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<int> pause(0, 80'000);
  for (int number = 2; number < 2 + rounds; ++number) {
    publish(number);
    const auto daemon = kept(*mounted).value("pid", 0);
    ASSERT_GT(daemon, 1);
    Process asks({kPkgfs, "refresh", mounted->path()}, {.environment = environment()});
    std::this_thread::sleep_for(std::chrono::microseconds(pause(random)));
    ::kill(daemon, SIGKILL);
    (void)asks.wait();
    (void)kept(*mounted, daemon);
    ASSERT_FALSE(HasFailure()) << "in round " << number - 1;
    EXPECT_TRUE(shown(*mounted) == version(number) || shown(*mounted) == version(number - 1)) << shown(*mounted);
    ProcessResult again;
    EXPECT_TRUE(eventually([&] { return (again = refresh(*mounted)).ok(); })) << again.describe();
    EXPECT_EQ(shown(*mounted), version(number));
  }
}

TEST_F(RefreshKeeper, ANameStaysANameAndAPathAPath) {
  const auto mounted = mount_own({"--follow=1h"}, home_.path());
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  fs::create_directory(home_.path() / "acme");
  fs::copy_file(build(9), home_.path() / "acme/app@^2");
  publish(2);
  kill_daemon(*mounted);
  const ProcessResult named = refresh(*mounted);
  EXPECT_TRUE(named.ok()) << named.describe();
  EXPECT_EQ(shown(*mounted), version(2)) << "a file of that name was taken for the package";

  const MountedPackage file(own_ / "pkgfs", "acme/app@^2", {"--follow=1h", "--registry", server_.endpoint()},
                            {.directory = home_.path(), .environment = environment()});
  ASSERT_TRUE(file.ok()) << file.result().describe();
  EXPECT_EQ(shown(file), version(9));
  fs::remove_all(home_.path() / "acme");
  kill_daemon(file);
  const ProcessResult gone = refresh(file);
  EXPECT_FALSE(gone.ok()) << "the registry's package was taken for the file: " << gone.out;
  EXPECT_EQ(shown(file), version(9));
}

/// The next daemon shows the old file. What is at the path by then isn't what it shows.
TEST_F(RefreshKeeper, AFileThatWasReplacedBeforeTheDaemonWasKilledIsAnotherVersion) {
  const fs::path package = home_.path() / "app.webc";
  fs::copy_file(build(1), package);
  const MountedPackage mounted(own_ / "pkgfs", package, {}, {.environment = environment()});
  ASSERT_TRUE(mounted.ok()) << mounted.result().describe();
  PackageBuilder other("acme/app@" + version(1));  // only its file tells it from the first
  other.file("root", "version", "another").mount("/", "root");
  other.write(home_.path() / "other.webc");
  fs::rename(home_.path() / "other.webc", package);
  kill_daemon(mounted);
  EXPECT_EQ(shown(mounted), version(1));
  const ProcessResult done = refresh(mounted);
  EXPECT_TRUE(done.ok()) << done.describe();
  EXPECT_EQ(shown(mounted), "another") << done.out;
}

TEST_F(RefreshKeeper, AnUpgradeThatMeetsARefreshLeavesAMount) {
  const auto mounted = mount({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  for (int number = 2; number < 8; ++number) {
    publish(number);
    (void)kept(*mounted);
    Process upgrades({number % 2 == 0 ? (own_ / "pkgfs").string() : kPkgfs, "upgrade-mounts", mounted->path()},
                     {.environment = environment()});
    std::this_thread::sleep_for(number * 10ms);
    Process asks({kPkgfs, "refresh", mounted->path()}, {.environment = environment()});
    const ProcessResult upgraded = upgrades.wait();
    EXPECT_FALSE(upgraded.timed_out) << upgraded.describe();
    EXPECT_FALSE(asks.wait().timed_out);
    EXPECT_TRUE(shown(*mounted) == version(number) || shown(*mounted) == version(number - 1)) << shown(*mounted);
    ProcessResult again;
    EXPECT_TRUE(eventually([&] { return (again = refresh(*mounted)).ok(); })) << again.describe();
    EXPECT_EQ(shown(*mounted), version(number));
  }
  kill_daemon(*mounted);
  EXPECT_EQ(shown(*mounted), version(7));
}

TEST_F(RefreshKeeper, AHangingCommandEndsWithTheMount) {
  const fs::path begun = home_.path() / "begun";
  auto mounted = mount({"--on-change=: > " + begun.string() + "; sleep 1000"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  ASSERT_TRUE(eventually([&] { return fs::exists(begun); }));
  EXPECT_EQ(read_text(*mounted / "data/3"), version(2) + "\n") << "the mount answers meanwhile";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(mounted->unmount().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

/// Before Linux 6.18, the kernel forgets entries by their names.
TEST_F(RefreshKeeper, AnOlderKernelForgetsByName) {
  auto with = environment();
  with.emplace_back("PKGFS_TEST_NO_PRUNE", "1");
  const MountedPackage mounted(kPkgfs, "acme/app@^2",
                               {"--registry", server_.endpoint(), "--timeout", "2", "--follow=1h", "--keep-old=1"},
                               {.environment = with});
  ASSERT_TRUE(mounted.ok()) << mounted.result().describe();
  for (int number = 2; number < 6; ++number) {
    (void)list_tree(mounted.path());
    publish(number);
    ASSERT_TRUE(refresh(mounted).ok());
    EXPECT_EQ(shown(mounted), version(number));
    EXPECT_TRUE(has_open(mounted, 2)) << versions(mounted);
  }
  std::ifstream file(mounted / "data/sub/7");  // of version 5
  publish(6);
  ASSERT_TRUE(refresh(mounted).ok());
  publish(7);
  ASSERT_TRUE(refresh(mounted).ok());
  std::this_thread::sleep_for(1500ms);
  EXPECT_TRUE(has_open(mounted, 3)) << "a file of version 5 is open: " << versions(mounted);
  std::string text;
  EXPECT_TRUE(std::getline(file, text) && text == version(5)) << text;
  file.close();
  EXPECT_TRUE(has_open(mounted, 2)) << versions(mounted);
}

TEST_F(RefreshKeeper, TheNextDaemonCanRollBack) {
  const auto mounted = mount({"--follow=1h", "--keep-old=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  kill_daemon(*mounted);
  server_.stop();
  for (const int number : {1, 2}) {
    const ProcessResult back = pkgfs({"rollback", mounted->path()});
    EXPECT_TRUE(back.ok()) << back.describe();
    EXPECT_EQ(shown(*mounted), version(number));
    EXPECT_EQ(read_text(*mounted / "data/sub/3"), version(number) + "\n");
    kill_daemon(*mounted);
    EXPECT_EQ(shown(*mounted), version(number)) << "after a rollback";
  }
}

}  // namespace
}  // namespace pkgfs::test
