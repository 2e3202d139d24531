// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// Names that programs have looked up in vain in the directories of a tree. Any thread may call `add`, which takes no
/// lock and allocates nothing. Names for which there is no room are lost.
class AbsentNames {
 public:
  static constexpr std::size_t kBytes = std::size_t{64} << 10U;
  struct Absent {
    Inode directory;
    std::string name;
  };

  /// Throws std::bad_alloc.
  AbsentNames() : bytes_(std::make_unique_for_overwrite<char[]>(kBytes)) {}

  /// Names of before are lost, and later ones will be. Only before any call of `add`.
  void lose() noexcept;
  /// `name` has at most 255 bytes.
  void add(Inode directory, std::string_view name) noexcept;
  /// Adds the names to `names`. Call it when all calls of `add` have returned. False: some are lost.
  [[nodiscard]] bool copy_to(std::vector<Absent>& names) const;

 private:
  std::atomic<std::size_t> used_{0};  // may become greater than kBytes
  /// For each name: its directory, a byte with its length, and the name. Not initialised, so that it takes no memory.
  std::unique_ptr<char[]> bytes_;
};

}  // namespace pkgfs::vfs
