// SPDX-License-Identifier: MIT
// Risk: a killed daemon can't end and every process that uses its mount hangs, or a guardian disturbs a healthy one.
#include "daemon/mount/guardian.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <gtest/gtest.h>

#include "tests/support/mount.h"
#include "tests/unit/daemon/mount/stuck_daemon.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Guarded = StuckDaemon::Guarded;

class GuardianTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root mounts without fusermount3";
    }
  }
  static fs::path proc(pid_t process) { return "/proc/" + std::to_string(process); }
};

TEST_F(GuardianTest, WithoutItAKilledDaemonCannotEnd) {
  StuckDaemon daemon(Guarded::kNo);
  ASSERT_EQ(daemon.problem(), "");
  if (!daemon.get_stuck()) {
    GTEST_SKIP() << "this kernel doesn't let a thread wait there";
  }
  daemon.kill(SIGKILL);
  EXPECT_FALSE(daemon.ends_within(milliseconds(700))) << "the other tests show nothing then";
  EXPECT_FALSE(daemon.reader_ends_within(milliseconds(0)));
}

class EndedBy : public GuardianTest, public ::testing::WithParamInterface<int> {};

TEST_P(EndedBy, TheDaemonAndItsReadersAreFreed) {
  StuckDaemon daemon(Guarded::kYes);
  ASSERT_EQ(daemon.problem(), "");
  if (!daemon.get_stuck()) {
    GTEST_SKIP() << "this kernel doesn't let a thread wait there";
  }
  EXPECT_FALSE(daemon.reader_ends_within(milliseconds(300))) << "nothing is aborted while the daemon lives";
  daemon.kill(GetParam());
  EXPECT_TRUE(daemon.ends_within(seconds(3)));
  EXPECT_TRUE(daemon.reader_ends_within(seconds(3)));
  EXPECT_TRUE(eventually([&] { return !is_running(daemon.guardian()); })) << "the guardian stays";
}

INSTANTIATE_TEST_SUITE_P(Guardian, EndedBy,
                         ::testing::Values(SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGQUIT, SIGSYS,
                                           SIGTRAP),
                         [](const auto& test) { return std::string("By") + ::sigabbrev_np(test.param); });

TEST_F(GuardianTest, EndsWithADaemonThatEndsByItself) {
  StuckDaemon daemon(Guarded::kYes);
  ASSERT_EQ(daemon.problem(), "");
  ASSERT_TRUE(is_running(daemon.guardian()));
  daemon.end();
  EXPECT_TRUE(daemon.ends_within(seconds(3)));
  EXPECT_TRUE(eventually([&] { return !is_running(daemon.guardian()); }));
}

TEST_F(GuardianTest, KeepsNothingThatOthersWaitFor) {
  const StuckDaemon daemon(Guarded::kYes);
  ASSERT_EQ(daemon.problem(), "");
  const pid_t guardian = daemon.guardian();
  const auto descriptors = [&] {
    const fs::directory_iterator entries(proc(guardian) / "fd");
    return std::distance(begin(entries), end(entries));
  };
  // It closes the others after the daemon has gone on.
  EXPECT_TRUE(eventually([&] { return descriptors() == 4; })) << descriptors() << " descriptors";
  for (const auto& entry : fs::directory_iterator(proc(guardian) / "fd")) {
    EXPECT_EQ(fs::read_symlink(entry).string().find("/dev/fuse"), std::string::npos) << "it would keep the mount alive";
  }
  EXPECT_EQ(fs::read_symlink(proc(guardian) / "cwd"), "/");
  EXPECT_EQ(::getsid(guardian), guardian) << "a signal to the daemon's session would reach it";
  EXPECT_EQ(read_text(proc(guardian) / "comm"), "fuse-guardian\n");
  const std::string line = read_text(proc(guardian) / "cmdline");
  EXPECT_EQ(line.substr(0, line.find('\0')), "fuse-guardian of " + std::to_string(daemon.pid()));
}

TEST_F(GuardianTest, SignalsNeitherEndItNorMakeItAbort) {
  StuckDaemon daemon(Guarded::kYes);
  ASSERT_EQ(daemon.problem(), "");
  ASSERT_TRUE(daemon.get_stuck());
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGCHLD}) {
    ::kill(daemon.guardian(), signal);
  }
  EXPECT_FALSE(daemon.reader_ends_within(milliseconds(500)));
  EXPECT_TRUE(is_running(daemon.guardian()));
  EXPECT_TRUE(is_running(daemon.pid()));
}

TEST_F(GuardianTest, ItsOwnerLearnsOfItsEndAndLeavesNoProcess) {
  const StuckDaemon daemon(Guarded::kNo);
  ASSERT_EQ(daemon.problem(), "");
  const auto other_children = [&] { return run({"pgrep", "-P", std::to_string(::getpid()), "fuse-guardian"}, {}).out; };
  {
    Guardian guardian;
    EXPECT_EQ(guardian.ended_fd(), -1);
    ASSERT_EQ(guardian.start(daemon.connection()), "");
    pollfd ended{.fd = guardian.ended_fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ended, 1, 100), 0);
    const std::string process = other_children();
    ASSERT_NE(process, "");
    ::kill(std::stoi(process), SIGKILL);
    EXPECT_EQ(::poll(&ended, 1, 3000), 1);
  }
  {
    Guardian guardian;
    ASSERT_EQ(guardian.start(daemon.connection()), "") << "a second one after the first";
  }
  EXPECT_EQ(other_children(), "");
  struct sigaction action{};
  ASSERT_EQ(::sigaction(SIGABRT, nullptr, &action), 0);
  EXPECT_EQ(action.sa_handler, SIG_DFL) << "crashes are no longer reported";
}

TEST_F(GuardianTest, WithoutAConnectionThereIsNone) {
  Guardian guardian;
  EXPECT_NE(guardian.start("4000000000"), "");
  EXPECT_EQ(guardian.ended_fd(), -1);
}

}  // namespace
}  // namespace pkgfs::test
