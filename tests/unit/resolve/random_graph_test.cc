// SPDX-License-Identifier: MIT
// Risk: the search misses a tree, finds another one than a search without learning, or takes too long. Random graphs
// against brute force; PKGFS_RANDOM_GRAPHS=10000 is the count before a release (CONTRIBUTING.md).
#include "tests/unit/resolve/random_graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

constexpr GraphShape kShapes[] = {
    {},                                                               // sparse
    {.names = 12, .versions = 4, .dependencies = 3, .backward = 30},  // cycles
    {.names = 30, .versions = 8, .dependencies = 3, .loose = 10},     // tight
    {.names = 30, .versions = 8, .dependencies = 2, .missing = 10},   // holes
    {.names = 30, .versions = 8, .dependencies = 3, .backward = 5, .missing = 3, .loose = 30},
    {.names = 20, .versions = 8, .dependencies = 2, .loose = 20, .is_full = true},
    {.names = 30, .versions = 8, .dependencies = 3, .loose = 45, .is_full = true},
};

unsigned graphs_wanted() {
  const char* text = std::getenv("PKGFS_RANDOM_GRAPHS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 400;
}

std::string print(const Choice& choice) {
  std::string text;
  for (std::size_t name = 0; name < choice.size(); ++name) {
    if (choice[name]) {
      text += "p" + std::to_string(name) + "@" + std::to_string(*choice[name] + 1) + " ";
    }
  }
  return text;
}

TEST(RandomGraph, TheFirstTreeOfABruteForceSearchIsFound) {
  const CapturedLog quiet;
  std::mt19937 random(4);
  unsigned unified_at_once = 0;
  unsigned searched = 0;
  unsigned impossible = 0;
  unsigned too_large = 0;
  double slowest = 0;
  for (unsigned run = 0; run < graphs_wanted(); ++run) {
    const Graph graph = random_graph(random, kShapes[run % std::size(kShapes)]);
    SCOPED_TRACE(run);
    const std::clock_t start = std::clock();
    const ResolvedGraph outcome = resolved_choice(graph);
    slowest = std::max(slowest, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    ASSERT_EQ(outcome.failure.find("safety limits"), std::string::npos) << outcome.failure;
    std::optional<Choice> expected = unified_choice(graph);
    unified_at_once += expected ? 1 : 0;
    if (!expected) {
      expected = BruteForce(graph).first();
      too_large += expected ? 0 : 1;
      searched += expected && !expected->empty() ? 1 : 0;
      impossible += expected && expected->empty() ? 1 : 0;
    }
    if (expected) {
      ASSERT_EQ(print(outcome.choice), print(*expected)) << outcome.failure;
    }
  }
  RecordProperty("unified", static_cast<int>(unified_at_once));
  RecordProperty("slowest_ms", static_cast<int>(slowest * 1000));
  std::printf("pass 1: %u, pass 2: %u, none: %u, too large for brute force: %u, slowest: %.3f s\n", unified_at_once,
              searched, impossible, too_large, slowest);
  EXPECT_GT(unified_at_once, graphs_wanted() / 20);
  EXPECT_GT(searched, graphs_wanted() / 20);
  EXPECT_GT(impossible, graphs_wanted() / 20);
}

}  // namespace
}  // namespace pkgfs::test
