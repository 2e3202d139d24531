// SPDX-License-Identifier: MIT
// Risk: a command of --on-change that hangs holds up all later refreshes or the end of the mount, or leaves processes.
#include "daemon/mount/on_change.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;

class OnChange : public ::testing::Test {
 protected:
  [[nodiscard]] std::string run(const std::string& command, std::chrono::milliseconds limit = 10s) const {
    const auto begun = std::chrono::steady_clock::now();
    std::string why = run_on_change(command, {{"PKGFS_NEW", "acme/app@2.0.0"}}, limit, wake_.get());
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
    return why;
  }

  const UniqueFd wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  TempDir dir_;
};

TEST_F(OnChange, TheEndOfTheCommandIsTold) {
  EXPECT_EQ(run("[ \"$PKGFS_NEW\" = acme/app@2.0.0 ]"), "");
  EXPECT_EQ(run("exit 3"), "it ended with exit code 3");
  EXPECT_EQ(run("kill -9 $$"), "signal 9 ended it");
}

TEST_F(OnChange, AHangingCommandIsKilledWithAllThatItStarted) {
  const std::string file = dir_.path() / "child";
  const std::string hangs = "sleep 100 & echo $! > " + file + "; wait";
  EXPECT_EQ(run(hangs, 1000ms), "it ran for more than 1 s; it was killed");
  const std::string child = read_text(file);
  EXPECT_TRUE(eventually([&] {
    return test::run({"sh", "-c",
                      "kill -0 " + child + " 2> /dev/null || exit 1; grep -q '^State:.Z' /proc/" +
                          child.substr(0, child.size() - 1) + "/status && exit 1; exit 0"})
               .exit_code == 1;
  })) << child;
}

TEST_F(OnChange, TheEndOfTheMountKillsIt) {
  ASSERT_EQ(::eventfd_write(wake_.get(), 1), 0);
  EXPECT_EQ(run("sleep 100"), "the mount ends; it was killed");
}

}  // namespace
}  // namespace pkgfs::test
