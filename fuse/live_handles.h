// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "fuse/live_journal.h"

namespace pkgfs::fuse {

/// An open file of a tree with live directories.
struct LiveHandle {
  std::shared_ptr<vfs::OpenFile> file;
  vfs::Inode inode = 0;
  bool counted = false;  // by Passthrough
};

/// The numbers that the kernel holds for open files. Without a journal, they mean something to this daemon only. With
/// one, a successor learns which node a handle was opened for. Thread-safe.
class LiveHandles {
 public:
  LiveHandles() = default;
  ~LiveHandles();
  LiveHandles(const LiveHandles&) = delete;
  LiveHandles& operator=(const LiveHandles&) = delete;

  /// From now on, notes handles in `journal`, which must outlive this. Call it before the first open.
  void use(LiveJournal& journal);
  /// As LiveIds::use_places.
  void use_places(bool use) { uses_places_ = use; }

  /// The number for an open file of the node `id`, which the kernel gets. Throws std::bad_alloc, and then the caller
  /// still owns `handle`.
  [[nodiscard]] std::uint64_t add(std::unique_ptr<LiveHandle>& handle, std::uint64_t id) PKGFS_EXCLUDES(mutex_);
  /// The open file of a number; null: it is of an earlier daemon. Takes no lock.
  [[nodiscard]] LiveHandle* find(std::uint64_t number) const;
  /// Whether a daemon before has given the number to an open of the node `id`, which wasn't closed yet.
  [[nodiscard]] bool was_opened(std::uint64_t number, std::uint64_t id) const;
  /// Adds what `find` lacked. If another thread was faster, returns its file and leaves `handle` to the caller.
  [[nodiscard]] LiveHandle* add_again(std::uint64_t number, std::unique_ptr<LiveHandle>& handle) PKGFS_EXCLUDES(mutex_);
  /// Ends a number. Null: it is of an earlier daemon.
  [[nodiscard]] std::unique_ptr<LiveHandle> take(std::uint64_t number) PKGFS_EXCLUDES(mutex_);

 private:
  static constexpr unsigned kPlaceBits = 20;
  static constexpr std::size_t kPartHandles = 1024;
  using Part = std::array<std::atomic<LiveHandle*>, kPartHandles>;

  static std::uint32_t place_of(std::uint64_t number) { return number & ((1U << kPlaceBits) - 1); }
  [[nodiscard]] std::atomic<LiveHandle*>* at(std::uint32_t place) const;
  /// The same; takes memory for it.
  [[nodiscard]] std::atomic<LiveHandle*>& make(std::uint32_t place) PKGFS_REQUIRES(mutex_);

  LiveJournal* journal_ = nullptr;
  std::atomic<bool> uses_places_{true};
  Mutex mutex_;
  std::array<std::atomic<Part*>, (1U << kPlaceBits) / kPartHandles> parts_{};
  std::uint32_t fresh_ PKGFS_GUARDED_BY(mutex_) = 0;  // no place of the journal from this one on was used
  std::vector<std::uint32_t> free_ PKGFS_GUARDED_BY(mutex_);
  std::vector<std::uint32_t> free_beyond_ PKGFS_GUARDED_BY(mutex_);  // beyond the journal
};

}  // namespace pkgfs::fuse
