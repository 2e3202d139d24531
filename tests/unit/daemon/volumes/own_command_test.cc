// SPDX-License-Identifier: MIT
// Risk: how a process of pkgfs ended is misread, or it outlives the plugin or a cancelled request.
#include "daemon/volumes/own_command.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {
namespace {

constexpr const char* kRole = "PKGFS_TEST_ROLE";

/// What this test program does when `run_own_command` runs it: the role stands in the environment.
int play(const std::string& role) {
  const Io io = Io::process();
  if (role == "succeed") {
    report_message(io.report_fd, {.is_warning = true, .text = "odd"});
    report_failure(io, Error(ErrorCode::kIo, "not in the end"));
    std::cerr << "pkgfs: error: text for people\n" << std::flush;
    return 0;
  }
  if (role == "fail") {
    return report_failure(io, Error(ErrorCode::kNetwork, std::vector<std::string>{"outer", "inner"}));
  }
  if (role == "crash") {
    std::signal(SIGKILL, SIG_DFL);
    ::kill(::getpid(), SIGKILL);
  }
  if (role == "descriptors") {
    for (int fd = STDERR_FILENO + 1; fd < 1000; ++fd) {
      if (fd != io.report_fd && ::fcntl(fd, F_GETFD) >= 0) {
        return 1;
      }
    }
    return std::filesystem::current_path() == std::filesystem::temp_directory_path() ? 0 : 2;
  }
  if (role == "wait" || role == "ignore") {
    if (role == "ignore") {
      std::signal(SIGTERM, SIG_IGN);
    }
    std::cerr << "ready\n" << std::flush;
    ::sleep(20);
  }
  return 77;
}

/// Before main(): the arguments are those of pkgfs, not GoogleTest's.
const bool kIsChild = [] {
  if (const char* role = std::getenv(kRole)) {
    std::_Exit(play(role));
  }
  return false;
}();

class OwnCommand : public ::testing::Test {
 protected:
  ~OwnCommand() override { ::unsetenv(kRole); }
  static CommandResult run_as(const char* role, const CancelFlag& cancel = CancelFlag()) {
    ::setenv(kRole, role, 1);
    return run_own_command({"mount", "x"}, std::filesystem::temp_directory_path(), IfWeDie::kEndsToo, cancel);
  }
};

TEST_F(OwnCommand, TheReportCountsAndTheTextForPeopleDoesNot) {
  const CommandResult good = run_as("succeed");
  EXPECT_FALSE(good.report.error) << good.report.error->what();
  ASSERT_EQ(good.report.messages.size(), 1U);
  EXPECT_EQ(good.report.messages[0].text, "odd");
  EXPECT_EQ(good.output, "pkgfs: error: text for people\n");
  const CommandResult bad = run_as("fail");
  ASSERT_TRUE(bad.report.error);
  EXPECT_EQ(bad.report.error->code(), ErrorCode::kNetwork);
  EXPECT_EQ(bad.report.error->chain(), (std::vector<std::string>{"outer", "inner"}));
}

TEST_F(OwnCommand, AProcessThatReportsNothingIsAnErrorAsWell) {
  const CommandResult crashed = run_as("crash");
  ASSERT_TRUE(crashed.report.error);
  EXPECT_EQ(crashed.report.error->message(), "pkgfs was killed by signal 9");
  const CommandResult silent = run_as("silent");
  ASSERT_TRUE(silent.report.error);
  EXPECT_EQ(silent.report.error->code(), ErrorCode::kInternal);
  EXPECT_EQ(silent.report.error->message(), "pkgfs ended with exit code 77");
}

TEST_F(OwnCommand, InheritsNoDescriptorButTheReport) {
  const UniqueFd leak(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC
  const CommandResult result = run_as("descriptors");
  EXPECT_FALSE(result.report.error) << result.report.error->what();
}

TEST_F(OwnCommand, CancellingEndsIt) {
  for (const char* role : {"wait", "ignore"}) {
    CancelFlag cancel;
    std::thread canceller([&] {
      sleep_ms(300);
      cancel.cancel();
    });
    const auto begin = std::chrono::steady_clock::now();
    try {
      (void)run_as(role, cancel);
      ADD_FAILURE() << "it wasn't cancelled";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8)) << role;
    canceller.join();
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
  }
}

}  // namespace
}  // namespace pkgfs::test
