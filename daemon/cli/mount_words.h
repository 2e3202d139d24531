// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {

struct MountFlags;

/// A word of `-o` that isn't an option of pkgfs: the kernel, mount(8), fstab or libfuse use it, or pkgfs refuses it
/// there.
struct MountWord {
  std::string_view word;  // a trailing "*" stands for any rest, a trailing "=" for any value
  bool refused = false;
  std::string_view why;  // what it does, why it has no effect, or why pkgfs refuses it and what to do instead
  bool unasked = false;  // mount(8) or mount.fuse(8) adds it by itself: refused only where the user wrote it
  /// Of a word with an effect. `item` is the word with its value. Throws Error(kUsage).
  void (*apply)(MountFlags& flags, std::string_view item) = nullptr;

  [[nodiscard]] bool ignored() const { return !refused && apply == nullptr; }
};

[[nodiscard]] std::span<const MountWord> mount_words();

/// The row for one word of `-o`, with or without a value; null if there is none.
[[nodiscard]] const MountWord* find_mount_word(std::string_view item);

/// Splits the value of an `-o` at commas. "\," stands for a comma and "\\" for a backslash; `name="a,b"` is one word,
/// as for mount(8). Empty words are left out.
[[nodiscard]] std::vector<std::string> split_mount_words(std::string_view text);

}  // namespace pkgfs
