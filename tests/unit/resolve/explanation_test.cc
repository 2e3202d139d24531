// SPDX-License-Identifier: MIT
// Risk: the explanation is untrue, unreadable or endless.
#include "core/resolve/explanation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/unit/resolve/random_graph.h"

namespace pkgfs::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::StartsWith;

std::vector<std::string> explanation(TestRegistry& registry) {
  const CapturedLog quiet;
  std::vector<std::string> chain = error_chain([&] { return registry.resolve("root"); });
  EXPECT_GE(chain.size(), 1U);
  chain.erase(chain.begin());
  return chain;
}

TEST(Explanation, OfTwoRequirementsThatExcludeEachOther) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*").dep("common@=2.0.0");
  registry.add("a@1.0.0").dep("common@=1.0.0");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  EXPECT_THAT(
      explanation(registry),
      ElementsAre("no choice of versions satisfies all dependencies below \"root@1.0.0\", because \"root@1.0.0\" "
                  "requires \"common@1.0.0\", and \"root@1.0.0\" depends on \"common@=2.0.0\"",
                  "\"root@1.0.0\" requires \"common@1.0.0\", because \"a@1.0.0\" depends on \"common@=1.0.0\", "
                  "and \"root@1.0.0\" depends on \"a@*\" (1.0.0)"));
}

TEST(Explanation, NamesVersionsThatHaveADependencyInCommon) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@^1").dep("b@*");
  for (int minor = 0; minor < 6; ++minor) {
    registry.add("a@1." + std::to_string(minor) + ".0").dep("common@^1");
  }
  registry.add("b@1.0.0").dep("common@>=1.5");
  registry.add("b@2.0.0").dep("common@>=2");
  registry.add("common@1.0.0");
  registry.add("common@2.0.0");
  EXPECT_THAT(
      explanation(registry),
      ElementsAre("no choice of versions satisfies all dependencies below \"root@1.0.0\", because \"b\" 2.0.0 or 1.0.0 "
                  "can't be chosen, and \"root@1.0.0\" depends on \"b@*\" (2.0.0 or 1.0.0)",
                  "\"b\" 2.0.0 or 1.0.0 can't be chosen, because \"b\" 2.0.0 or 1.0.0 and any \"a@^1\" can't be chosen "
                  "together, and \"root@1.0.0\" depends on \"a@^1\"",
                  "\"b\" 2.0.0 or 1.0.0 and any \"a@^1\" can't be chosen together, because \"b\" 2.0.0 or 1.0.0 "
                  "requires \"common@2.0.0\", and any \"a@^1\" depends on \"common@^1\" (1.0.0)",
                  "\"b\" 2.0.0 or 1.0.0 requires \"common@2.0.0\", because \"b@2.0.0\" depends on \"common@>=2\" "
                  "(2.0.0), and \"b@1.0.0\" depends on \"common@>=1.5\" (2.0.0)"));
}

TEST(Explanation, OfDependenciesThatCantBeHad) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("a@2.0.0").dep("ghost@^2");
  registry.add("a@1.0.0").dep("a@^7");
  EXPECT_THAT(explanation(registry),
              ElementsAre("failed to query package 'ghost@^2': not found",
                          "no choice of versions satisfies all dependencies below \"root@1.0.0\", because \"a\" 2.0.0 "
                          "or 1.0.0 can't be chosen, and \"root@1.0.0\" depends on \"a@*\" (2.0.0 or 1.0.0)",
                          "\"a\" 2.0.0 or 1.0.0 can't be chosen, because \"a@1.0.0\" depends on \"a@^7\", which no "
                          "usable version matches, and \"a@2.0.0\" depends on \"ghost@^2\", which no source has"));
}

TEST(Explanation, OfACycleThatNoVersionAvoids) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("a@*");
  registry.add("a@2.0.0").dep("b@*");
  registry.add("a@1.0.0").dep("b@*");
  registry.add("b@1.0.0").dep("a@*");
  EXPECT_THAT(explanation(registry),
              ElementsAre("no choice of versions satisfies all dependencies below \"root@1.0.0\", because \"a\" 2.0.0 "
                          "or 1.0.0 can't be chosen, and \"root@1.0.0\" depends on \"a@*\" (2.0.0 or 1.0.0)",
                          "\"a\" 2.0.0 or 1.0.0 can't be chosen, because \"a\" 2.0.0 or 1.0.0 and \"b@1.0.0\" depend "
                          "on each other in a cycle, and \"a\" 2.0.0 or 1.0.0 depends on \"b@*\" (1.0.0)"));
}

// Risk: the lines about a directory repeat a hash of 64 digits.
TEST(Explanation, CallsARootWithoutANameTheRoot) {
  TestRegistry registry;
  registry.add("a@1.0.0").dep("ghost@*");
  TestPackage root(PackageHash(sha256("directory")));
  root.dep("a@*");
  const auto chain = error_chain([&] { return resolve(root.info(), registry); });
  EXPECT_THAT(chain, Contains("no choice of versions satisfies all dependencies below the root package, because "
                              "\"a@1.0.0\" depends on \"ghost@*\", which no source has, and the root package depends "
                              "on \"a@*\" (1.0.0)"));
}

TEST(Explanation, OfOneDependencyAloneNeedsNoLine) {
  TestRegistry registry;
  registry.add("root@1.0.0").dep("ghost@*");
  EXPECT_THAT(explanation(registry), ElementsAre("failed to query package 'ghost@*': not found"));
  TestRegistry cyclic;
  cyclic.add("root@1.0.0").dep("root@*");
  EXPECT_THAT(explanation(cyclic), ElementsAre());
}

TEST(Explanation, HasAtMostTenLines) {
  TestRegistry registry;
  TestPackage& root = registry.add("root@1.0.0");
  for (int pigeon = 1; pigeon <= 5; ++pigeon) {
    const std::string number = std::to_string(pigeon);
    root.dep("pigeon" + number);
    for (int hole = 1; hole <= 4; ++hole) {
      const std::string id = "hole" + std::to_string(hole);
      registry.add("pigeon" + number + "@" + std::to_string(hole) + ".0.0").dep(id + "@=" + number + ".0.0");
      registry.add(id + "@" + number + ".0.0");
    }
  }
  const std::vector<std::string> lines = explanation(registry);
  ASSERT_EQ(lines.size(), 10U);
  EXPECT_THAT(lines.front(),
              StartsWith("no choice of versions satisfies all dependencies below \"root@1.0.0\", because"));
  EXPECT_THAT(lines.back(), StartsWith("the other "));
  EXPECT_THAT(lines.back(), EndsWith(" steps of this explanation are left out"));
}

}  // namespace
}  // namespace pkgfs::test
