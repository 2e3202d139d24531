// SPDX-License-Identifier: MIT
#include "daemon/commands/mount_helper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "daemon/cli/exit_code.h"

namespace pkgfs {
namespace {

using ::testing::ElementsAre;

TEST(MountHelper, IsKnownByNameAndByForm) {
  EXPECT_TRUE(is_mount_helper({"/sbin/mount.pkgfs", "mount", "/mnt"}));
  EXPECT_TRUE(is_mount_helper({"mount.fuse.pkgfs"}));
  EXPECT_TRUE(is_mount_helper({"pkgfs", "acme/app", "/mnt", "-o", "ro"}));
  EXPECT_TRUE(is_mount_helper({"/usr/bin/pkgfs", "acme/app", "/mnt", "-n", "-oro"}));
  EXPECT_FALSE(is_mount_helper({}));
  EXPECT_FALSE(is_mount_helper({"pkgfs"}));
  EXPECT_FALSE(is_mount_helper({"pkgfs", "mount", "acme/app", "/mnt", "-o", "ro"}));
  EXPECT_FALSE(is_mount_helper({"pkgfs", "cat", "acme/app", "-o", "ro"})) << "a command's name";
  EXPECT_FALSE(is_mount_helper({"pkgfs", "help", "mount", "-o", "ro"}));
  EXPECT_FALSE(is_mount_helper({"pkgfs", "moutn", "acme/app", "/mnt", "-o", "ro"})) << "a misspelt command";
  EXPECT_FALSE(is_mount_helper({"pkgfs", "acme/app", "/mnt", "-f"}));
  EXPECT_FALSE(is_mount_helper({"pkgfs", "acme/app", "/mnt"}));
  EXPECT_FALSE(is_mount_helper({"pkgfs", "-o", "ro", "acme/app", "/mnt"}));
}

TEST(MountHelper, TakesLettersTogetherAndApart) {
  const HelperArguments apart =
      parse_helper_arguments({"pkg", "/m", "-s", "-f", "-n", "-v", "-o", "a,b", "-t", "x", "-N", "/ns", "-o", "c"});
  const HelperArguments together = parse_helper_arguments({"-sfnvoa,b", "pkg", "-tx", "-N/ns", "-oc", "--", "/m"});
  for (const HelperArguments& parsed : {apart, together}) {
    EXPECT_TRUE(parsed.sloppy && parsed.fake && parsed.verbose);
    EXPECT_THAT(parsed.mount_words, ElementsAre("a,b", "c"));
    EXPECT_EQ(parsed.mount_namespace, "/ns");
    EXPECT_EQ(parsed.package, "pkg");
    EXPECT_EQ(parsed.mountpoint, "/m");
  }
  EXPECT_EQ(parse_helper_arguments({"--", "-pkg", "-m"}).package, "-pkg");
}

TEST(MountHelper, ExitCodesOfMountCoverAllOfOurs) {
  std::set<int> codes;
  for (const ExitCode& code : exit_codes()) {
    codes.insert(to_mount_exit_code(code.number));
  }
  EXPECT_THAT(codes, ElementsAre(0, 1, 2, 4, 8, 32));
  EXPECT_EQ(to_mount_exit_code(to_exit_code(ErrorCode::kUsage)), 1);
  EXPECT_EQ(to_mount_exit_code(to_exit_code(ErrorCode::kPermission)), 1);
  EXPECT_EQ(to_mount_exit_code(to_exit_code(ErrorCode::kNotFound)), 32);
  EXPECT_EQ(to_mount_exit_code(to_exit_code(ErrorCode::kNetwork)), 32);
}

}  // namespace
}  // namespace pkgfs
