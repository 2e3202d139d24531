// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/vfs/file_system.h"

namespace pkgfs::fuse {

/// What `statfs` shows.
struct Usage {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
};

/// Counts a tree, a little at a time: whoever asks is never kept long. A tree with live directories isn't counted at
/// all, since that would mean reading the host's directories again and again: its usage stays 0. Thread-safe.
class UsageCounter {
 public:
  /// What one question may cost; enough for more than a hundred thousand entries.
  static constexpr auto kPatience = std::chrono::milliseconds(100);

  /// `fs` must outlive the counter. Nothing is counted yet.
  explicit UsageCounter(vfs::FileSystem& fs, std::chrono::nanoseconds patience = kPatience)
      : fs_(fs), patience_(patience) {}

  /// Goes on counting where the last question stopped, unless another thread does so now. Answers with what was counted
  /// so far: bytes of all files, bytes of the links' texts, and inodes, the root included.
  [[nodiscard]] Usage get();

 private:
  struct Place {  // a directory, and how far it was read
    vfs::Inode inode = 0;
    std::uint64_t next = 0;
  };
  void begin();
  void read_some();

  vfs::FileSystem& fs_;
  std::chrono::nanoseconds patience_;
  std::mutex walk_;  // guards the three below
  bool begun_ = false;
  std::vector<Place> pending_;
  std::vector<vfs::DirEntry> batch_;
  std::atomic<bool> done_{false};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> inodes_{0};
};

}  // namespace pkgfs::fuse
