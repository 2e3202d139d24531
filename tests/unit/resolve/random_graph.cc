// SPDX-License-Identifier: MIT
#include "tests/unit/resolve/random_graph.h"

#include <algorithm>
#include <utility>

#include "core/resolve/solver.h"

namespace pkgfs::test {
namespace {

using Random = FunctionRef<std::uint_fast32_t()>;

std::string name_of(std::size_t name) { return "p" + std::to_string(name); }

/// A requirement on a name with `count` versions, and those that satisfy it.
void require(Graph::Dependency& dependency, unsigned count, unsigned loose, Random random) {
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

Graph::Dependency random_dependency(std::size_t from, const Graph& graph, const GraphShape& shape, Random random) {
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

template <typename Nodes>
Choice choice_of(const Nodes& nodes, const Graph& graph, const auto& id_of) {
  Choice choice(graph.packages.size());
  for (const auto& node : nodes) {
    const NamedId& id = *id_of(node).named();
    choice[std::stoul(id.full_name.substr(1))] = id.version.major - 1;
  }
  return choice;
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

Graph random_graph(Random random, const GraphShape& shape) {
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

std::optional<Choice> unified_choice(const Graph& graph) {
  MemorySource source = graph.source();
  Catalog catalog(source);
  const std::vector<TestPackage> packages = graph.test_packages();
  try {
    const Draft draft = unify(packages.front().info(), catalog);
    if (duplicates_message(draft)) {
      return std::nullopt;
    }
    return choice_of(draft.nodes, graph, [](const Draft::Node& node) -> const PackageId& { return node.pkg->id; });
  } catch (const Error&) {
    return std::nullopt;
  }
}

ResolvedGraph resolved_choice(const Graph& graph) {
  MemorySource source = graph.source();
  const std::vector<TestPackage> packages = graph.test_packages();
  try {
    const Resolution resolution = resolve(packages.front().info(), source);
    return {choice_of(resolution.graph.nodes, graph, [](const auto& node) -> const PackageId& { return node.pkg.id; }),
            {}};
  } catch (const Error& error) {
    return {{}, error.what()};
  }
}

std::optional<Choice> BruteForce::first() {
  chosen_.assign(graph_.packages.size(), std::nullopt);
  queue_.clear();
  states_ = 0;
  const bool found = choose(0, 0, 0);
  if (states_ > kMostStates) {
    return std::nullopt;
  }
  return found ? chosen_ : Choice();
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
