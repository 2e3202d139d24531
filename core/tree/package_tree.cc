// SPDX-License-Identifier: MIT
#include "core/tree/package_tree.h"

#include <set>
#include <utility>

#include "core/tree/commands.h"
#include "core/tree/file_system.h"
#include "core/vfs/walk.h"

namespace pkgfs {

namespace {

/// Loads the packages of `ids` that aren't in `packages` yet. One without a distribution (only the root may have
/// none) is left out.
void fetch(const std::set<PackageId>& ids, const DependencyGraph& graph, PackageLoader& loader,
           LoadedPackages& packages) {
  std::vector<PackageSummary> missing;
  for (const auto& id : ids) {
    const auto node = packages.contains(id) ? std::nullopt : graph.find(id);
    if (node && graph.nodes[*node].dist) {
      missing.push_back({.pkg = graph.nodes[*node].pkg, .dist = *graph.nodes[*node].dist});
    }
  }
  const auto loaded = loader.load_all(missing);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    packages.emplace(missing[i].pkg.id, loaded[i]);
  }
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
  LoadedPackages packages = fetch_packages(std::move(root), loader, resolution);
  if (options.view == View::kPackage) {
    std::set<PackageId> all;
    for (const auto& node : resolution.graph.nodes) {
      all.insert(node.pkg.id);
    }
    fetch(all, resolution.graph, loader, packages);
  }
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
