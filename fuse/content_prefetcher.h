// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
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

/// Prefetches small files into the kernel's page cache (FUSE_NOTIFY_STORE). A reader that reads a directory file by
/// file then causes one or two READ requests instead of one for each file.
///
/// The prefetcher chooses the files by these rules:
/// - After the first read in a directory: the next files of its listing, as many as fit a window (ReadRegion). A read
///   of the first file after the prefetched ones doubles the window. After reads in random order, nothing more is
///   prefetched there.
/// - When a reader has finished one directory and begins the next, as a walk does: the next few directories. In the
///   last one, the prefetcher leaves out the first file. A READ of that file shows that the walk goes on. The
///   prefetcher then takes twice as many directories, up to a limit, and leaves out the first file of the last again.
/// - After the first read in a directory of which nothing was prefetched: the next few directories that readers list.
///   Each is prefetched as soon as it is listed. Without such a read, a listing prefetches nothing.
/// The kernel accepts only files that it knows. If a reader opens files by name without listing their directory, the
/// prefetcher lists it (KernelCache::list).
///
/// Server threads only post hints and never wait. One thread does all other work. The kernel may make that thread wait
/// for a page while a server thread answers a READ of the same page. So it must not answer requests. While it writes to
/// the page cache, it must not hold a lock that a server thread takes.
class ContentPrefetcher {
 public:
  /// `fs` and `statistics` must outlive this. `fs` must be immutable. If it doesn't know places (`FileSystem::place`),
  /// nothing is prefetched.
  ///
  /// After each read, the prefetcher fills at most `page_cache` bytes, counted in whole pages, until the next read.
  /// This matters in a control group with little memory: the kernel would drop further pages before a reader uses them.
  ContentPrefetcher(vfs::FileSystem& fs, Statistics& statistics,
                    std::uint64_t page_cache = std::numeric_limits<std::uint64_t>::max())
      : fs_(fs), statistics_(statistics), page_cache_(page_cache) {}
  /// Ends the thread. If that takes more than some seconds, ends the process.
  ~ContentPrefetcher();
  ContentPrefetcher(const ContentPrefetcher&) = delete;
  ContentPrefetcher& operator=(const ContentPrefetcher&) = delete;

  /// Starts the thread, which fills `cache` and destroys it at its end. Call it only once. Throws std::system_error if
  /// no thread can be started.
  void start(std::unique_ptr<KernelCache> cache);
  /// Ends the thread; call it while server threads still answer requests. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

  // Hints from the server threads. These functions never wait; some hints may get lost. No effect before `start`.
  void file_was_read(vfs::Inode file, std::uint64_t size);
  void directory_was_listed(vfs::Inode directory);

  /// True while the thread works and needs a CPU.
  [[nodiscard]] const std::atomic<bool>& is_busy() const { return busy_; }

 private:
  /// A directory in which the thread may prefetch.
  struct Task {
    vfs::Inode directory = 0;
    unsigned ahead = 0;   // ReadRegion::ahead before the read
    bool listed = false;  // a reader listed it; else a reader read a file of it
  };
  /// The result of one run through a directory.
  struct Run {
    std::uint64_t position = 0;  // after the last file that was prefetched or passed over
    std::uint64_t first = 0;     // after the first file that PageCacheWriter accepts (`fits`); 0: there is none
    std::uint64_t bytes = 0;
    bool all = false;  // the run came to the end of the directory
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
  /// Takes all waiting hints; false: there were none.
  bool take_hints();
  void note_read(vfs::Inode file);
  /// Whether `directory` comes right after `last_directory_`, of which nearly all files were read or prefetched.
  bool walks_to(vfs::Inode directory);
  void handle_reading(const Task& task);
  void handle_listing(vfs::Inode directory);
  /// Prefetches the `count` directories that a walk visits after `directory`.
  void prefetch_next_directories(vfs::Inode directory, unsigned count);
  /// Prefetches files of `directory` from position `from` on until `window` bytes are used up, or `pages_left_`.
  Run prefetch(vfs::Inode directory, std::uint64_t from, std::uint64_t window, RunOptions options);
  /// Writes one file, after listing or waiting for it where `options` say so. 0, or an errno.
  int write(vfs::Inode directory, const vfs::DirEntry& entry, RunOptions& options, std::uint64_t& listed);
  /// Makes the kernel know some entries of `directory` from position `from` on; false: that failed.
  bool list(vfs::Inode directory, std::uint64_t from);
  [[nodiscard]] bool was_read(vfs::Inode directory, std::uint64_t position) const;

  vfs::FileSystem& fs_;
  Statistics& statistics_;
  const std::uint64_t page_cache_;
  std::thread thread_;
  std::atomic<bool> started_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> busy_{false};

  // Shared between the server threads and the prefetching thread.
  HintRing hints_;
  std::atomic<int> credit_{0};          // how many of the next listed directories are prefetched
  std::atomic<unsigned> ignored_{0};    // how many of the next reads cause no hint
  std::atomic<bool> by_name_{false};    // readers look up names without listing them
  std::atomic<vfs::Inode> listing_{0};  // the directory that `list` listed last

  // Used by the prefetching thread only.
  std::optional<PageCacheWriter> writer_;
  std::unordered_map<vfs::Inode, ReadRegion> regions_;
  std::vector<Task> tasks_;
  std::uint64_t pages_left_ = 0;      // bytes of whole pages that may be filled before the next read
  std::vector<vfs::DirEntry> batch_;  // of the directory that is prefetched
  vfs::Inode last_directory_ = 0;     // the directory in which a reader last began to read
  int gain_ = 1;                      // the value that `credit_` got last; the next one is twice as large
  std::uint64_t lead_ = 0;            // how many files readers advance while a prefetch is under way
  unsigned in_vain_ = 0;              // files in a row that the kernel didn't know
};

}  // namespace pkgfs::fuse
