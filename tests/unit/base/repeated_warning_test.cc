// SPDX-License-Identifier: MIT
// Risk: a package with 20,000 faults prints 20,000 lines, or a line of a megabyte.
#include "core/base/repeated_warning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/base/limit_error.h"
#include "core/base/printable.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RepeatedWarningTest, TheFirstThreeAndTheCount) {
  const test::CapturedLog log;
  RepeatedWarning warning("commands are broken");
  for (int i = 1; i <= 20; ++i) {
    warning.add("the command {}.", i);
  }
  warning.end();
  warning.end();
  EXPECT_THAT(log.text(), HasSubstr("the command 3."));
  EXPECT_THAT(log.text(), Not(HasSubstr("the command 4.")));
  const std::string rest = "and 17 more commands are broken (20 in all)";
  EXPECT_THAT(log.text(), HasSubstr(rest));
  EXPECT_EQ(log.text().find(rest), log.text().rfind(rest)) << "said twice";
}

TEST(RepeatedWarningTest, ThreeAreAllToldWithoutACount) {
  const test::CapturedLog log;
  RepeatedWarning warning("commands are broken");
  for (int i = 1; i <= 3; ++i) {
    warning.add("the command {}.", i);
  }
  warning.end();
  EXPECT_THAT(log.text(), HasSubstr("the command 3."));
  EXPECT_THAT(log.text(), Not(HasSubstr("more")));
}

TEST(LimitError, NamesPackageLimitAndValue) {
  const auto error = [](std::size_t value, const limits::PackageLimits& set) {
    return limit_error("acme/app@1.0.0", "mappings in a tree", value, set, &limits::PackageLimits::mappings);
  };
  const Error local = error(10'001, limits::kLocal);
  EXPECT_STREQ(
      local.what(),
      "The \"acme/app@1.0.0\" package exceeds the limit of 10000 mappings in a tree for local packages: 10001");
  const Error strange = error(1'001, limits::kStranger);
  EXPECT_STREQ(strange.what(),
               "The \"acme/app@1.0.0\" package exceeds the limit of 1000 mappings in a tree for packages of strangers: "
               "1001\n  caused by: local packages may have 10000: a package file is one if the command line names it "
               "without --untrusted");
  EXPECT_EQ(error(10'001, limits::kStranger).chain().size(), 1U) << "no set has room for so many";
  EXPECT_EQ(strange.code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace pkgfs
