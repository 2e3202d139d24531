// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/resolve/lock_file.h"
#include "core/resolve/resolve.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// What opens the same tree of a package again. A package of a lock file is opened by that file as it was, with all its
/// checks. Any other one is opened by its resolution, without a question to a registry.
struct PackageRecipe {
  /// Of a file of this machine that has a package, when that was opened.
  struct Stamp {
    std::uint64_t size = 0;
    std::int64_t modified = 0;  // nanoseconds since the epoch, also `changed` (ctime)
    std::int64_t changed = 0;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;

    bool operator==(const Stamp&) const = default;
  };

  /// All of it, for another process. With `is_unread`, nothing else is known here.
  std::string text;
  bool is_unread = false;
  std::shared_ptr<const LockFile> lock;  // null: `resolution` has the packages
  std::optional<Resolution> resolution;
  std::vector<std::size_t> in_parts;    // nodes of `resolution` that nothing but a URL and its version names
  std::map<std::size_t, Stamp> stamps;  // of nodes of `resolution`
};

/// `text`: what the lock file has.
[[nodiscard]] std::shared_ptr<const PackageRecipe> recipe_of(LockFile lock, const std::string& text);
/// If an id isn't known yet, the recipe has no text: no other process opens the tree by it.
[[nodiscard]] std::shared_ptr<const PackageRecipe> recipe_of(const OpenedTree& opened);

/// `recipe` as it is after it has opened `opened` again: with the stamps of now. Otherwise a later file with the stamps
/// of before could be taken for this one.
[[nodiscard]] std::shared_ptr<const PackageRecipe> renewed(std::shared_ptr<const PackageRecipe> recipe,
                                                           const OpenedTree& opened);

/// The recipe that a predecessor has made, unread. Null: `text` is empty.
[[nodiscard]] std::shared_ptr<const PackageRecipe> unread_recipe(std::string text);
/// The same once it is read; others stay as they are. Throws Error if its text isn't one of a recipe.
[[nodiscard]] std::shared_ptr<const PackageRecipe> read_recipe(std::shared_ptr<const PackageRecipe> recipe);

/// How the files of this machine are, compared with what the recipe knows of them.
enum class FilesState {
  kSame,     // each has its stamp, or the hash that the source has stated
  kUnknown,  // one without a stated hash is another file, or has another size or time of modification
  kChanged,  // one hasn't the stated hash
};
[[nodiscard]] FilesState files_state(const PackageRecipe& recipe);

/// Whether both have the same packages, and sources have stated the same hashes of all of them.
[[nodiscard]] bool have_same_hashes(const PackageRecipe& one, const PackageRecipe& other);

}  // namespace pkgfs
