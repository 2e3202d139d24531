// SPDX-License-Identifier: MIT
#include "core/resolve/draft.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

namespace pkgfs {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

std::vector<std::size_t> post_order(const Draft& draft) {
  std::vector<std::size_t> done;
  std::vector<bool> seen(draft.nodes.size());
  std::vector<std::pair<std::size_t, std::size_t>> stack = {{0, 0}};  // node, next edge
  seen[0] = true;
  while (!stack.empty()) {
    auto& [node, next] = stack.back();
    const auto& targets = draft.nodes[node].targets;
    if (next == targets.size()) {
      done.push_back(node);
      stack.pop_back();
      continue;
    }
    const std::size_t target = targets[next++];
    if (!seen[target]) {
      seen[target] = true;
      stack.emplace_back(target, 0);
    }
  }
  return done;
}

bool is_cyclic(const Draft& draft, const std::vector<std::size_t>& order) {
  std::vector<std::size_t> position(draft.nodes.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    position[order[i]] = i;
  }
  for (std::size_t node = 0; node < draft.nodes.size(); ++node) {
    for (const std::size_t target : draft.nodes[node].targets) {
      if (position[target] <= position[node]) {
        return true;
      }
    }
  }
  return false;
}

/// Kosaraju: strongly connected components by a second walk, over the reversed edges.
std::vector<std::size_t> components(const Draft& draft, const std::vector<std::size_t>& order) {
  std::vector<std::vector<std::size_t>> sources(draft.nodes.size());
  for (std::size_t node = 0; node < draft.nodes.size(); ++node) {
    for (const std::size_t target : draft.nodes[node].targets) {
      sources[target].push_back(node);
    }
  }
  std::vector<std::size_t> component(draft.nodes.size(), kNone);
  for (const std::size_t start : order) {
    std::vector<std::size_t> stack = {start};
    while (!stack.empty()) {
      const std::size_t node = stack.back();
      stack.pop_back();
      if (component[node] == kNone) {
        component[node] = start;
        stack.insert(stack.end(), sources[node].begin(), sources[node].end());
      }
    }
  }
  return component;
}

std::optional<std::size_t> first_on_cycle(const Draft& draft, const std::vector<std::size_t>& component) {
  std::vector<std::size_t> members(draft.nodes.size());
  for (const std::size_t id : component) {
    ++members[id];
  }
  for (std::size_t node = 0; node < draft.nodes.size(); ++node) {
    const auto& targets = draft.nodes[node].targets;
    if (members[component[node]] > 1 || std::find(targets.begin(), targets.end(), node) != targets.end()) {
      return node;
    }
  }
  return std::nullopt;
}

std::map<std::string_view, std::set<Version>> versions_of(const Draft& draft) {
  std::map<std::string_view, std::set<Version>> versions;
  for (const Draft::Node& node : draft.nodes) {
    if (const NamedId* id = node.pkg->id.named()) {
      versions[id->full_name].insert(id->version);
    }
  }
  return versions;
}

}  // namespace

Draft::Draft(const PackageInfo& root) {
  nodes.push_back({&root, nullptr, {}});
  index_.emplace(&root.id, 0);
}

std::optional<std::size_t> Draft::find(const PackageId& id) const {
  const auto at = index_.find(&id);
  return at == index_.end() ? std::nullopt : std::optional(at->second);
}

std::size_t Draft::add(const PackageSummary& summary) {
  const std::size_t node = nodes.size();
  nodes.push_back({&summary.pkg, &summary.dist, {}});
  index_.emplace(&summary.pkg.id, node);
  return node;
}

void Draft::remove_last() {
  index_.erase(&nodes.back().pkg->id);
  nodes.pop_back();
}

std::vector<std::size_t> topological_order(const Draft& draft) {
  std::vector<std::size_t> order = post_order(draft);
  std::reverse(order.begin(), order.end());
  return order;
}

std::vector<std::size_t> find_cycle(const Draft& draft) {
  const std::vector<std::size_t> order = topological_order(draft);
  if (!is_cyclic(draft, order)) {
    return {};
  }
  const auto start = first_on_cycle(draft, components(draft, order));
  if (!start) {
    return {};
  }
  std::vector<std::size_t> shortest;
  for (const std::size_t target : draft.nodes[*start].targets) {
    std::vector<std::size_t> way = shortest_way(draft, target, *start);
    if (!way.empty() && (shortest.empty() || way.size() < shortest.size())) {
      shortest = std::move(way);
    }
  }
  shortest.insert(shortest.begin(), *start);
  return shortest;
}

std::vector<std::size_t> shortest_way(const Draft& draft, std::size_t from, std::size_t to) {
  std::vector<std::size_t> parent(draft.nodes.size(), kNone);
  std::vector<std::size_t> queue = {from};
  parent[from] = from;
  for (std::size_t head = 0; head < queue.size() && parent[to] == kNone; ++head) {
    for (const std::size_t target : draft.nodes[queue[head]].targets) {
      if (parent[target] == kNone) {
        parent[target] = queue[head];
        queue.push_back(target);
      }
    }
  }
  if (parent[to] == kNone) {
    return {};
  }
  std::vector<std::size_t> way = {to};
  while (way.back() != from) {
    way.push_back(parent[way.back()]);
  }
  std::reverse(way.begin(), way.end());
  return way;
}

std::optional<std::string> cycle_message(const Draft& draft) {
  std::string text;
  for (const std::size_t node : find_cycle(draft)) {
    text += text.empty() ? "Dependency cycle detected: " : " \u2192 ";
    text += draft.nodes[node].pkg->id.to_string();
  }
  return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<std::string> duplicates_message(const Draft& draft) {
  for (const auto& [name, found] : versions_of(draft)) {
    if (found.size() > 1) {
      std::string text = "Multiple versions of " + std::string(name) + " were found ";
      for (const Version& version : found) {
        text += (&version == &*found.begin() ? "" : ", ") + version.to_string();
      }
      return text;
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs
