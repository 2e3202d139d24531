// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/thread_annotations.h"

/// Why bytes of packages couldn't be read: counts for the statistics, and one log message for each range.
namespace pkgfs::read_faults {

enum class Cause : std::uint8_t {
  kRead,      // the operating system couldn't read them
  kChanged,   // the file was changed or cut in place
  kChecksum,  // they differ from the stored hash
  kCount,
};
inline constexpr std::size_t kCauses = static_cast<std::size_t>(Cause::kCount);

/// The name in statistics and metrics, such as "read".
[[nodiscard]] std::string_view name_of(Cause cause);

/// Counts one operation that failed with EIO.
void count(Cause cause);
/// How many failed since the process began. Thread-safe, as all functions here are.
[[nodiscard]] std::uint64_t counted(Cause cause);

/// Logs that `file` was changed in place while it is in use, and remembers the name.
void tell_changed(const std::string& file);
/// The names of the files that were changed in place since the process began.
[[nodiscard]] std::vector<std::string> changed_files();

/// A range that failed is not read again before this time has passed.
inline constexpr std::chrono::milliseconds kPause{1000};

struct Range {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t length = 0;
};

/// Logs that `range` of `file` can't be read. `error`: the errno, or ENODATA if the file ends before the range does.
void tell_lost(std::string_view file, const Range& range, int error);
/// Logs that it can be read again.
void tell_found(std::string_view file, const Range& range);

/// The ranges of one file that pread(2) couldn't read. Thread-safe. Costs a load as long as there are none.
class FailedRanges {
 public:
  /// Whether a read of `range` needs no attempt: a part of it failed less than `kPause` ago.
  [[nodiscard]] bool is_paused(const Range& range) const {
    return count_.load(std::memory_order_relaxed) != 0 && find_paused(range);
  }
  /// Records that reading `range` of `file` failed, and logs it once.
  void failed(std::string_view file, const Range& range, int error);
  /// Records that `range` was read: forgets what failed in it, and logs that.
  void succeeded(std::string_view file, const Range& range) {
    if (count_.load(std::memory_order_relaxed) != 0) [[unlikely]] {
      forget(file, range);
    }
  }

 private:
  struct Failed {
    Range range;
    std::chrono::steady_clock::time_point at;
  };
  /// Beyond so many, the oldest is forgotten.
  static constexpr std::size_t kMost = 256;

  [[nodiscard]] bool find_paused(const Range& range) const;
  void forget(std::string_view file, const Range& range);

  mutable Mutex mutex_;
  std::vector<Failed> failed_ PKGFS_GUARDED_BY(mutex_);
  std::atomic<std::size_t> count_{0};
};

}  // namespace pkgfs::read_faults
