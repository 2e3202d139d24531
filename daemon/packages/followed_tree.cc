// SPDX-License-Identifier: MIT
#include "daemon/packages/followed_tree.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "daemon/packages/flags_elsewhere.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;

std::string working_directory() {
  std::error_code failed;
  return fs::current_path(failed).string();
}

std::shared_ptr<const DirectoryPackage> directory_of(const OpenedTree& opened, const std::string& package) {
  auto root = std::dynamic_pointer_cast<const DirectoryPackage>(opened.root);
  if (root == nullptr) {
    throw Error(ErrorCode::kUsage, "--follow-manifest is for a package directory, and \"" + package + "\" is none");
  }
  return root;
}

bool are_same(const std::vector<DependencySpec>& a, const std::vector<DependencySpec>& b) {
  return std::ranges::equal(a, b, [](const DependencySpec& one, const DependencySpec& other) {
    return one.alias == other.alias && one.specifier.to_string() == other.specifier.to_string();
  });
}

}  // namespace

FollowedTree::FollowedTree(const OpenedTree& opened, std::string package, const TreeFlags& flags, const Io& io)
    : text_(absolute_from(working_directory(), package)),
      flags_(flags_from(working_directory(), flags)),
      io_(io),
      root_(directory_of(opened, package)),
      shown_(dynamic_cast<vfs::LiveOverlayFileSystem&>(*opened.tree.file_system)),
      resolution_(opened.resolution),
      packages_(opened.tree.packages) {
  flags_.lazy = Lazy::kOff;  // nothing would complete what comes later: `lazy_sources` are those of the first tree
  flags_.complete_begun = true;
}

FollowedTree::~FollowedTree() = default;

void FollowedTree::cancel() noexcept { running_.cancel(); }

void FollowedTree::prepare(PackageOpener& opener, const PackageInfo& info) const {
  const bool same = are_same(info.dependencies, resolution_.graph.nodes.front().pkg.dependencies);
  const std::map<PackageId, std::size_t> index = resolution_.graph.index();
  for (const auto& [id, package] : packages_) {
    const auto node = index.find(id);
    const bool is_root = id == resolution_.package.root;
    if (is_root || node == index.end() || !resolution_.graph.nodes[node->second].dist) {
      continue;
    }
    const PackageSummary summary{.pkg = resolution_.graph.nodes[node->second].pkg,
                                 .dist = *resolution_.graph.nodes[node->second].dist};
    if (same || !summary.dist.path) {  // what lies at a path may be another package now
      opener.loader().adopt(summary, package);
    }
  }
  if (same) {
    opener.use_known(resolution_);
  } else if (flags_.network.lock) {
    (void)opener.find(text_);  // reads the lock file
  }
}

void FollowedTree::reload(std::uint64_t own_device, const std::function<void(const PackageTree&)>& check) {
  std::shared_ptr<const DirectoryPackage> root = root_->reopen(own_device);
  NoProgress no_progress;
  PackageOpener opener(flags_, io_, &no_progress);
  const RunningOpener::Scope scope(running_, opener);
  const RootPackage found{root, std::nullopt, resolution_.graph.nodes.front().dist.value()};
  prepare(opener, info_of(found));
  TreeOptions options = tree_options(flags_);
  options.first_number = shown_.next_number();
  OpenedTree opened = load_tree(opener, found, text_, flags_, options);
  check(opened.tree);
  shown_.replace(dynamic_cast<vfs::LiveOverlayFileSystem&>(*opened.tree.file_system));
  root_ = std::move(root);
  resolution_ = std::move(opened.resolution);
  packages_ = std::move(opened.tree.packages);
}

}  // namespace pkgfs
