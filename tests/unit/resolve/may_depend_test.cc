// SPDX-License-Identifier: MIT
// Risk: a package from a stranger leads the resolver to files of this machine or to other servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/net/address_policy.h"
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

// Risk: a lock file of a stranger gives its packages the rights of the user's own, or names servers for registries.
TEST(LockReach, ALockFileAloneMakesNoLocalPackage) {
  const TempDir dir;
  dir.write("registry/a/b.webc", "b");
  dir.write("registry2/b.webc", "b");
  const auto path = [&](const std::string& name) { return (dir.path() / name).string(); };
  Reach reach({.registries = {}, .directories = {path("gone"), path("registry/")}}, nullptr);
  const auto refusal = [&](const std::string& name, bool by_path, const std::string& wanted) {
    const DistributionInfo locked{"file://" + path(name), path(name), sha256("b")};
    EXPECT_EQ(reach.refusal_of_lock(locked, by_path), std::nullopt);
    return reach.refusal(locked, PackageSpecifier::parse(wanted)).value_or("");
  };
  for (const char* name : {"registry/../registry2/b.webc", "registry2/b.webc", "registry/gone"}) {
    EXPECT_THAT(refusal(name, false, "/etc"), HasSubstr("only a lock file says that this package lies")) << name;
    EXPECT_THAT(refusal(name, false, "https://a.example/x"), HasSubstr("--allow-url-dependencies")) << name;
    EXPECT_EQ(refusal(name, true, "/etc"), "") << "the user named its path";
  }
  EXPECT_EQ(refusal("registry/a/b.webc", false, "/etc"), "") << "the user named the directory";
}

TEST(LockReach, ARegistryMustBeInTheSettings) {
  AddressPolicy addresses;
  const std::string endpoint = "http://registry.corp/graphql";
  addresses.name(endpoint);
  Reach reach({.registries = {endpoint}}, &addresses);
  DistributionInfo locked{"http://files.corp/x", std::nullopt, sha256("x")};
  const auto refusal = [&] { return reach.refusal_of_lock(locked, false).value_or(""); };
  const auto reaches = [&] { return !addresses.refusal({locked.url, locked.url}, Address::parse("10.0.0.2")->get()); };
  addresses.connected({endpoint, endpoint}, Address::parse("10.0.0.1")->get());
  EXPECT_EQ(refusal(), "") << "its id is its own";
  EXPECT_FALSE(reaches()) << "no registry announced it";
  locked.registry = "https://other.example/graphql";
  EXPECT_THAT(refusal(), HasSubstr("--registry=https://other.example/graphql adds it"));
  EXPECT_FALSE(reaches());
  locked.registry = endpoint;
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(reaches()) << "as without the lock file";
  locked.path = "/etc/passwd";
  EXPECT_THAT(refusal(), HasSubstr("has no file of this machine"));
  locked.registry = "/srv/registry";
  EXPECT_EQ(refusal(), "");
}

}  // namespace
}  // namespace pkgfs::test
