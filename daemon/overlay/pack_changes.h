// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>

#include "daemon/mount/changes_directory.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// Writes what a writable mount shows to the empty file `fd`, as one container of version 3 that needs no other
/// package:
/// - The volume `/files`, mapped at "/", has all files of the merged tree: those of the package, of its dependencies,
///   and the changes. A dependency can't stay one: a change of its files, or a removed one, couldn't be said.
/// - The atoms are those of the package, and those that its commands run. A changed file in the directory of commands
///   replaces the atom; a removed one removes the command.
/// - The manifest keeps the package's annotations (license, readme and so on) and its entrypoint.
///
/// `opened` are the packages below the changes, opened without commands in the tree. Permissions, owners, extended
/// attributes and hard links aren't in a container. The same changes give the same bytes. `latest` is as in
/// `write_package`. Throws Error, for a FIFO, socket or device too.
void pack_changes(const ChangesDirectory& changes, const OpenedTree& opened,
                  const std::optional<std::string>& commands_dir, int fd, std::optional<std::uint64_t> latest);

}  // namespace pkgfs
