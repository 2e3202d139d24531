// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/unique_fd.h"
#include "core/lazy/block_range.h"
#include "core/lazy/map_header.h"

namespace pkgfs {

/// Which blocks of a file are there: a file that all processes map, and that they change with pwrite(2). It has a
/// header, and then one byte for each block. Thread-safe. The constructor and the functions that read or write the file
/// throw Error naming it.
///
/// Bytes, because two processes can write two of them at the same time without a lock. Writes by pwrite(2), because a
/// store into the mapping raises SIGBUS if the disk is full or the file was truncated, while pwrite(2) returns an
/// error. A load from a lost page gives zeros (core/base/lost_pages.h), so that its blocks are missing.
class BlockMap {
 public:
  enum class State : std::uint8_t {
    kMissing,
    kPresent,  // written; valid until the machine is started anew
    kSynced,   // also survives a power cut
  };
  /// Of the blocks, those that are there.
  struct Count {
    std::uint64_t blocks = 0;
    bool has_last = false;  // the last block, which may be shorter, is one of them

    /// The same in bytes, of a file of `size` bytes.
    [[nodiscard]] std::uint64_t bytes(std::uint64_t size, std::uint32_t block_size) const;
  };
  /// The blocks of a file of `size` bytes.
  [[nodiscard]] static std::uint64_t blocks_of(std::uint64_t size, std::uint32_t block_size) {
    return size / block_size + (size % block_size == 0 ? 0 : 1);
  }

  /// Makes the map in the new, empty file `fd`: all blocks are missing. Reserves the room for it on the disk, so that
  /// later changes don't fail on a full disk. Throws Error(kFull).
  static void make(int fd, const MapHeader& header, const std::string& path);
  /// The header of the map in `fd`. Nothing if it is damaged, or if the file doesn't have the length that fits.
  [[nodiscard]] static std::optional<MapHeader> read_header(int fd, const std::string& path);
  /// Begins another boot: of the blocks, only the synced ones stay. False if the map has an invalid byte; then it is
  /// left as it is. No other process may have the map open.
  [[nodiscard]] static bool begin_boot(int fd, MapHeader header, const std::string& boot, const std::string& path);
  /// Whether each byte is valid.
  [[nodiscard]] static bool is_valid(int fd, const MapHeader& header, const std::string& path);
  /// The blocks that aren't missing or, with `only_synced`, that are synced.
  [[nodiscard]] static Count count(int fd, const MapHeader& header, bool only_synced, const std::string& path);

  /// Takes over `fd`, whose header was read, and maps it.
  BlockMap(UniqueFd fd, const MapHeader& header, std::string path);

  [[nodiscard]] int fd() const { return file_->fd(); }
  [[nodiscard]] std::uint64_t blocks() const { return blocks_; }
  [[nodiscard]] bool has(BlockRange range) const noexcept;
  /// The first run of missing blocks in `range`.
  [[nodiscard]] BlockRange missing(BlockRange range) const noexcept;
  [[nodiscard]] Count count() const noexcept;
  /// All runs of blocks that are present but not synced.
  [[nodiscard]] std::vector<BlockRange> unsynced() const;
  [[nodiscard]] bool has_synced(BlockRange range) const noexcept;

  void set(BlockRange range, State state);
  /// Makes the missing blocks of `range` present. Also throws if they don't show as present afterwards, because the
  /// map can't be read.
  void mark_present(BlockRange range);
  /// Changes when blocks were forgotten.
  [[nodiscard]] std::uint64_t generation() const;
  /// The same from the mapping: costs no system call. 0 if the map is damaged.
  [[nodiscard]] std::uint64_t mapped_generation() const noexcept;
  void set_generation(std::uint64_t generation);
  void sync();

 private:
  [[nodiscard]] State state(std::uint64_t block) const noexcept;
  /// The first block from `at` to `end` that is missing, or the first one that isn't; else `end`.
  [[nodiscard]] std::uint64_t find(std::uint64_t at, std::uint64_t end, bool missing) const noexcept;

  std::string path_;
  std::uint64_t blocks_;
  std::shared_ptr<MappedFile> file_;
};

}  // namespace pkgfs
