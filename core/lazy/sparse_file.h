// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/base/private_directory.h"
#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "core/lazy/block_claims.h"
#include "core/lazy/block_map.h"
#include "core/lazy/block_range.h"

namespace pkgfs {

/// A container that is being fetched block by block, in any order, by one or more processes of this machine: a sparse
/// file `{key}.lazy`, and beside it the file `{key}.lazy-map` with a map of the blocks that are there. Both are in the
/// directory for temporary files of a cache. All processes have `{key}.lazy-map` in shared memory (mmap(2)), so that
/// each process sees at once which blocks another one has fetched.
///
/// A block in the map is missing, present or synced. Present: its bytes were written; valid until the machine is
/// started anew. Synced: the bytes also survive a power cut. After a reboot, only synced blocks count.
///
/// While a process has the file open, it holds a shared flock(2) on the map, so that nothing removes or resets it. A
/// child of fork(2) shares that lock, and the claims, with its parent. Thread-safe. `has` and `missing` take no lock
/// and allocate nothing.
class SparseFile {
 public:
  /// Bytes; the last block of a file may have fewer. Small, because a file that a reader wants is fetched in whole
  /// blocks: with larger ones, most of what comes for a small file belongs to others.
  static constexpr std::uint64_t kBlock = 4U << 10U;
  static constexpr std::uint64_t kMostBytes = 1ULL << 40U;                  // of a file
  static constexpr std::size_t kMostValidator = MapHeader::kMostValidator;  // bytes

  /// What the file is a copy of. A file with another version is removed and begun anew.
  struct Version {
    std::string validator;   // of the server's file; at most `kMostValidator` bytes
    std::uint64_t size = 0;  // in bytes; not 0, at most `kMostBytes`

    friend bool operator==(const Version&, const Version&) = default;
  };

  /// The id of this boot of the machine, which the kernel gives; empty if it can't be read. Then a process that opens a
  /// file which no other process has open assumes a reboot: only synced blocks count.
  [[nodiscard]] static const std::string& this_boot();

  /// The file of `key` if there is one; its version can be any. Nothing if there is none, or if it is damaged. Throws
  /// Error naming it. `boot` is for tests.
  [[nodiscard]] static std::shared_ptr<SparseFile> find(const PrivateDirectory& directory, const std::string& key,
                                                        const std::string& boot = this_boot());
  /// The file of `key`, which is made if there is none of this version. A damaged one is begun anew, with a warning.
  ///
  /// Throws Error(kBusy) if another process uses a file of another version, or has just moved the complete file away.
  /// Throws Error(kFull), Error(kUnsupported) if the version is beyond its limits, and Error naming the file.
  [[nodiscard]] static std::shared_ptr<SparseFile> open(const PrivateDirectory& directory, const std::string& key,
                                                        const Version& version, const std::string& boot = this_boot());
  ~SparseFile();
  SparseFile(const SparseFile&) = delete;
  SparseFile& operator=(const SparseFile&) = delete;

  [[nodiscard]] const Version& version() const { return version_; }
  [[nodiscard]] std::uint64_t size() const { return version_.size; }
  [[nodiscard]] std::uint64_t blocks() const { return map_.blocks(); }
  /// The path of the sparse file.
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The sparse file, open for reading and writing; owned by this object.
  [[nodiscard]] int fd() const { return data_.get(); }
  /// Another descriptor of it. Throws Error naming it.
  [[nodiscard]] UniqueFd duplicate() const;

  /// How many blocks have so many bytes; `bytes` is a multiple of `kBlock`.
  [[nodiscard]] static constexpr std::uint64_t blocks_in(std::uint64_t bytes) { return bytes / kBlock; }
  /// The blocks that have a byte of this range.
  [[nodiscard]] static BlockRange blocks_of(std::uint64_t offset, std::uint64_t length) {
    return length == 0 ? BlockRange{}
                       : BlockRange{offset / kBlock, (offset + length - 1) / kBlock - offset / kBlock + 1};
  }
  /// Whether all bytes of this range are there. Blocks behind the end are never there.
  [[nodiscard]] bool has(std::uint64_t offset, std::uint64_t length) const noexcept {
    return has(blocks_of(offset, length));
  }
  [[nodiscard]] bool has(BlockRange range) const noexcept { return map_.has(range); }
  /// The first blocks of `range` that aren't there: one run without a gap. Empty if all are there.
  [[nodiscard]] BlockRange missing(BlockRange range) const noexcept { return map_.missing(range); }
  /// The bytes that are there. Takes some milliseconds for a file of 16 GiB.
  [[nodiscard]] std::uint64_t bytes_present() const noexcept;
  /// Another number after any process has forgotten blocks (`mark_missing`), before other bytes are written there. If a
  /// caller reads it, and then finds that blocks are there, their bytes stay the same as long as this number does.
  [[nodiscard]] std::uint64_t generation() const noexcept { return map_.mapped_generation(); }
  [[nodiscard]] bool is_complete() const noexcept { return has(BlockRange{0, blocks()}); }

  /// The right to fetch blocks, which no other process or thread has at the same time. The destructor gives it up. Must
  /// not outlive the file.
  class Claim {
   public:
    Claim(Claim&& other) noexcept;
    Claim& operator=(Claim&&) = delete;
    ~Claim();
    [[nodiscard]] BlockRange range() const { return range_; }

   private:
    friend class SparseFile;
    Claim(SparseFile& file, BlockRange range) : file_(&file), range_(range) {}
    SparseFile* file_;
    BlockRange range_;
  };
  /// Claims the first blocks of `range` that are missing and not claimed: one run without a gap. Doesn't wait. Nothing
  /// if there are none. Throws Error if the lock of a block can't be taken, although no other process has it.
  [[nodiscard]] std::optional<Claim> claim(BlockRange range);

  /// Writes `bytes` at `offset`; they needn't fill blocks. The caller has claimed their blocks. Throws Error(kFull) and
  /// Error naming the file.
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Records that all bytes of these blocks were written. Other processes see that at once. Throws Error naming the
  /// map, if its disk fails or, on some file systems, is full: then these blocks stay missing.
  void mark_present(BlockRange range);
  /// Forgets blocks, because their bytes were wrong. Does nothing once the map is removed: the whole file was right
  /// then, and other bytes must not be written into it any more. Throws Error naming the file.
  void mark_missing(BlockRange range);
  /// Calls `keep` if the file is complete, and if no process has forgotten blocks since it had this `generation`: its
  /// bytes are those that the caller has hashed. Meanwhile no process forgets blocks. Returns whether it called `keep`.
  /// Throws Error naming the file, and what `keep` throws.
  [[nodiscard]] bool keep_complete(std::uint64_t generation, const std::function<void()>& keep);
  /// Syncs what all processes have written, and then records that it is synced. Throws Error naming the file. If the
  /// disk fails, blocks that weren't synced are forgotten, because the kernel may have dropped their bytes.
  void sync();

  /// Removes the file and its map; what is open stays usable. Fails silently.
  void remove() noexcept;
  /// Removes the map after the caller has moved the complete file away, for example into the cache. Fails silently.
  void remove_map() noexcept;

 private:
  class Opener;
  /// Another descriptor of `fd`, which is open at `path`.
  [[nodiscard]] static UniqueFd duplicate(int fd, const std::string& path);
  SparseFile(UniqueFd directory, const std::string& key, UniqueFd data, UniqueFd map, const MapHeader& header,
             std::string path, const std::string& map_path);
  void sync_names() noexcept PKGFS_REQUIRES(sync_mutex_);
  /// Changes the generation, and then the blocks to missing.
  void forget(BlockRange range) PKGFS_REQUIRES(change_mutex_);

  Version version_;
  std::string path_;
  std::string data_name_;
  std::string map_name_;
  UniqueFd directory_;  // O_PATH
  UniqueFd data_;
  BlockMap map_;  // its descriptor holds the flock
  BlockClaims claims_;
  Mutex change_mutex_;  // of ChangeLock
  Mutex sync_mutex_;    // one thread syncs
  bool names_synced_ PKGFS_GUARDED_BY(sync_mutex_) = false;
};

}  // namespace pkgfs
