// SPDX-License-Identifier: MIT
// Risk: a daemon can't go on with a mount because its package file was removed, or takes a name for a path.
#include "daemon/packages/fresh_tree.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/error.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

TEST(FreshTreeTest, APathThatIsGoneStaysAPathForAMountThatExists) {
  const TempDir dir;
  const std::string there = dir.write("there.webc", "");
  const std::string gone = dir.path() / "gone.webc";
  for (const auto decide : {FreshTree::decide, FreshTree::decide_later}) {
    EXPECT_EQ(decide(there, dir.path()), there);
    EXPECT_EQ(decide("file://" + there, dir.path()), there);
    EXPECT_EQ(decide("acme/app@^2", dir.path()), "acme/app@^2");
    EXPECT_EQ(decide("https://example.com/app.webc", dir.path()), "https://example.com/app.webc");
  }
  for (const std::string& text : {gone, "file://" + gone, std::string("gone.webc"), std::string("./gone.webc")}) {
    EXPECT_THROW((void)FreshTree::decide(text, dir.path()), Error) << text;
    EXPECT_EQ(FreshTree::decide_later(text, dir.path()), gone);
  }
  EXPECT_EQ(FreshTree::decide_later("a/b/c", "/srv"), "/srv/a/b/c") << "no name has this form";
}

}  // namespace
}  // namespace pkgfs::test
