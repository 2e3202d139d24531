// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/vfs/file_system.h"
#include "fuse/hint_ring.h"
#include "fuse/kernel_cache.h"
#include "fuse/page_cache_writer.h"
#include "fuse/read_region.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {

/// Prefetches small files into the kernel's page cache (FUSE_NOTIFY_STORE), so that a reader that goes through a
/// directory file by file causes one or two READ requests instead of one a file.
///
/// What is prefetched:
/// - After the first read in a directory, the files behind that one, up to a window (ReadRegion). A read behind the
///   window doubles it; reads in random order end it.
/// - After a reader has finished one directory and begun the next, as a walk does, the next few directories: twice as
///   many each time. The first file of the last one is left out, so that its READ shows that the walk still goes on.
/// - When directories that were listed have been read several times, each of the next few as soon as it is listed.
///   Listing alone prefetches nothing.
/// The kernel takes only files that it knows. If a reader goes on by names that it didn't list, the prefetcher lists
/// the directory itself (KernelCache::list).
///
/// Threads that answer requests only post hints and never wait. All other work happens on a thread of its own: the
/// kernel makes that thread wait for a page while a READ of the same page is being answered, so that it must neither
/// answer requests nor hold a lock that an answering thread takes.
class ContentPrefetcher {
 public:
  /// Both must outlive it. `fs` must be immutable and know places (`FileSystem::place`); else nothing is prefetched.
  ContentPrefetcher(vfs::FileSystem& fs, Statistics& statistics) : fs_(fs), statistics_(statistics) {}
  /// Ends the thread. If that takes more than some seconds, ends the process.
  ~ContentPrefetcher();
  ContentPrefetcher(const ContentPrefetcher&) = delete;
  ContentPrefetcher& operator=(const ContentPrefetcher&) = delete;

  /// Starts the thread, which fills `cache` and destroys it at its end. Once. Throws std::system_error if there is no
  /// thread.
  void start(std::unique_ptr<KernelCache> cache);
  /// Ends the thread; call it while requests are still answered. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

  // Hints from the threads that answer requests: they never wait, and some hints may get lost. No effect before
  // `start`.
  void file_was_read(vfs::Inode file, std::uint64_t size);
  void directory_was_listed(vfs::Inode directory);

  /// True while the thread works and needs a CPU.
  [[nodiscard]] const std::atomic<bool>& is_busy() const { return busy_; }

 private:
  /// A directory in which to prefetch, perhaps.
  struct Task {
    vfs::Inode directory = 0;
    unsigned ahead = 0;   // ReadRegion::ahead before the read
    bool listed = false;  // it was listed, not read
  };
  /// What one run through a directory prefetched.
  struct Run {
    std::uint64_t position = 0;  // behind the last file that was prefetched or passed over
    std::uint64_t first = 0;     // behind the first file that fits, 0 if there is none
    std::uint64_t bytes = 0;
    bool all = false;  // it came to the end of the directory
  };
  struct RunOptions {
    int patience = 0;            // how often to try again if the kernel doesn't know the first file yet
    bool without_first = false;  // leaves out the first file
    std::uint64_t lead = 0;      // passes over this many files
    bool list = false;           // lists files that the kernel doesn't know
  };

  void post(std::uint64_t event);
  void work();
  void handle_tasks();
  /// Takes all waiting hints; false: there are none.
  bool take_hints();
  void note_read(vfs::Inode file);
  /// Whether a reader that has read nearly all of the last directory now comes to `directory`, the next one.
  bool walks_to(vfs::Inode directory);
  void handle_reading(const Task& task);
  void handle_listing(vfs::Inode directory);
  /// Prefetches `count` directories that a walk comes to after `directory`.
  void prefetch_next_directories(vfs::Inode directory, unsigned count);
  /// Prefetches files of `directory` from position `from` on until `window` bytes are used up.
  Run prefetch(vfs::Inode directory, std::uint64_t from, std::uint64_t window, RunOptions options);
  /// Writes one file, after listing or waiting for it where `options` say so. 0, or an errno.
  int write(vfs::Inode directory, const vfs::DirEntry& entry, RunOptions& options, std::uint64_t& listed);
  /// Makes the kernel know some entries of `directory` from position `from` on; false: it doesn't.
  bool list(vfs::Inode directory, std::uint64_t from);
  [[nodiscard]] bool was_read(vfs::Inode directory, std::uint64_t position) const;

  vfs::FileSystem& fs_;
  Statistics& statistics_;
  std::thread thread_;
  std::atomic<bool> started_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> busy_{false};

  // Shared between the threads that post and the one that works.
  HintRing hints_;
  std::atomic<int> credit_{0};          // directories that are prefetched when they are listed
  std::atomic<unsigned> ignored_{0};    // reads that cause no hint
  std::atomic<bool> by_name_{false};    // readers look up names without listing them
  std::atomic<vfs::Inode> listing_{0};  // the directory that `list` listed last

  // The thread's own.
  std::optional<PageCacheWriter> writer_;
  std::unordered_map<vfs::Inode, ReadRegion> regions_;
  std::vector<Task> tasks_;
  vfs::Inode last_directory_ = 0;  // of the last read that began a directory
  int gain_ = 1;                   // what the next directory that is read adds to `credit_`
  std::uint64_t lead_ = 0;         // files that readers get ahead while a prefetch is under way
  unsigned in_vain_ = 0;           // files in a row that the kernel didn't know
};

}  // namespace pkgfs::fuse
