// SPDX-License-Identifier: MIT
// Risk: the daemon takes more memory than its control group allows, and the kernel kills it.
#include "daemon/packages/memory_budget.h"

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

TEST(ControlGroupLimit, IsTheLowestUpTheTreeOfVersion2) {
  const test::TempDir root;
  root.write("proc/self/cgroup", "0::/a/b\n");
  root.write("sys/fs/cgroup/a/b/memory.max", "max\n");
  root.write("sys/fs/cgroup/a/memory.max", "67108864\n");
  EXPECT_EQ(control_group_limit(root.path()), 64 * kMiB);
  root.write("sys/fs/cgroup/a/b/memory.max", "33554432\n");
  EXPECT_EQ(control_group_limit(root.path()), 32 * kMiB);
  root.write("sys/fs/cgroup/memory.max", "16777216\n");  // the root of a group name space
  EXPECT_EQ(control_group_limit(root.path()), 16 * kMiB);
}

TEST(ControlGroupLimit, IsThatAboveWhichTheKernelSlowsTheGroupDown) {
  const test::TempDir root;
  root.write("proc/self/cgroup", "0::/a/b\n");
  root.write("sys/fs/cgroup/a/b/memory.max", "67108864\n");
  root.write("sys/fs/cgroup/a/b/memory.high", "max\n");
  EXPECT_EQ(control_group_limit(root.path()), 64 * kMiB);
  root.write("sys/fs/cgroup/a/memory.high", "33554432\n");
  EXPECT_EQ(control_group_limit(root.path()), 32 * kMiB);
  root.write("proc/self/cgroup", "4:memory:/x\n");
  root.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "134217728\n");
  root.write("sys/fs/cgroup/memory/x/memory.soft_limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(control_group_limit(root.path()), 128 * kMiB);
  root.write("sys/fs/cgroup/memory/x/memory.soft_limit_in_bytes", "16777216\n");
  EXPECT_EQ(control_group_limit(root.path()), 16 * kMiB);
}

TEST(ControlGroupLimit, IsThatOfTheMemoryControllerOfVersion1) {
  const test::TempDir root;
  root.write("proc/self/cgroup", "5:cpu,cpuacct:/c\n4:memory:/docker/x\n0::/\n");
  root.write("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "134217728\n");
  EXPECT_EQ(control_group_limit(root.path()), 128 * kMiB);
}

TEST(ControlGroupLimit, IsNothingWhereNothingCanBeRead) {
  const test::TempDir root;
  EXPECT_EQ(control_group_limit(root.path()), std::nullopt);
  root.write("proc/self/cgroup", "nonsense\n0::/../../..\n:\n");
  EXPECT_EQ(control_group_limit(root.path()), std::nullopt);
}

TEST(DirectoryMemory, LeavesRoomForTenMounts) {
  EXPECT_EQ(directory_memory(std::nullopt, std::nullopt), 32 * kMiB);
  EXPECT_EQ(directory_memory(std::nullopt, 256 * kMiB), 16 * kMiB);
  EXPECT_EQ(directory_memory(std::nullopt, 4 * kMiB), kMiB);
  EXPECT_EQ(directory_memory(std::nullopt, ~std::uint64_t{0}), 32 * kMiB);
  EXPECT_EQ(directory_memory(5 * kMiB, 4 * kMiB), 5 * kMiB);
}

}  // namespace
}  // namespace pkgfs
