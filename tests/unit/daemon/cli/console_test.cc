// SPDX-License-Identifier: MIT
#include "daemon/cli/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "daemon/cli/progress.h"

namespace pkgfs::test {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Console, CutsWholeCodePoints) {
  EXPECT_EQ(fit_beginning("äöü", 2), "äö");
  EXPECT_EQ(fit_end("äöü", 2), "öü");
  EXPECT_EQ(fit_beginning("日本", 3), "日") << "drawn wide";
  EXPECT_EQ(columns_of("…日ä"), 4U);
  EXPECT_EQ(fit_end("abc", 9), "abc");
}

TEST(Console, LinesGoAboveTheBlock) {
  std::ostringstream err;
  const auto console = Console::of(err);
  EXPECT_EQ(console, Console::of(err)) << "all who write to a stream share one";
  console->draw("", {"one", "two"});
  console->print("warning\n");
  console->draw("", {});
  EXPECT_EQ(err.str(), "one\ntwo\n\033[2A\033[Jwarning\none\ntwo\n\033[2A\033[J");
}

TEST(Progress, SecondEndOfADownloadIsIgnored) {
  std::ostringstream err;
  ProgressPrinter printer(err, false);
  printer.started("a", 0, 10);
  printer.finished("a", 10, true);
  printer.finished("a", 10, true);
  EXPECT_THAT(err.str(), HasSubstr("downloaded a"));
  EXPECT_EQ(err.str().find("downloaded a"), err.str().rfind("downloaded a"));

  std::ostringstream out;
  {
    ProgressEvents events(out);
    events.started("a", 0, 10);
    events.finished("a", 10, false);
    events.finished("a", 10, true);
  }
  EXPECT_THAT(out.str(), HasSubstr("failed"));
  EXPECT_THAT(out.str(), Not(HasSubstr("finished")));
}

}  // namespace
}  // namespace pkgfs::test
