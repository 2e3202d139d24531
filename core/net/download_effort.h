// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace pkgfs {

/// Counts the bytes and restarts of one download, so that it ends when it costs too much. A server that cuts
/// connections and lies about ranges could otherwise make a client download the same bytes again and again. Not
/// thread-safe.
class DownloadEffort {
 public:
  static constexpr int kMostRestarts = 2;
  /// A download may receive its size this many times.
  static constexpr std::uint64_t kMostTimes = 2;

  /// `kept`: the bytes of the file that an earlier call of `download` left.
  explicit DownloadEffort(std::uint64_t kept) : furthest_(kept) {}

  /// Call it when a server says that the file has `size` bytes, or with none if it doesn't say how many. With none, no
  /// earlier size counts, because it may be that of another version. Of several sizes, the largest counts.
  void expect(std::optional<std::uint64_t> size) {
    is_known_ = size.has_value();
    size_ = std::max(size_, size.value_or(0));
  }
  /// Call it when `bytes` were received. False if the download has now received more than `kMostTimes` times the size
  /// of the file. A file of unknown size only has the limit for restarts.
  [[nodiscard]] bool spend(std::uint64_t bytes) {
    spent_ += bytes;
    return !is_known_ || spent_ / kMostTimes <= size_;
  }
  /// Whether the download has made progress, now that `kept` bytes are in the file. For that, the file must have grown
  /// by a step since the last progress or restart. A step is a sixteenth of the file, but at most 64 KiB. Otherwise a
  /// server could send one byte for each request.
  [[nodiscard]] bool has_progressed(std::uint64_t kept) {
    if (kept < furthest_ + step()) {
      return false;
    }
    furthest_ = kept;
    return true;
  }
  /// Call it before the bytes in the file are thrown away: after that, progress counts from an empty file. False if
  /// that happens more than `kMostRestarts` times.
  [[nodiscard]] bool restart() {
    furthest_ = 0;
    return ++restarts_ <= kMostRestarts;
  }
  [[nodiscard]] int restarts() const { return restarts_; }

 private:
  [[nodiscard]] std::uint64_t step() const {
    constexpr std::uint64_t kWorthARequest = 64U << 10U;
    constexpr std::uint64_t kParts = 16;  // a small file may come in so many pieces
    return !is_known_ ? kWorthARequest : std::clamp<std::uint64_t>(size_ / kParts, 1, kWorthARequest);
  }

  std::uint64_t furthest_;   // bytes in the file at the last progress; 0 after a restart
  bool is_known_ = false;    // the server said how large the file is
  std::uint64_t size_ = 0;   // the largest that was announced
  std::uint64_t spent_ = 0;  // bytes received
  int restarts_ = 0;
};

}  // namespace pkgfs
