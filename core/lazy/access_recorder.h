// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/base/thread_annotations.h"
#include "core/lazy/access_profile.h"

namespace pkgfs {

/// Records which blocks of a container readers need, for the profile of its next mount. Until `begin_reading`, the
/// blocks count as needed to open the container. Thread-safe. For blocks that were noted before, `note` costs a load
/// for each, takes no lock and allocates nothing. It does so, too, once the profile is full: what is needed first
/// matters most.
class AccessRecorder {
 public:
  using Clock = std::chrono::steady_clock;
  /// A profile is saved this long after something was noted, so at most once in this time.
  static constexpr auto kSaveAfter = std::chrono::seconds(5);

  /// For a container of `size` bytes. `before`: the profile of the mounts before; it may be empty.
  AccessRecorder(std::uint64_t size, AccessProfile before);

  void note(BlockRange needed) {
    for (std::uint64_t block = needed.first; block < needed.end(); ++block) {
      if (block < blocks_ && !is_noted(block) && !is_full_.load(std::memory_order_relaxed)) {
        note_new({block, needed.end() - block});
        return;
      }
    }
  }
  void begin_reading() PKGFS_EXCLUDES(mutex_);

  /// The profile to save: none if no reader has read a block since the last call, or since `begin_reading`.
  [[nodiscard]] std::optional<AccessProfile> take_changed() PKGFS_EXCLUDES(mutex_);
  /// When the profile should be saved; nothing if it hasn't changed.
  [[nodiscard]] std::optional<Clock::time_point> due() const PKGFS_EXCLUDES(mutex_);

 private:
  using Ranges = AccessProfile::Ranges;

  [[nodiscard]] bool is_noted(std::uint64_t block) const {
    return (noted_[block / 64].load(std::memory_order_relaxed) >> (block % 64) & 1U) != 0;
  }
  void note_new(BlockRange needed) PKGFS_EXCLUDES(mutex_);

  const std::uint64_t blocks_;
  const AccessProfile before_;
  const std::unique_ptr<std::atomic<std::uint64_t>[]> noted_;  // NOLINT(modernize-avoid-c-arrays): a bit for each block
  std::atomic<bool> is_full_{false};                           // the list that is being filled
  mutable Mutex mutex_;
  bool is_reading_ PKGFS_GUARDED_BY(mutex_) = false;
  Ranges opening_ PKGFS_GUARDED_BY(mutex_);
  Ranges read_ PKGFS_GUARDED_BY(mutex_);
  std::uint64_t count_ PKGFS_GUARDED_BY(mutex_) = 0;  // of the blocks in the list that is being filled
  std::optional<Clock::time_point> changed_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs
