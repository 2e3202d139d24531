// SPDX-License-Identifier: MIT
#include "tests/unit/resolve/random_graph.h"

#include <algorithm>
#include <utility>

namespace pkgfs::test {
namespace {

std::string name_of(std::size_t name) { return "p" + std::to_string(name); }

/// A requirement on a name with `count` versions, and those that satisfy it.
void require(Graph::Dependency& dependency, unsigned count, unsigned loose, std::mt19937& random) {
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  unsigned low = 0;
  unsigned high = count - 1;
  dependency.requirement = "*";
  if (below(100) >= loose) {
    low = below(count);
    high = below(2) == 0 ? low : low + below(count - low);
    const auto text = [](unsigned version) { return std::to_string(version + 1); };
    dependency.requirement = low == high ? "=" + text(low) : ">=" + text(low) + ", <" + text(high + 1);
  }
  for (unsigned version = high + 1; version-- > low;) {
    dependency.candidates.push_back(version);
  }
}

Graph::Dependency random_dependency(std::size_t from, const Graph& graph, const GraphShape& shape,
                                    std::mt19937& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::size_t names = graph.packages.size();
  Graph::Dependency dependency;
  if (below(100) < shape.missing) {
    dependency = {names, "*", {}};
    return dependency;
  }
  const bool is_free = below(100) < shape.backward || from + 1 == names;
  dependency.name = is_free ? below(names) : from + 1 + below(names - from - 1);
  require(dependency, static_cast<unsigned>(graph.packages[dependency.name].size()), shape.loose, random);
  return dependency;
}

}  // namespace

std::vector<TestPackage> Graph::test_packages() const {
  std::vector<TestPackage> result;
  for (std::size_t name = 0; name < packages.size(); ++name) {
    for (std::size_t version = 0; version < packages[name].size(); ++version) {
      TestPackage& package = result.emplace_back(named_id(name_of(name) + "@" + std::to_string(version + 1) + ".0.0"));
      for (const Dependency& dependency : packages[name][version]) {
        package.dep(name_of(dependency.name) + "@" + dependency.requirement);
      }
    }
  }
  return result;
}

MemorySource Graph::source() const {
  MemorySource result;
  for (const TestPackage& package : test_packages()) {
    result.add(package.summary());
  }
  return result;
}

Graph random_graph(std::mt19937& random, const GraphShape& shape) {
  const auto upto = [&](unsigned n) { return shape.is_full ? n : 1 + static_cast<unsigned>(random() % n); };
  Graph graph;
  graph.packages.resize(1 + upto(shape.names));
  for (std::size_t name = 0; name < graph.packages.size(); ++name) {
    graph.packages[name].resize(name == 0 ? 1 : upto(shape.versions));
  }
  for (std::size_t name = 0; name < graph.packages.size(); ++name) {
    for (std::vector<Graph::Dependency>& package : graph.packages[name]) {
      const bool is_leaf = name + 1 == graph.packages.size() && shape.backward == 0;
      for (unsigned left = is_leaf ? 0 : upto(shape.dependencies + 1) - (shape.is_full ? 0 : 1); left > 0; --left) {
        package.push_back(random_dependency(name, graph, shape, random));
      }
    }
  }
  return graph;
}

std::optional<std::vector<std::optional<std::size_t>>> BruteForce::first() {
  chosen_.assign(graph_.packages.size(), std::nullopt);
  queue_.clear();
  states_ = 0;
  const bool found = choose(0, 0, 0);
  if (states_ > kMostStates) {
    return std::nullopt;
  }
  return found ? chosen_ : std::vector<std::optional<std::size_t>>();
}

bool BruteForce::choose(std::size_t name, std::size_t version, std::size_t at) {
  if (++states_ > kMostStates || !fits(name, version)) {
    return false;
  }
  const std::size_t queued = queue_.size();
  chosen_[name] = version;
  for (const Dependency& dependency : graph_.packages[name][version]) {
    queue_.push_back({name, &dependency});
  }
  if (find(at)) {
    return true;
  }
  queue_.resize(queued);
  chosen_[name].reset();
  return false;
}

/// Whether no dependency of the package has no candidate or excludes a version that is chosen already.
bool BruteForce::fits(std::size_t name, std::size_t version) const {
  const auto is_fine = [&](const Dependency& dependency) {
    const auto& candidates = dependency.candidates;
    return !candidates.empty() &&
           (!chosen_[dependency.name] ||
            std::find(candidates.begin(), candidates.end(), *chosen_[dependency.name]) != candidates.end());
  };
  const auto& dependencies = graph_.packages[name][version];
  return std::all_of(dependencies.begin(), dependencies.end(), is_fine);
}

bool BruteForce::find(std::size_t at) {
  if (at == queue_.size()) {
    return true;
  }
  const Waiting waiting = queue_[at];
  const std::vector<std::size_t>& candidates = waiting.dependency->candidates;
  const std::size_t name = waiting.dependency->name;
  if (chosen_[name]) {
    return std::find(candidates.begin(), candidates.end(), *chosen_[name]) != candidates.end() &&
           !leads_to(name, waiting.parent) && find(at + 1);
  }
  return std::any_of(candidates.begin(), candidates.end(),
                     [&](std::size_t version) { return choose(name, version, at + 1); });
}

/// Whether the packages chosen so far depend on each other in this direction. A package leads to itself.
bool BruteForce::leads_to(std::size_t from, std::size_t to) const {
  std::vector<bool> seen(chosen_.size());
  std::vector<std::size_t> stack = {from};
  while (!stack.empty()) {
    const std::size_t name = stack.back();
    stack.pop_back();
    if (name == to) {
      return true;
    }
    if (!seen[name] && chosen_[name]) {
      seen[name] = true;
      for (const Dependency& dependency : graph_.packages[name][*chosen_[name]]) {
        stack.push_back(dependency.name);
      }
    }
  }
  return false;
}

}  // namespace pkgfs::test
