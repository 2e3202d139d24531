// SPDX-License-Identifier: MIT
#include "core/vfs/path_text.h"

#include <gtest/gtest.h>

namespace pkgfs::vfs {
namespace {

TEST(PathText, CoversAndBelow) {
  EXPECT_TRUE(path_covers("/", "/a"));
  EXPECT_TRUE(path_covers("/a", "/a/b"));
  EXPECT_TRUE(path_covers("/a", "/a"));
  EXPECT_FALSE(path_covers("/a", "/ab"));
  EXPECT_EQ(path_below("/a", "/a/b/c"), "/b/c");
  EXPECT_EQ(path_below("/a", "/a"), "/");
  EXPECT_EQ(path_below("/", "/a"), "/a");
}

TEST(PathText, NumbersAvoidTheReservedOnes) {
  EXPECT_NE(path_number(1, "a"), path_number(1, "b"));
  EXPECT_NE(path_number(1, "a"), path_number(2, "a"));
  EXPECT_EQ(path_number(1, "a"), path_number(1, "a"));
  EXPECT_EQ(path_number(7, "x") >> 63U, 0U);
  EXPECT_EQ(host_number(1, 2) >> 63U, 1U);
}

struct LinkCase {
  const char* target;
  const char* dir;
  const char* mount;
  const char* source;
  const char* shown;  // null: as stored
};

class ClampLink : public testing::TestWithParam<LinkCase> {};

// docs/rules/filesystem.md, 9.4.
TEST_P(ClampLink, StaysInside) {
  const LinkCase& c = GetParam();
  const auto shown = clamp_link(c.target, c.dir, {c.mount, c.source});
  if (c.shown == nullptr) {
    EXPECT_FALSE(shown) << *shown;
  } else {
    ASSERT_TRUE(shown);
    EXPECT_EQ(*shown, c.shown);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ClampLink,
    testing::Values(LinkCase{"real.txt", "/data", "/data", "/", nullptr},       // inside
                    LinkCase{"../real.txt", "/data/d", "/data", "/", nullptr},  // up, inside
                    LinkCase{"../x", "/www", "/www", "/pub", nullptr},          // out of the mapping, in the volume
                    LinkCase{"../../x", "/data/d", "/data", "/", "../x"},       // above the volume root
                    LinkCase{"../../../etc/passwd", "/d", "/d", "/", "etc/passwd"},  // far above
                    LinkCase{"/etc/passwd", "/data/d", "/data", "/", "../etc/passwd"},
                    LinkCase{"/etc/passwd", "/", "/", "/", "etc/passwd"},
                    LinkCase{"/pub/css/a", "/www/x", "/www", "/pub", "../css/a"},  // below the source path
                    LinkCase{"/priv/k", "/www", "/www", "/pub", "priv/k"},         // beside it: the mount path + target
                    LinkCase{"/", "/data/d", "/data", "/", ".."}, LinkCase{"/", "/data", "/data", "/", "."},
                    LinkCase{"a/../../../b", "/m", "/m", "/", "b"},
                    LinkCase{"../../x", "/m", "/m", "/a/b/c", "a/x"},  // in the volume, but above the mount's root
                    LinkCase{"./x", "/m", "/m", "/", nullptr}));

}  // namespace
}  // namespace pkgfs::vfs
