// SPDX-License-Identifier: MIT
// Risk: a refresh that fails changes the mount, or nobody learns why; the next daemon doesn't know what the mount
// shows; or a user changes another user's mount.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "tests/net/refresh.h"
#include "tests/support/tree.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;

class RefreshFaults : public RefreshTest {
 protected:
  [[nodiscard]] static nlohmann::json stats(const fs::path& mountpoint) {
    return nlohmann::json::parse(run({kPkgfs, "stats", "--json", mountpoint}, {.timeout = 5s}).out, nullptr, false);
  }
  /// Kills the daemon once it has a keeper, and waits until another one has one.
  static void replace_daemon(const MountedPackage& mounted) {
    nlohmann::json before;
    ASSERT_TRUE(eventually([&] { return (before = stats(mounted.path())).contains("keeper"); })) << before;
    ::kill(before.at("pid").get<pid_t>(), SIGKILL);
    nlohmann::json after;
    EXPECT_TRUE(eventually([&] {
      after = stats(mounted.path());
      return after.contains("keeper") && after.at("pid") != before.at("pid");
    })) << after;
  }
  void expect_unchanged(const MountedPackage& mounted, const ProcessResult& failed, const std::string& why) {
    EXPECT_FALSE(failed.ok()) << failed.describe();
    EXPECT_NE(failed.err.find(why), std::string::npos) << failed.err;
    EXPECT_EQ(shown(mounted), version(1));
    EXPECT_EQ(read_text(mounted / "data/sub/5"), "2.0.1\n");
  }
};

TEST_F(RefreshFaults, AFailureChangesNothingAndSaysWhy) {
  const auto mounted = mount({"--lazy=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  server_.stop();
  expect_unchanged(*mounted, refresh(*mounted), "stays as it is");
  server_.start();
  server_.set_fault({.kind = Kind::kWrongBytes, .where = Where::kFiles});
  expect_unchanged(*mounted, refresh(*mounted), "hash");
  server_.set_fault({.kind = Kind::kStatus, .where = Where::kGraphql, .status = 403});
  expect_unchanged(*mounted, refresh(*mounted), "403");
  const nlohmann::json said = versions(*mounted);
  EXPECT_EQ(said.at("failures"), 3);
  EXPECT_NE(said.at("problem").get<std::string>().find("403"), std::string::npos) << said;
  EXPECT_NE(run({kPkgfs, "mounts"}).out.find("not refreshed"), std::string::npos);
  server_.clear_faults();
  EXPECT_TRUE(refresh(*mounted).ok());
  EXPECT_EQ(shown(*mounted), version(2));
  EXPECT_FALSE(versions(*mounted).contains("problem"));
}

TEST_F(RefreshFaults, TheNextDaemonKnowsAllVersions) {
  for (const Arguments& options : {Arguments{"--follow=1h", "--keep-old=1"}, Arguments{}}) {
    const auto mounted = mount(options);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    const std::string first = shown(*mounted);
    const int next = options.empty() ? 3 : 2;
    (void)list_tree(mounted->path());
    const UniqueFd file(::open((*mounted / "data/7").c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd directory(::open((*mounted / "data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    publish(next);
    ASSERT_TRUE(refresh(*mounted).ok());
    const UniqueFd newer(::open((*mounted / "data/8").c_str(), O_RDONLY | O_CLOEXEC));
    for (int i = 0; i < 2; ++i) {
      replace_daemon(*mounted);
      ASSERT_FALSE(HasFailure());
      std::array<char, 16> text{};
      const auto content = [&](const UniqueFd& of, const char* name) {
        const UniqueFd opened(::openat(of.get(), name, O_RDONLY | O_CLOEXEC));
        const ssize_t size = ::pread(*name == '\0' ? of.get() : opened.get(), text.data(), text.size(), 0);
        return size < 0 ? "error " + std::to_string(errno) : std::string(text.data(), static_cast<std::size_t>(size));
      };
      EXPECT_EQ(content(file, ""), first + "\n");
      EXPECT_EQ(content(directory, "sub/30"), first + "\n");
      EXPECT_EQ(content(newer, ""), version(next) + "\n");
      EXPECT_EQ(shown(*mounted), version(next));
      EXPECT_EQ(read_text(*mounted / "data/9"), version(next) + "\n");
    }
    const ProcessResult back = pkgfs({"rollback", mounted->path()});
    EXPECT_TRUE(back.ok()) << back.describe();
    EXPECT_EQ(shown(*mounted), first);
    EXPECT_TRUE(refresh(*mounted).ok()) << "by the next daemon";
    EXPECT_EQ(shown(*mounted), version(next));
  }
}

TEST_F(RefreshFaults, TheNextDaemonKnowsWhatARollbackLeft) {
  const auto mounted = mount({"--follow=1s", "--keep-old=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  ASSERT_TRUE(eventually([&] { return shown(*mounted) == version(2); }, 10s));
  ASSERT_TRUE(pkgfs({"rollback", mounted->path()}).ok());
  replace_daemon(*mounted);
  std::this_thread::sleep_for(2500ms);
  EXPECT_EQ(shown(*mounted), version(1)) << "the next daemon went back to the version that the rollback left";
  publish(3);
  EXPECT_TRUE(eventually([&] { return shown(*mounted) == version(3); }, 10s));
}

TEST_F(RefreshFaults, ACommandRunsOnceEvenIfTheDaemonIsKilled) {
  const fs::path said = home_.path() / "said";
  const auto mounted = mount({"--on-change=echo \"$PKGFS_NEW\" >> " + said.string()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  ASSERT_TRUE(eventually([&] { return fs::exists(said); }));
  replace_daemon(*mounted);
  EXPECT_NE(refresh(*mounted).out.find("up to date"), std::string::npos);
  publish(3);
  ASSERT_TRUE(refresh(*mounted).ok());
  EXPECT_TRUE(eventually([&] { return read_text(said) == "acme/app@2.0.2\nacme/app@2.0.3\n"; })) << read_text(said);
}

TEST_F(RefreshFaults, AnUpgradeKeepsWhatARefreshHasShown) {
  const auto mounted = mount({"--follow=1h", "--keep-old=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const fs::path other = home_.path() / "other";
  fs::create_directory(other);
  for (const char* const name : {"pkgfs", "pkgfs-keeper"}) {
    fs::copy_file(fs::path(kPkgfs).parent_path() / name, other / name);
  }
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  ASSERT_TRUE(eventually([&] { return stats(mounted->path()).contains("keeper"); }));
  const ProcessResult upgraded = run({other / "pkgfs", "upgrade-mounts", mounted->path()});
  EXPECT_TRUE(upgraded.ok()) << upgraded.describe();
  EXPECT_EQ(shown(*mounted), version(2));
  publish(3);
  ProcessResult done;
  EXPECT_TRUE(eventually([&] { return (done = refresh(*mounted)).ok(); })) << done.describe();
  EXPECT_EQ(shown(*mounted), version(3));
  ASSERT_TRUE(pkgfs({"rollback", mounted->path()}).ok());
  EXPECT_EQ(shown(*mounted), version(2));
}

/// As a daemon before does that hasn't quite ended.
TEST_F(RefreshFaults, AnAddressThatIsTakenIsTriedAgain) {
  for (const Arguments& options : {Arguments{"--follow=1h"}, Arguments{}}) {
    const auto device = [](const MountedPackage& mounted) {
      struct stat status{};
      return ::stat(mounted.path().c_str(), &status) == 0 ? minor(status.st_dev) : 0U;
    };
    auto mounted = mount(options);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    const std::string name = "pkgfs-mount-" + std::to_string(device(*mounted));
    mounted.reset();  // the next mount gets the same number
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
    UniqueFd holder(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    ASSERT_TRUE(
        eventually([&] { return ::bind(holder.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0; }));
    mounted = mount(options);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    if (name != "pkgfs-mount-" + std::to_string(device(*mounted))) {
      GTEST_SKIP() << "another file system has taken the number";
    }
    EXPECT_FALSE(refresh(*mounted).ok());
    holder.reset();
    ProcessResult done;
    EXPECT_TRUE(eventually([&] { return (done = refresh(*mounted)).ok(); }, 15s)) << done.describe();
  }
}

TEST_F(RefreshFaults, ALockFileIsFollowedWhenItChanges) {
  const fs::path lock = home_.path() / "app.lock";
  const auto write_lock = [&](const fs::path& path, const std::string& package) {
    return pkgfs({"resolve", "--registry", server_.endpoint(), "--lock=" + path.string(), package});
  };
  ASSERT_TRUE(write_lock(lock, "acme/app@^2").ok());
  const auto mounted = mount({"--follow=1s", "--lock=" + lock.string()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  std::this_thread::sleep_for(2500ms);
  EXPECT_EQ(shown(*mounted), version(1)) << "the lock file is the same";
  std::ofstream(lock) << "{";
  EXPECT_TRUE(eventually([&] { return versions(*mounted).contains("problem"); }, 10s)) << versions(*mounted);
  EXPECT_EQ(shown(*mounted), version(1));
  fs::remove_all(cache() / "queries");  // the command would take an answer that was cached
  ASSERT_TRUE(write_lock(home_.path() / "new.lock", "acme/app@^2").ok());
  fs::rename(home_.path() / "new.lock", lock);
  EXPECT_TRUE(eventually([&] { return shown(*mounted) == version(2); }, 10s)) << versions(*mounted);
}

TEST_F(RefreshFaults, ACommandRunsAfterAChange) {
  const fs::path said = home_.path() / "said";
  const auto mounted =
      mount({"--on-change=echo \"$PKGFS_OLD $PKGFS_NEW $(cat \"$PKGFS_MOUNTPOINT/version\")\" >> " + said.string()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  ASSERT_TRUE(refresh(*mounted).ok());  // to the same
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  const std::string line = "acme/app@2.0.1 acme/app@2.0.2 2.0.2\n";
  EXPECT_TRUE(eventually([&] { return fs::exists(said) && read_text(said) == line; }))
      << (fs::exists(said) ? read_text(said) : "nothing");
}

TEST_F(RefreshFaults, OnlyRootAndTheUserOfTheMountMayAsk) {
  if (::geteuid() != 0 || !have_program("setpriv")) {
    GTEST_SKIP() << "needs root and setpriv";
  }
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  publish(2);
  fs::permissions(mounted->path().parent_path(), fs::perms::others_all, fs::perm_options::add);
  const ProcessResult refused =
      run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", kPkgfs, "refresh", mounted->path()});
  EXPECT_EQ(refused.exit_code, 8) << refused.describe();
  EXPECT_NE(refused.err.find("only root and the user of the mount"), std::string::npos) << refused.err;
  EXPECT_EQ(shown(*mounted), version(1));
}

TEST_F(RefreshFaults, WhatCannotBeRefreshedSaysWhy) {
  const TempDir dir;
  fs::create_directory(dir.path() / "files");
  dir.write("wasmer.toml", "[fs]\n\"/files\" = \"files\"\n");
  const MountedPackage live(kPkgfs, dir.path(), {}, {.environment = environment()});
  ASSERT_TRUE(live.ok()) << live.result().describe();
  const ProcessResult refused = refresh(live);
  EXPECT_EQ(refused.exit_code, 5) << refused.describe();
  EXPECT_NE(refused.err.find("package directory"), std::string::npos) << refused.err;
  const MountedPackage follows(kPkgfs, dir.path(), {"--follow=1s"}, {.environment = environment()});
  EXPECT_EQ(follows.result().exit_code, 2) << follows.result().describe();
  EXPECT_EQ(pkgfs({"refresh", dir.path()}).exit_code, 3);
  const ProcessResult rings = mount({"--follow=1h", "--io-uring=on"})->result();
  EXPECT_EQ(rings.exit_code, 2) << rings.describe();
}

}  // namespace
}  // namespace pkgfs::test
