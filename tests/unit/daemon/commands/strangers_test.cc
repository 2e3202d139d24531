// SPDX-License-Identifier: MIT
// Risk: a small package of a stranger makes a command take seconds, or fills the terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "core/base/limits.h"
#include "tests/support/containers/bulk_package.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

using test::BulkPackage;
using test::deep_path;
using test::nested_paths;
using test::numbered;
using test::run;
using ::testing::HasSubstr;

/// An optimised build needs less than a tenth of a second.
constexpr double kSeconds = 10;

/// The commands that show or check a tree.
std::vector<std::vector<std::string>> tree_commands(const std::string& package, const test::TempDir& dir) {
  return {{"tree", "--offline", package},
          {"ls", "--offline", package},
          {"verify", "--offline", package},
          {"extract", "--offline", package, (dir.path() / "out").string()}};
}

test::Run in_time(const std::vector<std::string>& command) {
  const std::clock_t start = std::clock();
  test::Run result = run(command);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, kSeconds) << command.front();
  return result;
}

TEST(Strangers, NestedMappingsAreShown) {
  const test::TempDir dir;
  const std::string package = BulkPackage{.mount_paths = nested_paths(249)}.write(dir.path());
  for (const auto& command : tree_commands(package, dir)) {
    EXPECT_EQ(in_time(command).code, 0) << command.front();
  }
  EXPECT_EQ(in_time({"inspect", package}).code, 0);
}

TEST(Strangers, ADeepMappingIsRefused) {
  const test::TempDir dir;
  const std::string package = BulkPackage{.mount_paths = {deep_path(50'000)}}.write(dir.path());
  for (const auto& command : tree_commands(package, dir)) {
    const test::Run result = in_time(command);
    EXPECT_EQ(result.code, 5) << command.front();
    EXPECT_THAT(result.err, HasSubstr("The \"acme/x@1.0.0\" package exceeds the limit of 4096 bytes in the path of a "
                                      "mapping for local packages: 100000"));
    EXPECT_LT(result.err.size(), 300U);
  }
  EXPECT_EQ(in_time({"inspect", package}).code, 0);
}

TEST(Strangers, BrokenCommandsAreToldOnce) {
  const test::TempDir dir;
  const std::string package =
      BulkPackage{.mount_paths = {"/"}, .commands = numbered("c", limits::kCommands)}.write(dir.path());
  for (const auto& command : tree_commands(package, dir)) {
    const test::Run result = in_time(command);
    EXPECT_EQ(result.code, 0) << command.front() << result.err;
    EXPECT_LT(std::ranges::count(result.err, '\n'), 6) << command.front();
  }
  EXPECT_THAT(in_time({"ls", "--offline", package}).err,
              HasSubstr("and 19997 more commands are broken (20000 in all)"));
  EXPECT_EQ(in_time({"inspect", package}).code, 0);
}

}  // namespace
}  // namespace pkgfs
