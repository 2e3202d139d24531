// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/vfs/served_names.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/packages/open_tree.h"
#include "daemon/serve/memory_shares.h"

namespace pkgfs {

/// What opens the same tree of a package again. A package of a lock file is opened by that file as it was, with all its
/// checks. Any other one is opened by its resolution, without a question to a registry.
struct PackageRecipe {
  std::shared_ptr<const LockFile> lock;  // null: `resolution` has the packages
  Resolution resolution{.graph = {},
                        .order = {},
                        .package = {.root = PackageHash(Sha256{}), .commands = {}, .entrypoint = {}, .filesystem = {}}};
  std::vector<std::size_t> in_parts;  // nodes of `resolution` that nothing but a URL and its version names
};

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
