// SPDX-License-Identifier: MIT
// Risk: a mount on an entry isn't seen, so that a new version detaches it.
#include "daemon/mount/covered_names.h"

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

using Names = std::set<std::string>;

Names names_in(std::string_view mountinfo) {
  Names names;
  add_covered_names(mountinfo, "0:53", names);
  return names;
}

TEST(CoveredNames, AreThoseOfTheRootWithAMountOnOrBelowThem) {
  EXPECT_EQ(names_in("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
                     "30 21 0:53 / /mnt/app ro - fuse.pkgfs acme/app ro\n"
                     "31 30 8:1 /x /mnt/app/data rw - ext4 /dev/sda1 rw\n"
                     "32 30 8:1 /x /mnt/app/lib/a/b rw - ext4 /dev/sda1 rw\n"
                     "33 30 8:1 /x /mnt/app/two\\040words rw - ext4 /dev/sda1 rw\n"
                     "34 21 8:1 /x /mnt/other rw - ext4 /dev/sda1 rw\n"),
            (Names{"data", "lib", "two words"}));
}

TEST(CoveredNames, AreFoundBelowABindOfADirectory) {
  EXPECT_EQ(names_in("30 21 0:53 /lib /srv/lib ro - fuse.pkgfs acme/app ro\n"
                     "31 30 8:1 /x /srv/lib/deep rw - ext4 /dev/sda1 rw\n"),
            Names{"lib"});
}

TEST(CoveredNames, AreNotThoseOfAnOlderVersionOrOfAMountOverAll) {
  EXPECT_EQ(names_in("30 21 0:53 /lib//deleted /srv/lib ro - fuse.pkgfs acme/app ro\n"
                     "31 30 8:1 /x /srv/lib/deep rw - ext4 /dev/sda1 rw\n"
                     "40 21 0:53 / /mnt/app ro - fuse.pkgfs acme/app ro\n"
                     "41 40 8:1 /x /mnt/app rw - ext4 /dev/sda1 rw\n"
                     "bad line\n"),
            Names{});
}

}  // namespace
}  // namespace pkgfs
