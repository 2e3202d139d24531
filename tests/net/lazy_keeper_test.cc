// SPDX-License-Identifier: MIT
// Risk: the daemon of a lazy mount is killed while a package is fetched, and readers get errors or wrong bytes, or the
// package never becomes complete.
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/net/lazy_status.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;
using Kind = Fault::Kind;
using Where = Fault::Where;

class LazyKeeper : public LazyStatus {
 protected:
  [[nodiscard]] static nlohmann::json stats(const MountedPackage& mounted) {
    return nlohmann::json::parse(run({kPkgfs, "stats", "--json", mounted.path()}, {.timeout = 5s}).out, nullptr, false);
  }
  /// Kills the daemon as soon as it has a keeper, and waits until a successor has one, too.
  static void replace_daemon(const MountedPackage& mounted) {
    nlohmann::json before;
    ASSERT_TRUE(eventually([&] { return (before = stats(mounted)).contains("keeper"); }, 2s)) << before;
    const pid_t daemon = before.at("pid").get<pid_t>();
    ASSERT_GT(daemon, 1);
    ::kill(daemon, SIGKILL);
    nlohmann::json after;
    EXPECT_TRUE(eventually([&] {
      after = stats(mounted);
      return after.contains("keeper") && after.at("pid") != daemon;
    })) << after;
  }
};

TEST_F(LazyKeeper, ReadersGoOnAndThePackageBecomesComplete) {
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 4 * kMiB});
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::jthread reader([&] { EXPECT_TRUE(read_text(*mounted / "t-large") == random_text(6 * kMiB, 100)); });
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(200ms);
    replace_daemon(*mounted);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_TRUE(wait_for(*mounted, {"--timeout=20"}).ok());
  reader.join();
  expect_right_entry();
  replace_daemon(*mounted);  // of a mount that was lazy
  for (unsigned i = 0; i < 10; ++i) {
    EXPECT_TRUE(read_text(*mounted / ("small" + std::to_string(i))) == random_text(20 * 1024, i)) << i;
  }
  EXPECT_TRUE(read_text(*mounted / "u-rest") == random_text(3 * kMiB, 101));
}

TEST_F(LazyKeeper, WhatIsLocalIsReadWithoutTheServer) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(read_text(*mounted / "small1") == random_text(20 * 1024, 1));
  server_->stop();
  replace_daemon(*mounted);
  EXPECT_TRUE(run({"cat", *mounted / "small1"}, {.timeout = 5s}).out == random_text(20 * 1024, 1));
  EXPECT_TRUE(run({"ls", mounted->path()}, {.timeout = 5s}).ok());
  EXPECT_FALSE(run({"cat", *mounted / "u-rest"}, {.timeout = 15s}).timed_out) << "a reader hangs";
}

TEST_F(LazyKeeper, AReaderThatWaitsForTheServerGetsItsBytesFromTheSuccessor) {
  const auto mounted = mount({"--background=off", "--timeout", "30"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = kMiB});
  Process reader({"sha256sum", *mounted / "u-rest"});
  std::this_thread::sleep_for(500ms);
  ASSERT_FALSE(reader.ends_within(0ms)) << "it doesn't wait";
  replace_daemon(*mounted);
  server_->clear_faults();
  const TempDir dir;
  EXPECT_EQ(reader.wait().out.substr(0, 64), file_sha256(dir.write("right", random_text(3 * kMiB, 101))))
      << reader.wait().describe();
}

}  // namespace
}  // namespace pkgfs::test
