// SPDX-License-Identifier: MIT
#include "core/resolve/solver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

TEST(Solver, RootAlone) {
  TestRegistry registry;
  registry.add("root@1.0.0");
  const Resolution resolution = registry.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0"));
  EXPECT_FALSE(resolution.graph.nodes[0].dist);
  EXPECT_EQ(resolution.package.root.to_string(), "root@1.0.0");
}

TEST(Solver, OneDependency) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("ns/dep@^1", "it");
  registry.add("ns/dep@1.0.0");
  const Resolution resolution = registry.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0", "ns/dep@1.0.0"));
  EXPECT_EQ(resolution.graph.follow(0, "it"), 1U);
  EXPECT_EQ(resolution.graph.follow(0, "ns/dep"), std::nullopt);
  EXPECT_EQ(resolution.graph.find(named_id("ns/dep@1.0.0")), 1U);
  EXPECT_EQ(resolution.graph.find(named_id("ns/dep@1.0.1")), std::nullopt);
  ASSERT_TRUE(resolution.graph.nodes[1].dist);
  EXPECT_EQ(resolution.graph.nodes[1].dist->url, "http://example.com/ns/dep@1.0.0");
}

TEST(Solver, ChainOfThree) {
  TestRegistry registry;
  registry.add("first@1.0.0").dep("second@^1");
  registry.add("second@1.0.0").dep("third@^1");
  registry.add("third@1.0.0");
  EXPECT_THAT(topological_ids(registry.resolve("first")), ElementsAre("first@1.0.0", "second@1.0.0", "third@1.0.0"));
}

TEST(Solver, TakesTheNewestMatch) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("dep@^1.0.0");
  for (const char* id : {"dep@1.0.1", "dep@1.0.2", "dep@1.0.0", "dep@2.0.0", "dep@1.1.0-rc.1"}) {
    registry.add(id);
  }
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "dep@1.0.2"));
}

TEST(Solver, OfEqualPrecedenceTheLastWins) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("dep@^1");
  registry.add("dep@1.0.0+b");
  registry.add("dep@1.0.0+a");
  registry.add("dep@1.0.0");
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "dep@1.0.0+b"));
}

TEST(Solver, UnifiesTwoRequirements) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*");
  registry.add("a@1.0.0").dep("common@^1.0.0");
  registry.add("b@1.0.0").dep("common@>1.1, <1.3");
  for (const char* id : {"common@1.0.0", "common@1.1.0", "common@1.2.0", "common@1.3.0"}) {
    registry.add(id);
  }
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "a@1.0.0", "b@1.0.0", "common@1.2.0"));
}

TEST(Solver, UnifiesWithADeeperRequirement) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("common@^1.0.0").dep("a@*");
  registry.add("a@1.0.0").dep("b@*");
  registry.add("b@1.0.0").dep("common@>1.1, <1.3");
  for (const char* id : {"common@1.0.0", "common@1.2.0", "common@1.3.0"}) {
    registry.add(id);
  }
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "common@1.2.0", "a@1.0.0", "b@1.0.0"));
}

TEST(Solver, TakesALowerDirectVersionToUnify) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("feature@^1").dep("common@^1");
  registry.add("feature@1.0.0").dep("common@^1");
  registry.add("feature@1.1.0").dep("common@^2");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "feature@1.0.0", "common@1.0.0"));
}

TEST(Solver, TakesALowerVersionBelowAnAggregator) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("all@*");
  registry.add("all@1.0.0").dep("feature@^1").dep("other@*");
  registry.add("other@1.0.0").dep("common@=1.0.0");
  registry.add("feature@1.0.0").dep("common@^1");
  registry.add("feature@1.1.0").dep("common@^2");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  EXPECT_THAT(ids(registry.resolve("root")),
              ElementsAre("root@1.0.0", "all@1.0.0", "feature@1.0.0", "other@1.0.0", "common@1.0.0"));
}

TEST(Solver, AHashCountsAsAVersionOfItsName) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("lib@^1").dep("sha256:" + to_hex(sha256("old")), "pinned");
  registry.add("lib@1.0.0").hash("old");
  registry.add("lib@1.1.0").hash("new");
  const Resolution resolution = registry.resolve("root");
  EXPECT_THAT(ids(resolution), ElementsAre("root@1.0.0", "lib@1.0.0"));
  EXPECT_EQ(resolution.graph.follow(0, "pinned"), 1U);
}

TEST(Solver, OscillatingChoicesEnd) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("x@*").dep("y@*");
  registry.add("x@2.0.0").dep("y@^1");
  registry.add("x@1.0.0");
  registry.add("y@2.0.0");
  registry.add("y@1.0.0").dep("x@^1");
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "x@1.0.0", "y@2.0.0"));
}

TEST(Solver, NamedTagsGoThroughTheSource) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*").dep("common@stable", "c");
  registry.add("a@2.0.0").dep("common@=2.0.0");
  registry.add("a@1.0.0").dep("common@=1.0.0");
  registry.add("b@1.0.0").dep("common@=1.0.0");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  EXPECT_THAT(ids(registry.resolve("root")), UnorderedElementsAre("root@1.0.0", "a@1.0.0", "b@1.0.0", "common@1.0.0"));
}

TEST(Solver, IncompatiblePinsAreDuplicates) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("common@=2.0.0");
  registry.add("a@1.0.0").dep("common@=1.0.0");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }),
            "Multiple versions of common were found 1.0.0, 2.0.0");
}

TEST(Solver, UnsolvableParentsReportThePairOfTheNewest) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*");
  registry.add("a@1.0.0").dep("common@^1");
  registry.add("a@2.0.0").dep("common@^2");
  registry.add("b@3.0.0").dep("common@^3");
  for (const char* id : {"common@1.0.0", "common@2.0.0", "common@2.1.0", "common@3.0.0"}) {
    registry.add(id);
  }
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }),
            "Multiple versions of common were found 2.1.0, 3.0.0");
}

TEST(Solver, TheFirstDuplicateInByteOrderIsReported) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("z@=1.0.0").dep("m@=1.0.0");
  registry.add("a@1.0.0").dep("z@=2.0.0").dep("m@=10.0.0");
  for (const char* id : {"z@1.0.0", "z@2.0.0", "m@1.0.0", "m@10.0.0"}) {
    registry.add(id);
  }
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }), "Multiple versions of m were found 1.0.0, 10.0.0");
}

TEST(Solver, TheRootCountsAsAVersion) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("root@0.9.0");
  registry.add("a@1.0.0").dep("root@=0.9.0");
  EXPECT_EQ(error_text([&] { return registry.resolve("root@1"); }),
            "Multiple versions of root were found 0.9.0, 1.0.0");
}

TEST(Solver, AnOlderVersionAvoidsACycle) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("a@2.0.0").dep("b@*");
  registry.add("b@1.0.0").dep("a@*");
  registry.add("a@1.0.0");
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "a@1.0.0"));
}

TEST(Solver, AnOlderVersionAvoidsAMissingDependency) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*");
  registry.add("a@2.0.0").dep("ghost@*");
  registry.add("a@1.0.0");
  registry.add("b@1.0.0");
  EXPECT_THAT(ids(registry.resolve("root")), ElementsAre("root@1.0.0", "a@1.0.0", "b@1.0.0"));
}

TEST(Solver, ADamagedDependencyIsNoReasonForAnOlderVersion) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("a@2.0.0").dep("ghost@*");
  registry.add("a@1.0.0");
  registry.broken["ghost@*"] = "disk on fire";
  EXPECT_THAT(error_chain([&] { return registry.resolve("root"); }),
              ElementsAre("Unable to find \"ghost@*\" in the registry",
                          "failed to query package 'ghost@*': disk on fire", "disk on fire"));
}

TEST(Solver, WhenNothingHelpsTheFirstFailureIsReported) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("a@2.0.0").dep("ghost@^2");
  registry.add("a@1.0.0").dep("ghost@^1");
  const auto chain = error_chain([&] { return registry.resolve("root"); });
  ASSERT_GE(chain.size(), 2U);
  EXPECT_EQ(chain[0], "Unable to find \"ghost@^2\" in the registry");
  EXPECT_EQ(chain[1], "failed to query package 'ghost@^2': not found");
}

TEST(Solver, ErrorsByKindOfSpecifier) {
  const std::string hash = "sha256:" + std::string(64, 'a');
  TestRegistry registry;
  registry.add("u@1.0.0").dep("https://example.com/x.webc", "x");
  registry.add("p@1.0.0").dep("./x.webc", "x");
  registry.add("h@1.0.0").dep(hash, "x");
  EXPECT_EQ(error_text([&] { return registry.resolve("u"); }), "Unable to resolve \"https://example.com/x.webc\"");
  EXPECT_EQ(error_text([&] { return registry.resolve("p"); }), "Unable to load \"./x.webc\" from disk");
  EXPECT_EQ(error_text([&] { return registry.resolve("h"); }), "Unable to find \"" + hash + "\" in the registry");
}

TEST(Solver, EachSpecifierIsAskedOnce) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*").dep("common@^1");
  for (int i = 1; i < 6; ++i) {
    registry.add("a@" + std::to_string(i) + ".0.0").dep("common@^2").dep("ghost@*");
    registry.add("b@" + std::to_string(i) + ".0.0").dep("common@^1");
  }
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  const PackageInfo root = query_latest(registry, PackageSpecifier::parse("root")).pkg;
  registry.asked.clear();
  EXPECT_NE(error_text([&] { return resolve(root, registry); }), "(no error)");
  EXPECT_GE(registry.asked.size(), 4U);
  for (const auto& [specifier, times] : registry.asked) {
    EXPECT_EQ(times, 1) << specifier;
  }
}

// The registry of an issue: five packages whose versions 1.1 to 1.6 want `t@=1.0.v`, and one wants `=1.0.1`.
TEST(Solver, FindsTheOnlyTreeOfManyChoices) {
  TestRegistry registry;
  TestPackage& root = registry.add("z/root@1.0.0");
  for (int p = 0; p < 5; ++p) {
    const std::string name = "z/p" + std::to_string(p);
    root.dep(name + "@^1");
    for (int v = 1; v <= 6; ++v) {
      registry.add(name + "@1." + std::to_string(v) + ".0").dep("z/t@=1.0." + std::to_string(p == 4 ? 1 : v));
    }
  }
  for (int v = 1; v <= 6; ++v) {
    registry.add("z/t@1.0." + std::to_string(v));
  }
  EXPECT_THAT(ids(registry.resolve("z/root")), ElementsAre("z/root@1.0.0", "z/p0@1.1.0", "z/p1@1.1.0", "z/p2@1.1.0",
                                                           "z/p3@1.1.0", "z/p4@1.6.0", "z/t@1.0.1"));
}

// Risk: each request costs the user time. `a@1.0.0` is ruled out by what is known, so its other dependency isn't asked
// for; nor are the dependencies of `b@1.0.0`, which isn't tried.
TEST(Solver, AsksOnlyForWhatItIsAboutToChoose) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("b@*").dep("common@=2.0.0");
  registry.add("a@3.0.0").dep("common@=1.0.0");
  registry.add("a@2.0.0").dep("common@=1.0.0").dep("never1@*");
  registry.add("a@1.0.0").dep("common@=2.0.0").dep("needed@*");
  registry.add("b@2.0.0");
  registry.add("b@1.0.0").dep("never2@*");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  registry.add("needed@1.0.0");
  EXPECT_THAT(ids(registry.resolve("root")),
              ElementsAre("root@1.0.0", "a@1.0.0", "b@2.0.0", "common@2.0.0", "needed@1.0.0"));
  EXPECT_EQ(registry.asked.count("never1@*"), 0U);
  EXPECT_EQ(registry.asked.count("never2@*"), 0U);
  EXPECT_EQ(registry.asked["needed@*"], 1);
}

// --- cycles ---

TEST(Cycle, OfTwo) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("dep@=1.0.0");
  registry.add("dep@1.0.0").dep("root@=1.0.0");
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }),
            "Dependency cycle detected: root@1.0.0 \u2192 dep@1.0.0 \u2192 root@1.0.0");
}

TEST(Cycle, OfOne) {
  TestRegistry registry;
  registry.add("a@1.0.0").dep("a@*");
  EXPECT_EQ(error_text([&] { return registry.resolve("a"); }), "Dependency cycle detected: a@1.0.0 \u2192 a@1.0.0");
}

TEST(Cycle, FollowsRealEdges) {
  // One component {a, b, c, d} that is no ring: a -> b -> a, b -> c -> d -> b.
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("a@1.0.0").dep("c@*").dep("b@*");
  registry.add("b@1.0.0").dep("c@*");
  registry.add("c@1.0.0").dep("d@*");
  registry.add("d@1.0.0").dep("b@*").dep("e@*");
  registry.add("e@1.0.0").dep("a@*");
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }),
            "Dependency cycle detected: a@1.0.0 \u2192 c@1.0.0 \u2192 d@1.0.0 \u2192 e@1.0.0 \u2192 a@1.0.0");
}

TEST(Cycle, BelowThePartThatIsNone) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("y@*");
  registry.add("a@1.0.0").dep("x@*");
  registry.add("x@1.0.0").dep("y@*");
  registry.add("y@1.0.0").dep("x@*");
  EXPECT_EQ(error_text([&] { return registry.resolve("root"); }),
            "Dependency cycle detected: y@1.0.0 \u2192 x@1.0.0 \u2192 y@1.0.0");
}

}  // namespace
}  // namespace pkgfs::test
