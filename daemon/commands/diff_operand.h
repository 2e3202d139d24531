// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/vfs/compare.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// Receives the path of an entry that can't be read, and an errno.
using UnreadReport = std::function<void(std::string_view path, int error)>;

/// A tree that `pkgfs diff` compares.
struct DiffOperand {
  std::string name;                            // the id of the package, or the path of the directory
  std::optional<OpenedTree> opened;            // none for a directory: only its files are known
  std::unique_ptr<vfs::FileSystem> directory;  // null for packages
  std::unique_ptr<vfs::ComparedTree> tree;
};

/// Opens `text`, which is one of these:
/// - a lock file that `resolve --lock` wrote: the packages that it has;
/// - a directory without a wasmer.toml, such as one that `extract` wrote, or a mount: its files. Other mounts below it
///   are left out;
/// - any other PACKAGE.
///
/// Throws Error; Error(kPermission) for a lock file whose first package is a path of this machine. A stranger may have
/// written the file, so only the user names such a path.
[[nodiscard]] DiffOperand open_diff_operand(const std::string& text, const TreeFlags& flags, const Io& io,
                                            UnreadReport report);

}  // namespace pkgfs
