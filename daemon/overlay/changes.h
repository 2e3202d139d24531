// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/overlay/merged_tree.h"

namespace pkgfs {

enum class ChangeKind {
  kAdded,
  kChanged,     // the content or the type
  kAttributes,  // only permissions or owner
  kRemoved,     // with everything below it, if it is a directory
  kRenamed,     // a directory of the package, which has another path now
};

/// An entry as it was or is.
struct ChangedEntry {
  mode_t mode = 0;  // with the type, as stat(2) has it
  std::uint64_t size = 0;
  std::string target;  // of a symbolic link
};

struct Change {
  std::string path;  // with a leading "/"
  ChangeKind kind = ChangeKind::kAdded;
  std::optional<ChangedEntry> before;
  std::optional<ChangedEntry> after;
  std::string from = {};                 // of a renamed directory: where it was
  std::optional<vfs::Inode> inode = {};  // of the package's entry
};

/// How the package's entries appear in the mount: what `st_uid` and `st_mode` of an unchanged entry are.
struct ShownAs {
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint16_t file_mask = 0;       // permission bits that files lack
  std::uint16_t directory_mask = 0;  // and directories
};

/// All changes, in the order of a walk. Files are compared byte by byte: one that a program has only opened for writing
/// isn't a change, nor is a new time. Of a removed or renamed directory, entries that went with it aren't listed. Looks
/// only at what was changed, not at the whole tree. Throws Error if something can't be read.
[[nodiscard]] std::vector<Change> list_changes(const MergedTree& tree, const ShownAs& shown);

}  // namespace pkgfs
