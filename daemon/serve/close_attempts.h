// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <map>

#include "core/vfs/served_file_system.h"

namespace pkgfs {

/// When the kernel is asked again to forget a tree that it didn't forget before, because programs use it. For one
/// thread.
class CloseAttempts {
 public:
  using Clock = vfs::ServedFileSystem::Clock;
  /// `idle`: the shortest time from one attempt to the next, unless too many trees are open.
  explicit CloseAttempts(std::chrono::milliseconds idle) : idle_(idle) {}

  /// Whether the kernel should be asked at `now`. If so, that counts as an attempt. The time to the next one doubles
  /// with each attempt, until the tree is used. If too many trees are open, it doubles from one second up to a minute,
  /// whether or not the tree is used: else the kernel would be asked each second for a tree that is in constant use.
  [[nodiscard]] bool begin(const vfs::ServedFileSystem::OpenSlot& open, Clock::time_point now);
  /// The tree was closed.
  void erase(std::size_t slot) { attempts_.erase(slot); }

 private:
  struct Pause {
    Clock::time_point next;
    Clock::duration length{};
  };
  struct Attempts {
    vfs::Inode root = 0;
    Clock::time_point used;
    Pause usual;
    Pause early;
  };

  std::chrono::milliseconds idle_;
  std::map<std::size_t, Attempts> attempts_;  // by slot
};

}  // namespace pkgfs
