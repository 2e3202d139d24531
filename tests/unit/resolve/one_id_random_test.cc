// SPDX-License-Identifier: MIT
// Risk: with packages of two sources that have one id, learning skips a tree of packages that the search has met.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/resolve/solver.h"
#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

constexpr unsigned kNames = 6;
constexpr unsigned kVersions = 3;

/// The first tree in the order of docs/rules/resolution.md, 4.2, by a search that goes back step by step.
class StepByStep {
 public:
  StepByStep(const PackageInfo& root, Source& source) : source_(source) {
    nodes_.push_back({root, {}});
    enqueue(0);
    found_ = find(0);
  }
  /// Where the packages are from; nothing if there is no tree.
  [[nodiscard]] std::vector<std::string> urls() const {
    std::vector<std::string> urls;
    for (std::size_t i = 1; found_ && i < nodes_.size(); ++i) {
      urls.push_back(nodes_[i].dist.url);
    }
    return urls;
  }
  [[nodiscard]] bool found() const { return found_; }

 private:
  struct Waiting {
    std::size_t parent;
    PackageSpecifier specifier;
  };

  void enqueue(std::size_t node) {
    for (const DependencySpec& dependency : nodes_[node].pkg.dependencies) {
      queue_.push_back({node, dependency.specifier});
    }
  }

  bool find(std::size_t at) {
    if (at == queue_.size()) {
      return true;
    }
    const Waiting waiting = queue_[at];
    std::vector<PackageSummary> candidates =
        answer_of(waiting.specifier, [&] { return source_.query(waiting.specifier); }).packages;
    std::reverse(candidates.begin(), candidates.end());
    return std::any_of(candidates.begin(), candidates.end(),
                       [&](const PackageSummary& candidate) { return take(candidate, waiting.parent, at); });
  }

  bool take(const PackageSummary& candidate, std::size_t parent, std::size_t at) {
    const std::string& name = candidate.pkg.id.named()->full_name;
    const auto same = std::find_if(nodes_.begin(), nodes_.end(),
                                   [&](const PackageSummary& node) { return node.pkg.id.named()->full_name == name; });
    const std::size_t edges = edges_.size();
    const std::size_t nodes = nodes_.size();
    const std::size_t queued = queue_.size();
    if (same != nodes_.end()) {
      const auto target = static_cast<std::size_t>(same - nodes_.begin());
      if (same->pkg.id != candidate.pkg.id || leads_to(target, parent)) {
        return false;
      }
      edges_.emplace_back(parent, target);
    } else {
      edges_.emplace_back(parent, nodes);
      nodes_.push_back(candidate);
      enqueue(nodes);
    }
    if (find(at + 1)) {
      return true;
    }
    edges_.resize(edges);
    nodes_.resize(nodes, nodes_.front());
    queue_.resize(queued, queue_.front());
    return false;
  }

  [[nodiscard]] bool leads_to(std::size_t from, std::size_t to) const {
    return from == to || std::any_of(edges_.begin(), edges_.end(),
                                     [&](const auto& edge) { return edge.first == from && leads_to(edge.second, to); });
  }

  Source& source_;
  std::vector<PackageSummary> nodes_;
  std::vector<Waiting> queue_;
  std::vector<std::pair<std::size_t, std::size_t>> edges_;
  bool found_ = false;
};

/// Adds up to three dependencies on names from `first` on: on any version, on one version, or on one at a URL.
void add_dependencies(TestPackage& package, unsigned first, std::mt19937& random) {
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  for (unsigned left = below(4); left > 0 && first < kNames; --left) {
    const unsigned from = below(20) == 0 ? 0 : first;  // rarely a cycle
    const std::string name = "p" + std::to_string(from + below(kNames - from));
    const std::string version = std::to_string(1 + below(kVersions));
    const unsigned kind = below(10);
    if (kind < 3) {
      package.dep(name + "@*");
    } else if (kind < 5) {
      package.dep(name + "@<=" + version);
    } else if (kind < 9) {
      package.dep("https://host/" + name + "-" + version + ".webc", name);
    } else {
      package.dep("ghost@*");
    }
  }
}

TEST(OneIdRandom, IsTheFirstTreeInTheOrder) {
  const CapturedLog quiet;
  std::mt19937 random(7);
  unsigned solved = 0;
  for (unsigned run = 0; run < 200; ++run) {
    TestRegistry registry;
    TestPackage root(named_id("root@1.0.0"));
    root.dep("all@*");
    registry.add("all@1.0.0");
    TestPackage& all = registry.add("all@2.0.0").dep("ghost@*");  // makes all packages known, and is ruled out
    for (unsigned name = 0; name < kNames; ++name) {
      for (unsigned version = 1; version <= kVersions; ++version) {
        const std::string n = "p" + std::to_string(name);
        const std::string id = n + "@" + std::to_string(version) + ".0.0";
        const std::string url = "https://host/" + n + "-" + std::to_string(version) + ".webc";
        all.dep(n + "@*").dep(url);
        add_dependencies(registry.add(id), name + 1, random);
        add_dependencies(registry.elsewhere.try_emplace(url, named_id(id)).first->second.url(url), name + 1, random);
      }
    }
    add_dependencies(root, 0, random);
    add_dependencies(root, 0, random);
    const StepByStep expected(root.info(), registry);
    Catalog catalog(registry);
    const SearchResult result = search(root.info(), catalog);
    ASSERT_EQ(result.draft.has_value(), expected.found()) << run;
    std::vector<std::string> urls;
    for (std::size_t i = 1; result.draft && i < result.draft->nodes.size(); ++i) {
      urls.push_back(result.draft->nodes[i].dist->url);
    }
    ASSERT_EQ(urls, expected.urls()) << run;
    solved += expected.found() ? 1 : 0;
  }
  EXPECT_GT(solved, 30U);
  EXPECT_LT(solved, 170U);
}

}  // namespace
}  // namespace pkgfs::test
