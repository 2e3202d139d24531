// SPDX-License-Identifier: MIT
#include "daemon/serve/held_package.h"

#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

void check(vfs::FileSystem& tree, bool immutable) {
  constexpr vfs::Inode kStableRoot = 1;
  if (tree.changes() != nullptr || (immutable && !tree.is_immutable())) {
    throw Error(ErrorCode::kUnsupported, "the package shows a directory of this machine, which may change at any time");
  }
  if (tree.root() != kStableRoot) {
    throw Error(ErrorCode::kUnsupported, "the package has too many files");
  }
}

}  // namespace

HeldPackage::HeldPackage(std::string path, OpenedTree opened, std::shared_ptr<const PackageRecipe> recipe,
                         MemoryShares::Share memory, bool immutable)
    : path_(std::move(path)), memory_(std::move(memory)), opened_(std::move(opened)), recipe_(std::move(recipe)) {
  check(*opened_.tree.file_system, immutable);
  const Resolution unused = std::move(opened_.resolution);  // `recipe_` has it
  opened_.tree.commands.clear();
  opened_.tree.mappings.clear();
  lazy_ = std::make_unique<LazyMount>(opened_.tree);
  lazy_->begin();
  log::info("\"{}\" is open", path_);
}

HeldPackage::~HeldPackage() { log::info("\"{}\" is closed", path_); }

}  // namespace pkgfs
