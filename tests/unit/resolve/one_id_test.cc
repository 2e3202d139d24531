// SPDX-License-Identifier: MIT
// Risk: two sources have different packages with one id, and the tree gets the one that nothing in it asks for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/resolve/solver.h"
#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kUrl = "https://host/lib.webc";

class OneId : public testing::Test {
 protected:
  TestPackage& at_url(const std::string& id = "lib@1.0.0", const std::string& url = kUrl) {
    return registry_.elsewhere.try_emplace(url, named_id(id)).first->second.url(url);
  }
  /// The URL of the package with this id in the tree.
  static std::string url_of(const Resolution& resolution, const char* id) {
    const auto node = resolution.graph.find(named_id(id));
    return node ? resolution.graph.nodes[*node].dist->url : "";
  }

  TestRegistry registry_;
  CapturedLog quiet_;
};

/// `a@2` makes the registry's lib known, and is ruled out then.
void add_registrys_lib(TestRegistry& registry) {
  registry.add("root@1.0.0").dep("a@*").dep("mid@*");
  registry.add("a@2.0.0").dep("lib@^1").dep("ghost@*");
  registry.add("a@1.0.0");
  registry.add("mid@1.0.0").dep(kUrl, "lib");
}

TEST_F(OneId, TheTreeGetsThePackageThatItAsksFor) {
  add_registrys_lib(registry_);
  registry_.add("lib@1.0.0").command("registry");
  at_url().command("url");
  const Resolution resolution = registry_.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0", "a@1.0.0", "mid@1.0.0", "lib@1.0.0"));
  EXPECT_EQ(url_of(resolution, "lib@1.0.0"), kUrl);
  EXPECT_EQ(resolution.package.commands.count("url"), 1U);
  EXPECT_EQ(resolution.package.commands.count("registry"), 0U);
}

TEST_F(OneId, WithTheDependenciesThatItHas) {
  add_registrys_lib(registry_);
  registry_.add("lib@1.0.0").dep("registry@*");
  registry_.add("registry@1.0.0");
  registry_.add("url@1.0.0");
  at_url().dep("url@*");
  const Resolution resolution = registry_.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0", "a@1.0.0", "mid@1.0.0", "lib@1.0.0", "url@1.0.0"));
  EXPECT_EQ(url_of(resolution, "lib@1.0.0"), kUrl);
}

TEST_F(OneId, WhatRulesOutTheOtherPackageDoesntCount) {
  add_registrys_lib(registry_);
  registry_.add("lib@1.0.0").dep("ghost@*");
  at_url();
  EXPECT_EQ(url_of(registry_.resolve("root"), "lib@1.0.0"), kUrl);
}

// As in pass 1: a later dependency on the same id leads to the package that is in the tree.
TEST_F(OneId, TheFirstOneInTheTreeSatisfiesBoth) {
  add_registrys_lib(registry_);
  registry_.add("mid@2.0.0").dep("lib@^1").dep(kUrl, "url").dep("late@*");
  registry_.add("late@2.0.0").dep("ghost@*");
  registry_.add("late@1.0.0");
  registry_.add("lib@1.0.0").dep("registry@*");
  registry_.add("registry@1.0.0");
  at_url().dep("ghost@*");
  const Resolution resolution = registry_.resolve("root");
  EXPECT_THAT(ids(resolution),
              ElementsAre("root@1.0.0", "a@1.0.0", "mid@2.0.0", "lib@1.0.0", "late@1.0.0", "registry@1.0.0"));
  EXPECT_EQ(url_of(resolution, "lib@1.0.0"), "http://example.com/lib@1.0.0");
}

// The registry's lib can't be had, so mid@2, which asks for it first, is no choice.
TEST_F(OneId, ADependencyNeverTakesThePackageOfALaterOne) {
  add_registrys_lib(registry_);
  registry_.add("mid@2.0.0").dep("lib@^1").dep(kUrl, "url");
  registry_.add("lib@1.0.0").dep("ghost@*");
  at_url();
  const Resolution resolution = registry_.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0", "a@1.0.0", "mid@1.0.0", "lib@1.0.0"));
  EXPECT_EQ(url_of(resolution, "lib@1.0.0"), kUrl);
}

TEST_F(OneId, WithoutATreeTheExplanationEnds) {
  registry_.add("root@1.0.0").dep("mid@*");
  registry_.add("mid@1.0.0").dep("lib@^1").dep(kUrl, "url");
  registry_.add("lib@1.0.0").dep("ghost@*");
  at_url();
  const auto chain = error_chain([&] { return registry_.resolve("root"); });
  ASSERT_GE(chain.size(), 3U);
  EXPECT_EQ(chain[0], "Unable to find \"ghost@*\" in the registry");
  EXPECT_THAT(chain[2], HasSubstr("no choice of versions"));
}

// Risk: the hash of a package without a name is another package's name.
TEST_F(OneId, AHashIsNoName) {
  const std::string hash = PackageHash(sha256("x")).to_string();
  registry_.add("root@1.0.0").dep("first@*").dep("a@*");
  registry_.add("first@2.0.0").dep("https://host/x.webc", "x").dep("https://host/y.webc", "y").dep("nothing@*");
  registry_.add("first@1.0.0");
  registry_.add("a@2.0.0").dep("https://host/x.webc", "x");
  registry_.add("a@1.0.0").dep("https://host/y.webc", "y");
  registry_.elsewhere.try_emplace("https://host/x.webc", PackageHash(sha256("x"))).first->second.dep("ghost@*");
  at_url(hash + "@1.0.0", "https://host/y.webc").dep("ghost@*");
  const auto chain = error_chain([&] { return registry_.resolve("root"); });
  ASSERT_GE(chain.size(), 3U);
  EXPECT_THAT(chain[0], HasSubstr("Unable to find"));
  EXPECT_THAT(chain[2], HasSubstr("no choice of versions"));
}

}  // namespace
}  // namespace pkgfs::test
