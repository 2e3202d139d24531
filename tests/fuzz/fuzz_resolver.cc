// SPDX-License-Identifier: MIT
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>

#include "tests/unit/resolve/random_graph.h"

/// A registry made of the bytes: the resolver finds the tree that a search by brute force finds first, or finds none
/// where there is none.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs::test;
  FuzzedDataProvider bytes(data, size);
  const auto upto = [&](unsigned low, unsigned high) { return bytes.ConsumeIntegralInRange(low, high); };
  const GraphShape shape{.names = upto(1, 12),
                         .versions = upto(1, 6),
                         .dependencies = upto(0, 4),
                         .backward = upto(0, 40),
                         .missing = upto(0, 20),
                         .loose = upto(0, 100),
                         .is_full = bytes.ConsumeBool()};
  const Graph graph = random_graph([&] { return bytes.ConsumeIntegral<unsigned char>(); }, shape);
  std::optional<Choice> expected = unified_choice(graph);
  if (!expected) {
    expected = BruteForce(graph).first();
  }
  if (expected && resolved_choice(graph).choice != *expected) {
    std::abort();
  }
  return 0;
}
