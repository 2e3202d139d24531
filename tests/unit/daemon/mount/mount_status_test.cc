// SPDX-License-Identifier: MIT
// Risk: a file system of another user that claims to be a mount of pkgfs breaks the commands that ask it.
#include "daemon/mount/mount_status.h"

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

std::optional<LazyStatus> lazy_of(const char* lazy) {
  MountStatus mount;
  mount.statistics = nlohmann::ordered_json{{"lazy", nlohmann::ordered_json::parse(lazy)}};
  return mount.lazy();
}

TEST(LazyStatusText, SaysHowMuchIsLocalAndWhatIsWrong) {
  const auto lazy = lazy_of(R"({"state":"lazy","bytes":2097152,"local":1048575,"background":true})");
  ASSERT_TRUE(lazy);
  EXPECT_FALSE(lazy->whole);
  EXPECT_TRUE(lazy->in_background);
  EXPECT_EQ(lazy->percent(), 49U) << "never too much";
  EXPECT_EQ(lazy->text(), "lazy 49 %: 1024.0 KiB of 2.0 MiB are local");
  EXPECT_EQ(lazy_of(R"({"state":"lazy","bytes":10,"local":5,"problem":"no answer"})")->text(),
            "lazy 50 %: 5 bytes of 10 bytes are local; no answer");
  EXPECT_TRUE(lazy_of(R"({"state":"whole","bytes":2,"local":2})")->whole);
}

TEST(LazyStatusText, TakesOnlyValuesOfTheRightKind) {
  EXPECT_FALSE(MountStatus().lazy());
  for (const char* none : {"3", "null", "[]", "\"whole\""}) {
    EXPECT_FALSE(lazy_of(none)) << none;
  }
  for (const char* odd : {"{}", R"({"state":7,"bytes":-1,"local":1e300,"problem":{},"background":"true"})",
                          R"({"state":["whole"],"bytes":"9","local":null,"problem":3})"}) {
    const auto lazy = lazy_of(odd);
    ASSERT_TRUE(lazy) << odd;
    EXPECT_FALSE(lazy->whole) << odd;
    EXPECT_FALSE(lazy->in_background) << odd;
    EXPECT_EQ(lazy->percent(), 0U) << odd;
    EXPECT_EQ(lazy->problem, "") << odd;
  }
  EXPECT_EQ(lazy_of(R"({"bytes":2,"local":18446744073709551615})")->percent(), 100U);
}

}  // namespace
}  // namespace pkgfs
