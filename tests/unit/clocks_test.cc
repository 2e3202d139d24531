// SPDX-License-Identifier: MIT
// Risk: after the administrator or NTP sets the clock, a lazy mount waits for hours or gives up at once. No test can
// set the clock of this machine, so this one looks for code that waits by it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// Uses of the clock that can be set, in the code that fetches and waits. They are about the times of files and of
/// server dates, and nothing waits for them.
const std::vector<std::string> kKnown{
    "core/lazy/partial_containers.h",  // when a leftover was last used
};

TEST(Clocks, NothingThatFetchesLazilyWaitsByAClockThatCanBeSet) {
  int files = 0;
  for (const char* folder : {"core/lazy", "core/net", "fuse"}) {
    for (const auto& each : fs::directory_iterator(source_directory() / folder)) {
      const std::string path = each.path().lexically_relative(source_directory());
      std::istringstream lines(read_text(each.path()));
      ++files;
      for (std::string line; std::getline(lines, line);) {
        for (const char* clock : {"system_clock", "high_resolution_clock", "CLOCK_REALTIME", "gettimeofday"}) {
          EXPECT_TRUE(line.find(clock) == std::string::npos || std::ranges::count(kKnown, path) == 1)
              << path << ": " << line;
        }
      }
    }
  }
  EXPECT_GT(files, 60);
}

}  // namespace
}  // namespace pkgfs::test
