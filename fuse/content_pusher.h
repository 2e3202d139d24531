// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/vfs/file_system.h"
#include "fuse/hint_ring.h"
#include "fuse/own_mount.h"
#include "fuse/statistics.h"

struct fuse_session;

namespace pkgfs::fuse {

/// Puts small files into the kernel's page cache before they are asked for (FUSE_NOTIFY_STORE): whoever reads a
/// directory file by file sends a request or two instead of one a file.
///
/// The first read in a directory brings the files behind it, as far as a window; reading on behind that doubles the
/// window, jumping about ends it. Who goes from one directory to the next, as a walk does, gets the next few ahead,
/// twice as many each time, but for one file: its read tells that he is still coming. When listed directories are read
/// again and again, the next few are brought as soon as they are listed. What is only listed costs nothing. The kernel
/// takes only files that it knows; where somebody reads on by names that he didn't list, they are listed for him.
///
/// All this happens on a thread of its own, which answers no requests and holds no lock that an answering thread wants:
/// the kernel can make it wait for a page whose READ is still being answered.
class ContentPusher {
 public:
  /// Both must outlive it. `fs` must be immutable and know `place`; otherwise nothing is ever pushed.
  ContentPusher(vfs::FileSystem& fs, Statistics& statistics) : fs_(fs), statistics_(statistics) {}
  ~ContentPusher();
  ContentPusher(const ContentPusher&) = delete;
  ContentPusher& operator=(const ContentPusher&) = delete;

  /// Begins to work for `session`, which is mounted as `own_mount`.
  void start(fuse_session* session, OwnMount own_mount);
  /// Ends the thread; do it while requests are still answered. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

  // What threads that answer requests tell it, once it was started: hints, of which some may get lost; nobody ever
  // waits.
  void file_was_read(vfs::Inode file, std::uint64_t size);
  void directory_was_listed(vfs::Inode directory);

  /// True while it works: it wants a CPU.
  [[nodiscard]] const std::atomic<bool>& is_busy() const { return busy_; }

 private:
  /// What was read and brought of one directory. Positions are those behind an entry.
  struct Region {
    std::uint64_t begin = 0;  // what lies between was brought or read
    std::uint64_t end = 0;
    std::uint64_t read = 0;    // the furthest that was read
    std::uint64_t window = 0;  // bytes; 0: read at random
    unsigned jumps = 0;
    unsigned inside = 0;  // files of the region that were asked for since it was brought
    unsigned ahead = 0;   // not 0: brought ahead, but for its first file, as the last of so many directories
    unsigned walk = 0;    // not 0: a walk came here that had so many directories brought ahead
    bool in_order = false;
  };
  /// A directory to be looked at, because files of it were read.
  struct Reading {
    vfs::Inode directory = 0;
    unsigned ahead = 0;   // of the region before
    bool listed = false;  // not read, but listed
  };

  void post(std::uint64_t event);
  void work();
  void handle_readings();
  /// Takes what is waiting, from the oldest on; false: there is nothing.
  bool take();
  void note_read(vfs::Inode file);
  /// Whether somebody who has read all of one directory now comes to `directory`, the next one.
  bool walks_to(vfs::Inode directory);
  void note_position(Region& region, std::uint64_t at);
  void bring(const Reading& reading);
  void handle_listing(vfs::Inode directory);
  /// Brings `count` directories that a walk meets after `directory`.
  void push_next_directories(vfs::Inode directory, unsigned count);
  struct Pushed {
    std::uint64_t position = 0;  // behind the last file that was brought or passed over
    std::uint64_t first = 0;     // behind the first file that could be brought, 0 if there is none
    std::uint64_t bytes = 0;
    bool all = false;  // to the end of the directory
  };
  struct Manner {
    int patience = 0;            // how often to try again where the kernel doesn't know the first file yet
    bool without_first = false;  // brings all but the first file
    std::uint64_t lead = 0;      // passes over so many files
    bool list = false;           // lists files that the kernel doesn't know
  };
  /// Brings files of `directory` from position `from` on until `window` bytes are used up.
  Pushed push_files(vfs::Inode directory, std::uint64_t from, std::uint64_t window, Manner manner);
  /// Whether readers have come past this position while it was about to be brought.
  [[nodiscard]] bool was_read(vfs::Inode directory, std::uint64_t at) const;
  /// Makes some entries of `directory` from position `from` on known to the kernel; false if that can't be done.
  bool list(vfs::Inode directory, std::uint64_t from);
  /// 0, or the errno.
  int push_file(const vfs::DirEntry& entry);
  [[nodiscard]] bool memory_is_short();

  vfs::FileSystem& fs_;
  Statistics& statistics_;
  fuse_session* session_ = nullptr;
  std::thread thread_;
  std::atomic<bool> started_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::atomic<bool> busy_{false};

  HintRing hints_;
  std::atomic<int> credit_{0};          // directories to be brought when they are listed
  std::atomic<unsigned> ignored_{0};    // reads that aren't looked at
  std::atomic<bool> by_name_{false};    // readers come by names; nobody lists what they read
  std::atomic<vfs::Inode> listing_{0};  // the directory that we listed last

  // The thread's own.
  std::unordered_map<vfs::Inode, Region> regions_;
  std::vector<Reading> readings_;
  vfs::Inode last_directory_ = 0;  // of the last read that began a directory
  int gain_ = 1;
  std::uint64_t lead_ = 0;             // files that readers are ahead of us by the time that something is brought
  unsigned in_vain_ = 0;               // files in a row that the kernel didn't know
  std::optional<OwnMount> own_mount_;  // none: can't be listed
  std::vector<std::byte> buffer_;
  std::uint64_t since_check_ = 0;  // bytes
  std::chrono::steady_clock::time_point pause_until_;
};

}  // namespace pkgfs::fuse
