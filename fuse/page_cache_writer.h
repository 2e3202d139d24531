// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "fuse/kernel_cache.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {

/// Copies small files of a tree into the kernel's page cache, one at a time, and pauses while memory is short. For one
/// thread: that of ContentPrefetcher.
class PageCacheWriter {
 public:
  /// Larger files aren't written: the kernel's own read-ahead serves them.
  static constexpr std::uint64_t kMostOfFile = 64U << 10U;

  /// `fs` and `statistics` must outlive this.
  PageCacheWriter(vfs::FileSystem& fs, Statistics& statistics, std::unique_ptr<KernelCache> cache)
      : fs_(fs), statistics_(statistics), cache_(std::move(cache)), buffer_(kMostOfFile) {}

  [[nodiscard]] static bool fits(const vfs::DirEntry& entry) {
    return entry.attributes.type == vfs::FileType::kFile && entry.inode != 0 && !entry.attributes.may_be_program &&
           entry.attributes.size > 0 && entry.attributes.size <= kMostOfFile;
  }
  /// Writes the file `entry`, which must fit. 0, or an errno: ENOENT, the kernel doesn't know the file; EINTR,
  /// `stopping` was set. With `ask_first`, the file is read only if the kernel knows it.
  [[nodiscard]] int write(const vfs::DirEntry& entry, bool ask_first, const std::atomic<bool>& stopping);
  /// Whether `list` may work: false once the kernel has refused it.
  [[nodiscard]] bool can_list() const { return can_list_; }
  /// Makes the kernel know some entries of `directory` from position `from` on; false: that failed.
  [[nodiscard]] bool list(vfs::Inode directory, std::uint64_t from);
  /// To be called when a run of writes is over.
  void end_listing() { cache_->end_listing(); }
  /// Whether memory is short. If it is, a pause begins (`is_paused`). Asks the kernel only after every few mebibytes
  /// that were written; in between, the answer is false.
  [[nodiscard]] bool is_memory_short();
  [[nodiscard]] bool is_paused() const { return std::chrono::steady_clock::now() < pause_until_; }

 private:
  vfs::FileSystem& fs_;
  Statistics& statistics_;
  std::unique_ptr<KernelCache> cache_;
  bool can_list_ = true;
  std::vector<std::byte> buffer_;
  std::uint64_t since_check_ = 0;  // bytes
  std::chrono::steady_clock::time_point pause_until_;
};

}  // namespace pkgfs::fuse
