// SPDX-License-Identifier: MIT
// Risk: a tree that is large, or whose versions are hard to choose, takes long or is given up. Each within a second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "core/resolve/solver.h"
#include "core/source/source.h"
#include "tests/support/fixtures.h"
#include "tests/unit/resolve/random_graph.h"

namespace pkgfs::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
constexpr std::clock_t kSeconds = 10;  // sanitizers cost; clang doesn't say simply whether they are on
#else
constexpr std::clock_t kSeconds = 1;
#endif

#ifdef __OPTIMIZE__
constexpr std::clock_t kHardSeconds = kSeconds;
#else
constexpr std::clock_t kHardSeconds = 10;
#endif

class Limits : public testing::Test {
 protected:
  ~Limits() override { EXPECT_LT(std::clock() - start_, kSeconds * CLOCKS_PER_SEC); }
  TestRegistry registry_;

 private:
  std::clock_t start_ = std::clock();  // processor time: the machine may be busy
};

/// One package a name, without any search.
class MapSource final : public Source {
 public:
  std::vector<PackageSummary> query(const PackageSpecifier& specifier) override {
    const auto at = packages.find(specifier.named()->name);
    if (at == packages.end()) {
      throw QueryError(QueryError::Kind::kNotFound, specifier);
    }
    return {at->second};
  }
  std::map<std::string, PackageSummary> packages;
};

MapSource chain_of(int length) {
  MapSource source;
  for (int i = 0; i < length; ++i) {
    TestPackage package(named_id("p" + std::to_string(i) + "@1.0.0"));
    if (i + 1 < length) {
      package.dep("p" + std::to_string(i + 1));
    }
    source.packages.emplace("p" + std::to_string(i), package.summary());
  }
  return source;
}

TEST_F(Limits, AThousandPackagesAreFine) {
  MapSource source = chain_of(1000);
  const PackageInfo root = source.packages.at("p0").pkg;
  EXPECT_EQ(resolve(root, source).order.size(), 1000U);
}

TEST_F(Limits, OnePackageMore) {
  MapSource source = chain_of(1001);
  const PackageInfo root = source.packages.at("p0").pkg;
  EXPECT_EQ(error_text([&] { return resolve(root, source); }),
            "Dependency resolution exceeded safety limits (packages=1001, limit=1000)");
}

TEST_F(Limits, PendingDependencies) {
  TestPackage root(named_id("root@1.0.0"));
  for (int i = 0; i < 4001; ++i) {
    root.dep("p" + std::to_string(i));
  }
  MapSource source;
  EXPECT_EQ(error_text([&] { return resolve(root.info(), source); }),
            "Dependency resolution exceeded safety limits (pending_dependencies=4001, limit=4000)");
}

TEST_F(Limits, ManySharedEdges) {
  // 300 packages, each depending on the eleven after it.
  MapSource source;
  for (int i = 0; i < 300; ++i) {
    TestPackage package(named_id("p" + std::to_string(i) + "@1.0.0"));
    for (int j = i + 1; j < 300 && j < i + 12; ++j) {
      package.dep("p" + std::to_string(j));
    }
    source.packages.emplace("p" + std::to_string(i), package.summary());
  }
  const PackageInfo root = source.packages.at("p0").pkg;
  const Resolution resolution = resolve(root, source);
  EXPECT_EQ(resolution.order.size(), 300U);
  EXPECT_EQ(resolution.graph.nodes[resolution.order.back()].pkg.id.to_string(), "p299@1.0.0");
}

/// `holes` versions of each of `pigeons` packages; each version needs a hole for itself alone.
void add_pigeons(TestRegistry& registry, int pigeons, int holes) {
  TestPackage& root = registry.add("root@1.0.0");
  for (int pigeon = 1; pigeon <= pigeons; ++pigeon) {
    const std::string name = "pigeon" + std::to_string(pigeon);
    root.dep(name);
    for (int hole = 1; hole <= holes; ++hole) {
      const std::string id = "hole" + std::to_string(hole) + "@";
      registry.add(name + "@" + std::to_string(hole) + ".0.0").dep(id + "=" + std::to_string(pigeon) + ".0.0");
      registry.add(id + std::to_string(pigeon) + ".0.0");
    }
  }
}

TEST_F(Limits, BranchingWithoutASolution) {
  TestPackage& root = registry_.add("root@1.0.0");
  for (int i = 0; i < 8; ++i) {
    const std::string name = "a" + std::to_string(i);
    root.dep(name);
    for (int v = 0; v < 8; ++v) {
      const std::string wanted = std::to_string(i * 8 + v) + ".0.0";
      registry_.add(name + "@" + std::to_string(v) + ".0.0").dep("common@=" + wanted);
      registry_.add("common@" + wanted);
    }
  }
  EXPECT_EQ(error_text([&] { return registry_.resolve("root"); }),
            "Multiple versions of common were found 7.0.0, 15.0.0, 23.0.0, 31.0.0, 39.0.0, 47.0.0, 55.0.0, 63.0.0");
}

TEST_F(Limits, EightPigeonsInSevenHoles) {
  add_pigeons(registry_, 8, 7);
  EXPECT_THAT(error_text([&] { return registry_.resolve("root"); }), HasSubstr("Multiple versions of hole7"));
}

TEST_F(Limits, EightPigeonsInEightHoles) {
  add_pigeons(registry_, 8, 8);
  const Resolution resolution = registry_.resolve("root");
  EXPECT_EQ(resolution.order.size(), 17U);
  EXPECT_EQ(ids(resolution)[1], "pigeon1@8.0.0");
  EXPECT_EQ(ids(resolution)[8], "pigeon8@1.0.0");
}

// Risk: the message of a search that was given up claims that there is no tree.
TEST_F(Limits, ASearchThatWasGivenUpSaysOnlyThat) {
  add_pigeons(registry_, 8, 7);
  const PackageInfo root = query_latest(registry_, PackageSpecifier::parse("root")).pkg;
  Catalog catalog(registry_);
  EXPECT_THAT(error_chain([&] { return search(root, catalog, 100); }),
              ElementsAre("Dependency resolution exceeded safety limits (backtrack_states=101, limit=100)",
                          "pkgfs gave up the search, so a choice of versions may exist or not; require exact versions "
                          "(\"=1.2.3\") of some dependencies, to leave fewer choices"));
}

/// `names` names with `versions` versions each, of which all but the oldest need a package of their own that is
/// missing.
void add_ghosts(TestRegistry& registry, int names, int versions) {
  TestPackage& root = registry.add("root@1.0.0");
  for (int i = 0; i < names; ++i) {
    const std::string name = "a" + std::to_string(i);
    root.dep(name);
    for (int v = 1; v <= versions; ++v) {
      TestPackage& package = registry.add(name + "@" + std::to_string(v) + ".0.0");
      if (v > 1) {
        package.dep("ghost" + std::to_string(v) + "-" + name);
      }
    }
  }
}

// Risk: a registry makes pkgfs send a request for each of 100,000 versions, without a conflict.
TEST_F(Limits, VersionsThatEachLackSomethingElse) {
  add_ghosts(registry_, 1, 300);
  const PackageInfo root = query_latest(registry_, PackageSpecifier::parse("root")).pkg;
  Catalog catalog(registry_);
  EXPECT_EQ(error_text([&] { return search(root, catalog, 100); }),
            "Dependency resolution exceeded safety limits (backtrack_states=101, limit=100)");
  EXPECT_LT(registry_.asked.size(), 110U);
}

/// Layers of `names` names with the versions 1 to `versions`. Each package needs its own version of the whole next
/// layer; in the last layer only version 1 can be had.
void add_layers(TestRegistry& registry, int layers, int versions, std::initializer_list<std::string> names) {
  const auto name_in = [](const std::string& name, int layer) { return name + std::to_string(layer); };
  TestPackage& root = registry.add("root@1.0.0");
  for (const std::string& name : names) {
    root.dep(name_in(name, 1));
    for (int layer = 1; layer <= layers; ++layer) {
      for (int version = 1; version <= versions; ++version) {
        const std::string number = std::to_string(version) + ".0.0";
        TestPackage& package = registry.add(name_in(name, layer) + "@" + number);
        for (const std::string& next : names) {
          if (layer < layers) {
            package.dep(name_in(next, layer + 1) + "@=" + number);
          } else if (version > 1) {
            package.dep("ghost@*");
          }
        }
      }
    }
  }
}

TEST_F(Limits, ChainsThatFailAtTheirEnd) {
  const CapturedLog quiet;
  add_layers(registry_, 300, 3, {"a"});
  const Resolution resolution = registry_.resolve("root");
  EXPECT_EQ(resolution.order.size(), 301U);
  EXPECT_EQ(ids(resolution).back(), "a300@1.0.0");
}

TEST_F(Limits, DiamondsOfFiveHundredThatFailAtTheirEnd) {
  const CapturedLog quiet;
  add_layers(registry_, 250, 2, {"a", "b"});
  const Resolution resolution = registry_.resolve("root");
  EXPECT_EQ(resolution.order.size(), 501U);
  EXPECT_EQ(ids(resolution).back(), "b250@1.0.0");
}

// Risk: a conflict at the end makes the search try all choices for things that have nothing to do with it.
TEST_F(Limits, IndependentDiamondsBeforeOneThatFails) {
  const CapturedLog quiet;
  TestPackage& root = registry_.add("root@1.0.0");
  for (int i = 0; i < 125; ++i) {
    const std::string n = std::to_string(i);
    root.dep("left" + n).dep("right" + n);
    for (const char* version : {"1.0.0", "2.0.0"}) {
      const std::string other = std::string(version) == "1.0.0" ? "2.0.0" : "1.0.0";
      registry_.add("left" + n + "@" + version).dep("bottom" + n + "@=" + version);
      registry_.add("right" + n + "@" + version).dep("bottom" + n + "@=" + (i == 124 ? "3.0.0" : other));
      registry_.add("bottom" + n + "@" + version);
    }
    registry_.add("bottom" + n + "@3.0.0");
  }
  const auto chain = error_chain([&] { return registry_.resolve("root"); });
  ASSERT_FALSE(chain.empty());
  EXPECT_EQ(chain.front(), "Multiple versions of bottom0 were found 1.0.0, 2.0.0");
  EXPECT_THAT(chain, Contains(HasSubstr("\"bottom124")));
}

// Risk: a registry of ordinary size takes long near the point where trees become rare.
TEST(Search, FiftyPackagesOfTwentyVersions) {
  const CapturedLog quiet;
  std::mt19937 random(5);
  int solved = 0;
  double slowest = 0;
  for (unsigned run = 0; run < 24; ++run) {
    const Graph graph = random_graph(random, {.names = 50,
                                              .versions = 20,
                                              .dependencies = 2 + run % 3,
                                              .backward = run % 4 == 3 ? 3U : 0U,
                                              .loose = 20 + 10 * (run % 6),
                                              .is_full = true});
    MemorySource source = graph.source();
    const PackageInfo root = graph.test_packages().front().info();
    const std::clock_t start = std::clock();
    const std::string text = error_text([&] { return resolve(root, source); });
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    slowest = std::max(slowest, seconds);
    solved += text == "(no error)" ? 1 : 0;
    EXPECT_EQ(text.find("safety limits"), std::string::npos) << run;
    EXPECT_LT(seconds, kHardSeconds) << run;
  }
  std::printf("solved: %d, slowest: %.3f s\n", solved, slowest);
  EXPECT_GT(solved, 2);
  EXPECT_LT(solved, 22);
}

// Risk: the message of a search that was given up names no package.
TEST(Search, ThatWasGivenUpSaysWhatItWasFor) {
  TestRegistry registry;
  add_ghosts(registry, 102, 101);
  EXPECT_THAT(error_chain([&] { return registry.resolve("root"); }),
              ElementsAre("Dependency resolution exceeded safety limits (backtrack_states=10001, limit=10000)",
                          HasSubstr("pkgfs gave up the search"), "Unable to find \"ghost101-a0\" in the registry",
                          "failed to query package 'ghost101-a0': not found"));
}

}  // namespace
}  // namespace pkgfs::test
