// SPDX-License-Identifier: MIT
// How PackageNames opens packages, and opens them again.
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/source/reach.h"
#include "daemon/packages/locked_packages.h"
#include "daemon/serve/package_names.h"

namespace pkgfs {
namespace {

using Finding = vfs::ServedNames::Finding;
using Kind = NameSyntax::Kind;

/// "python@3.12.1" for a package "python/python" of that version.
std::string link_to(const std::string& full_name, const NamedId& id) {
  return full_name.substr(full_name.rfind('/') + 1) + "@" + id.version.to_string();
}

/// PACKAGE for the root of a lock file. `is_path`: an administrator has named a path of this machine.
std::string locked_root(const LockFile& lock, bool& is_path) {
  const PackageSummary& root = lock.packages.front().summary;
  const DistributionInfo& dist = root.dist;
  is_path = false;
  if (is_of_artifact(dist)) {
    return *dist.registry;
  }
  if (!dist.path && !dist.registry) {
    return dist.url;  // its server may be a private one, which only its URL names
  }
  if (const NamedId* const named = root.pkg.id.named()) {
    return named->full_name + "@=" + named->version.to_string();
  }
  if (dist.webc_sha256) {
    return root.pkg.id.to_string();
  }
  is_path = dist.path.has_value();
  return dist.path.value_or(dist.url);
}

}  // namespace

Finding PackageNames::search(Task& task, const NameSyntax& syntax, bool offline) {
  TreeFlags flags = flags_;
  flags.network.offline = flags.network.offline || offline;
  flags.network.any_age = flags.network.offline;  // no warning that the answer in the cache is old, at each search
  if (syntax.kind == Kind::kRequirement) {
    return find_link(task, syntax, flags, offline);
  }
  Finding found{.tree = nullptr, .link = {}, .error = 0, .reason = {}};
  found.tree = open(task, syntax, flags, found.changed);
  return found;
}

TreeOptions PackageNames::options_of(const TreeFlags& flags, const MemoryShares::Share& memory) {
  TreeOptions options = tree_options(flags);
  options.memory = memory.bytes();
  return options;
}

std::shared_ptr<HeldPackage> PackageNames::open(Task& task, const NameSyntax& syntax, const TreeFlags& flags,
                                                bool& changed) {
  try {
    task.recipe = read_recipe(task.recipe);
  } catch (const Error& error) {
    log::info("\"{}\" is searched for anew: {}", task.path, error);
    task.recipe = nullptr;
  }
  if (task.recipe == nullptr || task.recipe->lock != nullptr) {
    changed = task.recipe == nullptr;
    return open_anew(task, syntax, flags);
  }
  try {
    const FilesState files = files_state(*task.recipe);
    changed = files != FilesState::kSame;
    if (files != FilesState::kChanged) {
      return open_again(task, flags);
    }
    log::info("\"{}\" is searched for anew: its file has changed", task.path);
  } catch (const Error& error) {
    if (error.is_of_run() || (flags.network.offline && may_ask(syntax))) {
      throw;  // a server may have what is missing
    }
    log::info("\"{}\" is searched for anew: {}", task.path, error);
  }
  std::shared_ptr<HeldPackage> found = open_anew(task, syntax, flags);
  const auto recipe = std::static_pointer_cast<const PackageRecipe>(found->recipe());
  changed = recipe == nullptr || !have_same_hashes(*task.recipe, *recipe);
  return found;
}

std::shared_ptr<HeldPackage> PackageNames::open_again(Task& task, const TreeFlags& flags) {
  const PackageRecipe& recipe = *task.recipe;
  const Resolution& resolution = *recipe.resolution;
  const DependencyGraph& graph = resolution.graph;
  PackageOpener opener(flags, io_, &task.arrivals);
  const RunningOpener::Scope scope(task.running, opener);
  opener.use_urls_of(graph, graph.index().at(resolution.package.root));
  std::vector<PackageSummary> summaries;
  std::vector<std::shared_ptr<const Package>> packages;
  for (const std::size_t i : recipe.in_parts) {
    summaries.push_back({.pkg = graph.nodes[i].pkg, .dist = *graph.nodes[i].dist});
    packages.push_back(opener.reopen(summaries.back().dist));
  }
  for (std::size_t i = 0; i < packages.size(); ++i) {
    opener.loader().adopt(summaries[i], std::move(packages[i]));
  }
  MemoryShares::Share memory = memory_.take();
  PackageTree tree = load_package_tree(nullptr, opener.loader(), resolution, options_of(flags, memory));
  std::shared_ptr<const Package> root = tree.packages.at(tree.id);
  OpenedTree opened{std::move(root), resolution, std::move(tree)};
  std::shared_ptr<const PackageRecipe> fresh = renewed(task.recipe, opened);
  return std::make_shared<HeldPackage>(task.path, std::move(opened), std::move(fresh), std::move(memory),
                                       flags_.verify != Verify::kRead);
}

std::shared_ptr<HeldPackage> PackageNames::open_anew(Task& task, const NameSyntax& syntax, const TreeFlags& given) {
  TreeFlags flags = given;
  std::string text = syntax.specifier;
  std::shared_ptr<const PackageRecipe> recipe;
  if (syntax.kind == Kind::kLockedPackage) {
    flags.network.lock = lock_path(syntax.specifier);
    recipe = task.recipe;
    if (recipe == nullptr || recipe->lock == nullptr) {
      std::string written;
      LockFile lock = parse_lock_file(*flags.network.lock, &written);
      recipe = recipe_of(std::move(lock), written);
    }
    bool is_path = false;
    text = locked_root(*recipe->lock, is_path);
    flags.network.is_never_path = !is_path;
  }
  PackageOpener opener(flags, io_, &task.arrivals);
  const RunningOpener::Scope scope(task.running, opener);
  if (recipe != nullptr) {
    opener.use_lock(*recipe->lock);
  }
  const RootPackage root = opener.find(text);
  MemoryShares::Share memory = memory_.take();
  OpenedTree opened = load_tree(opener, root, text, flags, options_of(flags, memory));
  if (recipe == nullptr) {
    recipe = recipe_of(opened);
  }
  return std::make_shared<HeldPackage>(task.path, std::move(opened), std::move(recipe), std::move(memory),
                                       flags_.verify != Verify::kRead);
}

Finding PackageNames::find_link(Task& task, const NameSyntax& syntax, const TreeFlags& flags, bool offline) {
  PackageOpener opener(flags, io_, &task.arrivals);
  const RunningOpener::Scope scope(task.running, opener);
  const RootPackage root = opener.find(syntax.specifier);
  const PackageInfo info = info_of(root);
  if (info.id.named() == nullptr) {
    throw Error(ErrorCode::kUnsupported, "the package has no version");
  }
  std::string link = link_to(syntax.full_name, *info.id.named());
  if (offline && !flags_.network.offline && !root.dist.path) {
    check_later(task.path, link);
  }
  return {.tree = nullptr, .link = std::move(link), .error = 0, .reason = {}};
}

}  // namespace pkgfs
