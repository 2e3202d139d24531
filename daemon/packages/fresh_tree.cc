// SPDX-License-Identifier: MIT
#include "daemon/packages/fresh_tree.h"

#include <sys/stat.h>

#include <fmt/format.h>

#include <utility>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "daemon/packages/flags_elsewhere.h"
#include "daemon/packages/package_path.h"

namespace pkgfs {
namespace {

/// What tells the package of a node from another one with the same id.
std::string content_of(const DependencyGraph::Node& node) {
  if (!node.dist) {
    return {};
  }
  if (node.dist->webc_sha256) {
    return to_hex(*node.dist->webc_sha256);
  }
  if (!node.dist->version.empty()) {
    return node.dist->url + " " + node.dist->version;  // the same whether it is read in parts or in the cache
  }
  struct stat status{};
  const std::string& path = node.dist->path ? *node.dist->path : node.dist->url;
  if (!node.dist->path || ::stat(path.c_str(), &status) != 0) {
    return path;
  }
  return fmt::format("{} {} {} {}.{}", path, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
}

std::string identity_of_resolution(const Resolution& resolution) {
  std::string text;
  for (const DependencyGraph::Node& node : resolution.graph.nodes) {
    // The id of a package without a name is its hash, which may not be computed yet.
    const PackageHash* const hash = node.pkg.id.hash();
    text += fmt::format("{} {}", hash != nullptr && !hash->known() ? "" : node.pkg.id.to_string(), content_of(node));
    for (const DependencyGraph::Edge& edge : node.edges) {
      text += fmt::format(" {}:{}", edge.alias, edge.target);
    }
    text += '\n';
  }
  return text;
}

}  // namespace

std::string identity_of(const OpenedTree& opened) { return identity_of_resolution(opened.resolution); }

std::string FreshTree::decide(const std::string& package, const std::string& working_directory) {
  const std::optional<std::string> path = package_path(package);
  return path ? absolute_from(working_directory, *path) : package;
}

std::string FreshTree::decide_later(const std::string& package, const std::string& working_directory) {
  try {
    return decide(package, working_directory);
  } catch (const Error& error) {
    log::debug("{}", error);
    return absolute_from(working_directory, meant_path(package));  // `decide` refuses nothing but paths
  }
}

FreshTree::FreshTree(std::string package, const TreeFlags& flags, const std::string& working_directory, const Io& io)
    : package_(std::move(package)), flags_(flags_from(working_directory, flags)), io_(io) {
  flags_.network.ask_again = true;
  flags_.network.forks_later = false;
  flags_.network.is_never_path = !package_.starts_with('/');
}

void FreshTree::cancel() noexcept { running_.cancel(); }

FreshTree::Fresh FreshTree::open(const OpenedTree& shown, const std::set<std::string>& known) {
  NoProgress no_progress;
  PackageOpener opener(flags_, io_, &no_progress);
  const RunningOpener::Scope scope(running_, opener);
  const RootPackage root = opener.find(package_);
  for (const DependencyGraph::Node& node : shown.resolution.graph.nodes) {
    const auto package = shown.tree.packages.find(node.pkg.id);
    // What lies at a path may be another package now.
    if (package != shown.tree.packages.end() && node.dist && node.dist->webc_sha256 && !node.dist->path) {
      opener.loader().adopt({.pkg = node.pkg, .dist = *node.dist}, package->second);
    }
  }
  try {
    if (std::string identity = identity_of_resolution(opener.resolve_tree(root)); known.contains(identity)) {
      return {std::move(identity), std::nullopt};
    }
  } catch (const Error& error) {
    if (flags_.view != View::kPackage) {
      throw;
    }
    log::debug("\"{}\" is shown without some dependencies: {}", package_, error);  // load_tree decides
  }
  OpenedTree opened = load_tree(opener, root, package_, flags_, tree_options(flags_));
  std::string identity = identity_of(opened);
  return {std::move(identity), std::move(opened)};
}

}  // namespace pkgfs
