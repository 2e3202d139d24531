// SPDX-License-Identifier: MIT
// Risk: a package without files can't be used as a dependency, or its user doesn't learn why nothing shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

using test::run;
using ::testing::HasSubstr;
using ::testing::Not;

/// A version 2 container without an `fs` annotation and without a volume `atom`, as a dependency and as a root.
class AssumedMapping : public ::testing::Test {
 protected:
  test::TempDir dir_;
  const std::string container_ = (test::fixtures() / "webc/nothing-v2.webc").string();
  const std::string registry_ = (dir_.path() / "registry").string();
  const std::string app_ = (dir_.path() / "app").string();
  const std::string assumed_ = "its manifest has no \"fs\" annotation, so that the mapping of this volume";

  void SetUp() override {
    dir_.write("registry/acme/js/1.2.0.webc", test::read_text(container_));
    dir_.write("app/wasmer.toml", "[dependencies]\n\"acme/js\" = \"*\"\n[fs]\n\"/src\" = \"src\"\n");
    dir_.write("app/src/index.js", "x");
  }
};

TEST_F(AssumedMapping, OfADependencyIsAWarning) {
  const auto result = run({"ls", "--registry", registry_, app_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "src\n");
  EXPECT_THAT(result.err, HasSubstr("pkgfs: warning: The \"acme/js@1.2.0\" package doesn't have a \"atom\" volume"));
  EXPECT_THAT(result.err, HasSubstr(assumed_));
}

TEST_F(AssumedMapping, OfADependencyIsAnErrorWithStrict) {
  const auto result = run({"ls", "--strict", "--registry", registry_, app_});
  EXPECT_EQ(result.code, 7) << result.err;
  EXPECT_THAT(result.err, HasSubstr(assumed_));
}

TEST_F(AssumedMapping, OfTheRootIsAnErrorThatSaysSo) {
  const auto result = run({"ls", container_});
  EXPECT_EQ(result.code, 7) << result.err;
  EXPECT_THAT(result.err, HasSubstr("doesn't have a \"atom\" volume\n  caused by: " + assumed_));
  EXPECT_THAT(result.err, HasSubstr("--strict=no shows an empty tree"));
  const auto lenient = run({"ls", "--strict=no", container_});
  EXPECT_EQ(lenient.code, 0) << lenient.err;
  EXPECT_EQ(lenient.out, "");
  EXPECT_THAT(lenient.err, HasSubstr("warning: "));
}

TEST_F(AssumedMapping, ALockedDependencyIsAWarningToo) {
  const std::string lock = (dir_.path() / "app.lock").string();
  ASSERT_EQ(run({"resolve", "--lock", lock, "--registry", registry_, app_}).code, 0);
  const auto result = run({"ls", "--lock", lock, app_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr(assumed_));
}

TEST_F(AssumedMapping, AVolumeThatAManifestNamesIsNotAssumed) {
  const std::string set = (test::fixtures() / "registry/fserr-v2").string();
  const auto result = run({"ls", "--strict=no", "--registry", set, "acme/depnovol@1.0.0"});
  EXPECT_EQ(result.code, 7) << result.err;
  EXPECT_THAT(result.err, Not(HasSubstr("annotation")));
}

}  // namespace
}  // namespace pkgfs
