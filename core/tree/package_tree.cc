// SPDX-License-Identifier: MIT
#include "core/tree/package_tree.h"

#include <map>
#include <set>
#include <utility>

#include "core/base/limit_error.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/tree/commands.h"
#include "core/tree/file_system.h"
#include "core/vfs/walk.h"

namespace pkgfs {

namespace {

/// Counts the mappings and commands of the packages in a tree that have the limits `set`.
class Count {
 public:
  explicit Count(const limits::PackageLimits& set) : set_(set) {}

  /// Throws for more than the packages may have together. Names the one that adds the one too many.
  void add(const PackageInfo& package) {
    using limits::PackageLimits;
    mappings_ += package.filesystem.size();
    commands_ += package.commands.size();
    if (mappings_ > set_.mappings) {
      throw limit_error(package.id.to_string(), "mappings in a tree", mappings_, set_, &PackageLimits::mappings);
    }
    if (commands_ > set_.commands) {
      throw limit_error(package.id.to_string(), "commands in a tree", commands_, set_, &PackageLimits::commands);
    }
  }

 private:
  const limits::PackageLimits& set_;
  std::size_t mappings_ = 0;
  std::size_t commands_ = 0;
};

/// Throws if all packages together, or those of strangers, have more mappings or commands than a tree may have.
void check_limits(const Resolution& resolution, const PackageLoader& loader) {
  Count all(limits::kLocal);
  Count strangers(limits::kStranger);
  for (const std::size_t index : resolution.order) {
    const DependencyGraph::Node& node = resolution.graph.nodes[index];
    if (node.dist && &loader.limits_of(*node.dist) == &limits::kStranger) {
      strangers.add(node.pkg);
    }
    all.add(node.pkg);
  }
}

/// The packages of `ids` that aren't in `packages` yet. One without a distribution (only the root may have none) is
/// left out.
std::vector<PackageSummary> missing_of(const std::set<PackageId>& ids, const DependencyGraph& graph,
                                       const LoadedPackages& packages) {
  std::vector<PackageSummary> missing;
  const std::map<PackageId, std::size_t> index = graph.index();
  for (const auto& id : ids) {
    const auto node = packages.contains(id) ? index.end() : index.find(id);
    if (node != index.end() && graph.nodes[node->second].dist) {
      missing.push_back({.pkg = graph.nodes[node->second].pkg, .dist = *graph.nodes[node->second].dist});
    }
  }
  return missing;
}

/// Loads the packages of `ids` that aren't in `packages` yet.
void fetch(const std::set<PackageId>& ids, const DependencyGraph& graph, PackageLoader& loader,
           LoadedPackages& packages) {
  const std::vector<PackageSummary> missing = missing_of(ids, graph, packages);
  const auto loaded = loader.load_all(missing);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    packages.emplace(missing[i].pkg.id, loaded[i]);
  }
}

/// Loads the packages of a package view: the root, and those of the others that can be loaded.
LoadedPackages fetch_view(std::shared_ptr<const Package> root, PackageLoader& loader, const Resolution& resolution,
                          bool strict) {
  LoadedPackages packages;
  if (root != nullptr) {
    packages.emplace(resolution.package.root, std::move(root));
  }
  fetch({resolution.package.root}, resolution.graph, loader, packages);
  std::set<PackageId> all;
  for (const auto& node : resolution.graph.nodes) {
    all.insert(node.pkg.id);
  }
  if (strict) {
    fetch(all, resolution.graph, loader, packages);
    return packages;
  }
  const std::vector<PackageSummary> missing = missing_of(all, resolution.graph, packages);
  const auto loaded = loader.load_available(missing, [&](const PackageSummary& package, const Error& reason) {
    if (reason.code() == ErrorCode::kCorrupt && loader.limits_of(package.dist).refuses_damage) {
      throw Error(reason);
    }
    log::warn("the dependency \"{}\" isn't shown: {}", package.pkg.id.to_string(), reason);
  });
  for (std::size_t i = 0; i < missing.size(); ++i) {
    if (loaded[i] != nullptr) {
      packages.emplace(missing[i].pkg.id, loaded[i]);
    }
  }
  return packages;
}

std::string quoted_list(const std::vector<LoadedCommand>& commands) {
  std::string text;
  for (const auto& command : commands) {
    text += (text.empty() ? "\"" : ", \"") + command.name + "\"";
  }
  return text;
}

}  // namespace

LoadedPackages fetch_packages(std::shared_ptr<const Package> root, PackageLoader& loader,
                              const Resolution& resolution) {
  LoadedPackages packages;
  std::set<PackageId> needed{resolution.package.root};
  if (root != nullptr) {
    packages.emplace(resolution.package.root, std::move(root));
  }
  for (const auto& [name, command] : resolution.package.commands) {
    needed.insert(command.package);
  }
  for (const auto& mapping : resolution.package.filesystem) {
    needed.insert(mapping.package);
  }
  fetch(needed, resolution.graph, loader, packages);
  // A command of another package may run an atom of a dependency, even if all of its own commands are hidden.
  fetch(atom_owners(resolution, packages), resolution.graph, loader, packages);
  return packages;
}

PackageTree load_package_tree(std::shared_ptr<const Package> root, PackageLoader& loader, const Resolution& resolution,
                              const TreeOptions& options) {
  if (options.view == View::kMerged) {
    check_limits(resolution, loader);
  }
  LoadedPackages packages = options.view == View::kPackage
                                ? fetch_view(std::move(root), loader, resolution, options.strict)
                                : fetch_packages(std::move(root), loader, resolution);
  const int webc_version = packages.at(resolution.package.root)->webc_version();
  CommandSet commands;
  if (options.view == View::kMerged) {  // the package view shows broken packages, too
    commands = build_commands(resolution, packages);
  }
  if (options.strict && !commands.errors.empty()) {
    throw commands.errors.front();
  }
  LoadedFileSystem loaded = build_file_system(resolution, packages, commands.commands, options);
  PackageTree tree{.id = resolution.package.root,
                   .package_ids = {},
                   .webc_version = webc_version,
                   .entrypoint = resolution.package.entrypoint,
                   .commands = std::move(commands.commands),
                   .mappings = std::move(loaded.mappings),
                   .packages = std::move(packages),
                   .file_system = std::move(loaded.file_system),
                   .command_errors = std::move(commands.errors)};
  for (const auto& [id, package] : tree.packages) {
    tree.package_ids.push_back(id);
  }
  return tree;
}

std::string infer_entrypoint(const PackageTree& tree) {
  if (tree.entrypoint) {
    return *tree.entrypoint;
  }
  if (tree.commands.empty()) {
    throw Error(ErrorCode::kLoad, "The package doesn't contain any executable commands");
  }
  if (tree.commands.size() > 1) {
    throw Error(ErrorCode::kLoad, "Unable to determine the package's entrypoint. Please choose one of [" +
                                      quoted_list(tree.commands) + "]");
  }
  return tree.commands.front().name;
}

Footprint footprint(vfs::FileSystem& fs) {
  Footprint total{.bytes = 0, .inodes = 1};
  for (vfs::TreeWalk walk(fs, fs.root()); walk.next();) {
    const vfs::WalkStep& step = walk.step();
    if (step.leaving || step.inode == 0) {
      continue;
    }
    ++total.inodes;
    total.bytes += step.attributes.type == vfs::FileType::kDirectory ? 0 : step.attributes.size;
  }
  return total;
}

}  // namespace pkgfs
