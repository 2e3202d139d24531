// SPDX-License-Identifier: MIT
// Risk: a package from a stranger leads the resolver to files of this machine or to other servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/resolve/lock_reach.h"
#include "core/source/reach.h"
#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const DistributionInfo kHere{"file:///home/user/root.webc", "/home/user/root.webc", std::nullopt};
const DistributionInfo kThere{"https://registry.example/files/root.webc", std::nullopt, std::nullopt};

class MayDependTest : public ::testing::Test {
 protected:
  /// The error; "<resolves>" without one.
  [[nodiscard]] std::string error_of(const TestPackage& root, const DistributionInfo& dist,
                                     const Reach::Options& options = {}) {
    const Reach reach(options, nullptr);
    try {
      (void)resolve(root.info(), dist, registry_, [&](const DistributionInfo& from, const PackageSpecifier& wanted) {
        return reach.refusal(from, wanted);
      });
    } catch (const Error& error) {
      return error.what();
    }
    return "<resolves>";
  }

  TestRegistry registry_;
  TestPackage root_{named_id("zorg/root@1.0.0")};
};

TEST_F(MayDependTest, APathBelowARemotePackageIsAnErrorThatNamesTheChain) {
  registry_.add("zorg/a@1.0.0").dep("zorg/b@1");
  for (const char* path : {"/some/directory", "../x", "./x", "file:///etc"}) {
    registry_.add("zorg/b@1.0.0").dep(path, "p");
    root_ = TestPackage(named_id("zorg/root@1.0.0")).dep("zorg/a@1");
    EXPECT_THAT(error_of(root_, kHere), AllOf(HasSubstr("The package \"zorg/b@1.0.0\" may not depend on"),
                                              HasSubstr("only a package that lies on this machine"),
                                              HasSubstr("\"zorg/root@1.0.0\" → \"zorg/a@1.0.0\" → \"zorg/b@1.0.0\"")))
        << path;
    EXPECT_FALSE(registry_.asked.contains(path)) << "nothing was opened";
    EXPECT_FALSE(registry_.asked.contains("/etc"));
    registry_ = {};
    registry_.add("zorg/a@1.0.0").dep("zorg/b@1");
  }
}

TEST_F(MayDependTest, APathOfARootIsForLocalRootsOnly) {
  root_.dep("/some/directory", "p");
  EXPECT_THAT(error_of(root_, kThere), HasSubstr("may not depend on \"/some/directory\""));
  EXPECT_THAT(error_of(root_, kHere, {.registries = {}, .untrusted = true}),
              HasSubstr("may not depend on \"/some/directory\""));
  EXPECT_EQ(registry_.asked.size(), 0U);
  EXPECT_THAT(error_of(root_, kHere), HasSubstr("Unable to load \"/some/directory\"")) << "the source was asked";
}

TEST_F(MayDependTest, TheSearchAsksNoPathEither) {
  // The newest versions contradict each other, so that the second pass of the solver runs.
  registry_.add("zorg/a@2.0.0").dep("zorg/c@=2.0.0");
  registry_.add("zorg/a@1.0.0").dep("zorg/c@=1.0.0").dep("/some/directory", "p");
  registry_.add("zorg/b@1.0.0").dep("zorg/c@=1.0.0");
  registry_.add("zorg/c@1.0.0");
  registry_.add("zorg/c@2.0.0");
  root_.dep("zorg/a@*").dep("zorg/b@*");
  EXPECT_THAT(error_of(root_, kHere), HasSubstr("\"zorg/root@1.0.0\" → \"zorg/a@1.0.0\""));
  EXPECT_FALSE(registry_.asked.contains("/some/directory"));
}

TEST_F(MayDependTest, UrlsOfStrangersStayAtTheirServerAndTheRegistries) {
  const auto refusal = [](const std::string& url, const Reach::Options& options = {}) {
    return Reach(options, nullptr).refusal(kThere, PackageSpecifier::parse(url)).value_or("");
  };
  EXPECT_EQ(refusal("https://registry.example/other.webc"), "");
  for (const char* url : {"https://other.example/x.webc", "http://registry.example/x.webc",
                          "https://registry.example:444/x.webc", "http://169.254.169.254/latest"}) {
    EXPECT_THAT(refusal(url), HasSubstr("--allow-url-dependencies")) << url;
    EXPECT_EQ(refusal(url, {.registries = {}, .allow_urls = true}), "") << url;
  }
  const Reach::Options with_registry{.registries = {"https://registry.wasmer.io/graphql"}};
  EXPECT_EQ(refusal("https://registry.wasmer.io/x.webc", with_registry), "");
  EXPECT_EQ(refusal("https://wasmer.io/x.webc", with_registry), "") << "where it has its downloads";
  EXPECT_NE(refusal("http://wasmer.io/x.webc", with_registry), "") << "not encrypted";
  EXPECT_EQ(Reach({}, nullptr).refusal(kHere, PackageSpecifier::parse("https://any.example/x")), std::nullopt);
}

TEST_F(MayDependTest, ACopyOfADownloadIsNoLocalPackage) {
  const DistributionInfo copy{"file:///cache/checkouts/AA.bin", std::nullopt, sha256("x")};
  EXPECT_TRUE(Reach({}, nullptr).refusal(copy, PackageSpecifier::parse("/etc")));
  const DistributionInfo by_url{"https://a.example/x", "/cache/downloads/AA", std::nullopt};
  EXPECT_TRUE(Reach({}, nullptr).refusal(by_url, PackageSpecifier::parse("/etc")));
}

TEST(LockReach, ADirectoryMustBeNamedByItsPath) {
  const TempDir dir;
  const std::string path = dir.path().string();
  const PackageSummary directory{TestPackage(named_id("z/dir@1.0.0")).info(), {"file://" + path, path, std::nullopt}};
  const auto lock = [&](const std::string& specifier) {
    TestPackage root(named_id("z/root@1.0.0"));
    root.dep(specifier, "d");
    LockFile lock;
    lock.packages = {{{root.info(), kHere}, {"z/dir@1.0.0"}}, {directory, {}}};
    return parse_lock(print_lock(lock));
  };
  try {
    check_lock_reach(lock("z/dir@1"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("\"z/root@1.0.0\" depends on \"z/dir@^1\""), HasSubstr(path)));
  }
  EXPECT_THROW(check_lock_reach(lock("/usr")), Error) << "another directory than the one that the package names";
  EXPECT_NO_THROW(check_lock_reach(lock(path)));
}

}  // namespace
}  // namespace pkgfs::test
