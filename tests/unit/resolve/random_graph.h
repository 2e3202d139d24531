// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/function_ref.h"
#include "core/source/memory_source.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {

/// Bounds of a random graph.
struct GraphShape {
  unsigned names = 30;        // the root not counted
  unsigned versions = 8;      // of one name, at most
  unsigned dependencies = 4;  // of one package, at most
  unsigned backward = 0;      // per cent of the dependencies that may close a cycle
  unsigned missing = 0;       // per cent of the dependencies on a name that doesn't exist
  unsigned loose = 50;        // per cent of the requirements that any version satisfies
  bool is_full = false;       // the numbers are exact, no upper bounds
};

/// A registry as numbers: name 0 is the root with one version, and version v of name n is `p{n}@{v + 1}.0.0`.
struct Graph {
  struct Dependency {
    std::size_t name = 0;  // of none of the names if it is `versions.size()`
    std::string requirement = {};
    std::vector<std::size_t> candidates = {};  // versions of `name`, newest first
  };
  /// By name and version.
  std::vector<std::vector<std::vector<Dependency>>> packages;

  [[nodiscard]] std::vector<TestPackage> test_packages() const;
  [[nodiscard]] MemorySource source() const;
};

/// `random` answers any number: a generator of <random>, or the bytes of a fuzzer.
[[nodiscard]] Graph random_graph(FunctionRef<std::uint_fast32_t()> random, const GraphShape& shape);

/// A tree as the version of each name (none if the tree doesn't have it); empty: there is no tree.
using Choice = std::vector<std::optional<std::size_t>>;

/// The tree that pass 1 of the resolver finds; nothing if it fails.
[[nodiscard]] std::optional<Choice> unified_choice(const Graph& graph);

/// What `resolve` answers.
struct ResolvedGraph {
  Choice choice;
  std::string failure;  // empty if there is a tree
};
[[nodiscard]] ResolvedGraph resolved_choice(const Graph& graph);

/// The first tree in the order of docs/rules/resolution.md, 4.2, by a search that goes back step by step.
struct BruteForce {
  explicit BruteForce(const Graph& graph) : graph_(graph) {}

  /// Nothing after `kMostStates` states.
  [[nodiscard]] std::optional<Choice> first();

  static constexpr std::size_t kMostStates = 30'000;

 private:
  using Dependency = Graph::Dependency;
  struct Waiting {
    std::size_t parent;
    const Dependency* dependency;
  };

  bool find(std::size_t at);
  bool choose(std::size_t name, std::size_t version, std::size_t at);
  [[nodiscard]] bool fits(std::size_t name, std::size_t version) const;
  [[nodiscard]] bool leads_to(std::size_t from, std::size_t to) const;

  const Graph& graph_;
  Choice chosen_;
  std::vector<Waiting> queue_;
  std::size_t states_ = 0;
};

}  // namespace pkgfs::test
