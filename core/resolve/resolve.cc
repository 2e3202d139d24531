// SPDX-License-Identifier: MIT
#include "core/resolve/resolve.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/resolve/solver.h"

namespace pkgfs {
namespace {

/// Pass 2 after the failure of pass 1, which is the cause of an error of the search.
SearchResult search_because(const Error& failure, const PackageInfo& root, Catalog& catalog) {
  try {
    return search(root, catalog);
  } catch (const LimitError& error) {
    Error both(error.code(), error);
    both.caused_by(failure);
    throw both;
  }
}

Draft solve(const PackageInfo& root, Catalog& catalog) {
  std::optional<Error> failure;
  try {
    Draft draft = unify(root, catalog);
    auto duplicates = duplicates_message(draft);
    if (!duplicates) {
      return draft;
    }
    failure.emplace(ErrorCode::kResolve, std::move(*duplicates));
  } catch (const LimitError&) {
    throw;
  } catch (const BrokenDependency&) {
    throw;
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    failure = error;
  }
  SearchResult result = search_because(*failure, root, catalog);
  if (result.draft) {
    log::info("older versions were chosen than the newest that match, because with those: {}", *failure);
    return std::move(*result.draft);
  }
  for (std::string& reason : result.reasons) {
    failure->caused_by(std::move(reason));
  }
  throw Error(*failure);
}

DependencyGraph to_graph(const Draft& draft) {
  DependencyGraph graph;
  graph.nodes.reserve(draft.nodes.size());
  for (const Draft::Node& node : draft.nodes) {
    DependencyGraph::Node out{*node.pkg, std::nullopt, {}};
    if (node.dist != nullptr) {
      out.dist = *node.dist;
    }
    for (std::size_t i = 0; i < node.targets.size(); ++i) {
      out.edges.push_back({node.pkg->dependencies[i].alias, node.targets[i]});
    }
    graph.nodes.push_back(std::move(out));
  }
  return graph;
}

/// `aliases`: of the node.
ResolvedMapping resolve_mapping(const DependencyGraph& graph, std::size_t node, const FileSystemMapping& mapping,
                                const std::map<std::string_view, std::size_t>& aliases) {
  std::size_t owner = node;
  if (mapping.dependency_name) {
    const auto target = aliases.find(*mapping.dependency_name);
    if (target == aliases.end()) {
      throw Error(ErrorCode::kResolve, "The \"" + graph.nodes[node].pkg.id.to_string() +
                                           "\" package maps a volume from \"" + *mapping.dependency_name +
                                           "\", but that isn't one of its dependencies");
    }
    owner = target->second;
  }
  return {mapping.mount_path, mapping.volume_name, mapping.original_path, graph.nodes[owner].pkg.id};
}

std::optional<std::string> find_entrypoint(const DependencyGraph& graph, const std::vector<std::size_t>& order) {
  // The root comes first. A dependency's entrypoint has precedence over the only command of the root, as in the runtime
  // of October 2024, which is followed where versions of the reference differ.
  for (const std::size_t node : order) {
    if (graph.nodes[node].pkg.entrypoint) {
      return graph.nodes[node].pkg.entrypoint;
    }
  }
  const auto& commands = graph.nodes.front().pkg.commands;
  return commands.size() == 1 ? std::optional(commands.front()) : std::nullopt;
}

ResolvedPackage add_up(const DependencyGraph& graph, const std::vector<std::size_t>& order) {
  ResolvedPackage package{graph.nodes.front().pkg.id, {}, find_entrypoint(graph, order), {}};
  for (const std::size_t node : order) {
    const PackageInfo& pkg = graph.nodes[node].pkg;
    for (const std::string& command : pkg.commands) {
      package.commands.try_emplace(command, ResolvedCommand{command, pkg.id});
    }
    const std::map<std::string_view, std::size_t> aliases = graph.aliases(node);
    for (const FileSystemMapping& mapping : pkg.filesystem) {
      package.filesystem.push_back(resolve_mapping(graph, node, mapping, aliases));
    }
  }
  return package;
}

std::string dot_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : printable(text, true)) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
    }
    if (c == '\n') {
      quoted += "\\l";
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

/// Once for each specifier that several packages have in common.
void warn_of_builds(const Draft& draft) {
  std::set<std::string> warned;
  for (const Draft::Node& node : draft.nodes) {
    for (std::size_t i = 0; i < node.targets.size(); ++i) {
      const PackageSpecifier& specifier = node.pkg->dependencies[i].specifier;
      if (specifier.named() != nullptr && !specifier.named()->build.empty() &&
          warned.insert(specifier.to_string()).second) {
        warn_of_build_metadata(specifier, draft.nodes[node.targets[i]].pkg->id);
      }
    }
  }
}

std::vector<std::string> with_advice(std::string text, const std::string& advice) {
  std::vector<std::string> chain{std::move(text)};
  if (!advice.empty()) {
    chain.push_back(advice);
  }
  return chain;
}

}  // namespace

LimitError::LimitError(const char* resource, std::size_t value, std::size_t limit, const std::string& advice)
    : Error(ErrorCode::kResolve, with_advice("Dependency resolution exceeded safety limits (" + std::string(resource) +
                                                 "=" + std::to_string(value) + ", limit=" + std::to_string(limit) + ")",
                                             advice)) {}

std::optional<std::size_t> DependencyGraph::find(const PackageId& id) const {
  const auto at = std::find_if(nodes.begin(), nodes.end(), [&](const Node& node) { return node.pkg.id == id; });
  return at == nodes.end() ? std::nullopt : std::optional(static_cast<std::size_t>(at - nodes.begin()));
}

std::map<PackageId, std::size_t> DependencyGraph::index() const {
  std::map<PackageId, std::size_t> found;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    found.emplace(nodes[i].pkg.id, i);
  }
  return found;
}

std::optional<std::size_t> DependencyGraph::follow(std::size_t from, const std::string& alias) const {
  for (const Edge& edge : nodes[from].edges) {
    if (edge.alias == alias) {
      return edge.target;
    }
  }
  return std::nullopt;
}

std::map<std::string_view, std::size_t> DependencyGraph::aliases(std::size_t from) const {
  std::map<std::string_view, std::size_t> found;
  for (const Edge& edge : nodes[from].edges) {
    found.emplace(edge.alias, edge.target);
  }
  return found;
}

namespace {

Resolution resolve_with(const PackageInfo& root, Catalog& catalog) {
  const Draft draft = solve(root, catalog);
  warn_of_builds(draft);
  DependencyGraph graph = to_graph(draft);
  std::vector<std::size_t> order = topological_order(draft);
  ResolvedPackage package = add_up(graph, order);
  return {std::move(graph), std::move(order), std::move(package)};
}

}  // namespace

Resolution resolve(const PackageInfo& root, Source& source) {
  Catalog catalog(source);
  return resolve_with(root, catalog);
}

Resolution resolve(const PackageInfo& root, const DistributionInfo& root_dist, Source& source,
                   const MayDepend& may_depend) {
  Catalog catalog(source, root, root_dist, may_depend);
  return resolve_with(root, catalog);
}

std::string to_dot(const DependencyGraph& graph) {
  std::string text = "digraph {\n";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    text += "    " + std::to_string(i) + " [ label = " + dot_text(graph.nodes[i].pkg.id.to_string()) + " ]\n";
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const auto& edge : graph.nodes[i].edges) {
      text += "    " + std::to_string(i) + " -> " + std::to_string(edge.target) + " [ label = " + dot_text(edge.alias) +
              " ]\n";
    }
  }
  return text + "}\n";
}

}  // namespace pkgfs
