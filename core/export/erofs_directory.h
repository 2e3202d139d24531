// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/function_ref.h"
#include "core/export/erofs_format.h"

namespace pkgfs {

/// Where the number of its parent is missing in a directory that is written already.
struct ErofsParentField {
  bool in_metadata = false;  // else in a data block
  std::uint64_t offset = 0;  // in the one or the other
};

/// Collects the entries of one directory and writes its blocks.
class ErofsDirectory {
 public:
  /// Adds an entry. Names come in the order of their bytes, without "." and "..".
  void add(std::string_view name, erofs::EntryType type, std::uint64_t nid);
  /// Adds to `directories`.
  void add_directory(const ErofsParentField& parent) { directories_.push_back(parent); }
  /// One for each subdirectory.
  [[nodiscard]] const std::vector<ErofsParentField>& directories() const { return directories_; }

  /// The bytes of all blocks, where the last block counts only as far as it is used.
  [[nodiscard]] std::uint64_t size();
  /// Calls `write` for each block: whole blocks, the last one only as far as it is used. If the block has the entry
  /// "..", `parent_at` is the offset of its number, which is 0 so far. `nid` is the number of this directory.
  void write(std::uint64_t nid,
             FunctionRef<void(std::span<const std::byte> block, std::optional<std::size_t> parent_at)> write);

 private:
  struct Entry {
    std::size_t name_at = 0;  // in `names_`
    std::uint64_t nid = 0;
    std::uint8_t name_length = 0;
    erofs::EntryType type = erofs::EntryType::kFile;
  };
  [[nodiscard]] std::string_view name_of(const Entry& entry) const;
  /// Inserts "." and ".." once.
  void complete();
  /// The index after the last entry of the block that begins with entry `first`, and the bytes that it uses.
  [[nodiscard]] std::pair<std::size_t, std::size_t> block_from(std::size_t first) const;

  std::string names_;
  std::vector<Entry> entries_;
  std::vector<ErofsParentField> directories_;
  bool complete_ = false;
};

}  // namespace pkgfs
