// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/vfs/served_names.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/packages/open_tree.h"
#include "daemon/serve/memory_shares.h"
#include "daemon/serve/package_recipe.h"

namespace pkgfs {

/// The tree of a package in a served directory.
class HeldPackage final : public vfs::HeldTree {
 public:
  /// `path`: in the served directory. `memory` is that of the tree. `recipe` may be null: then the tree is always found
  /// anew. Throws Error(kUnsupported) if a served directory can't show the tree.
  HeldPackage(std::string path, OpenedTree opened, std::shared_ptr<const PackageRecipe> recipe,
              MemoryShares::Share memory, bool immutable);
  ~HeldPackage() override;

  [[nodiscard]] vfs::FileSystem& tree() override { return *opened_.tree.file_system; }
  [[nodiscard]] std::shared_ptr<const void> recipe() const override { return recipe_; }
  [[nodiscard]] const PackageTree& packages() const { return opened_.tree; }
  /// Of those that weren't complete when the tree was opened.
  [[nodiscard]] const std::vector<std::shared_ptr<LazySource>>& lazy_sources() const { return lazy_->sources(); }

 private:
  std::string path_;
  MemoryShares::Share memory_;
  OpenedTree opened_;
  std::shared_ptr<const PackageRecipe> recipe_;
  std::unique_ptr<LazyMount> lazy_;
};

}  // namespace pkgfs
