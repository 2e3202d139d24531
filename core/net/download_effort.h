// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace pkgfs {

/// What one download has cost so far, compared with what it brought. A server that cuts connections and lies about
/// ranges could otherwise make a client download the same bytes again and again. Not thread-safe.
class DownloadEffort {
 public:
  static constexpr int kMostRestarts = 2;
  /// A download may receive its size this many times.
  static constexpr std::uint64_t kMostTimes = 2;

  /// `kept`: bytes that an earlier call left.
  explicit DownloadEffort(std::uint64_t kept) : furthest_(kept) {}

  /// A server says that the file has `size` bytes; none: it doesn't say how many. An earlier size doesn't count then,
  /// because it may be that of another version.
  void expect(std::optional<std::uint64_t> size) {
    is_known_ = size.has_value();
    size_ = std::max(size_, size.value_or(0));
  }
  /// `bytes` came. False if that is more than the download is worth. A file of unknown size has only the limit for
  /// restarts.
  [[nodiscard]] bool spend(std::uint64_t bytes) {
    spent_ += bytes;
    return !is_known_ || spent_ / kMostTimes <= size_;
  }
  /// `kept` bytes are in the file now. True if that is progress: enough of them are beyond the furthest since
  /// the last start from zero. Pieces of a few bytes must add up first, else a server could send one byte for each
  /// request.
  [[nodiscard]] bool has_progressed(std::uint64_t kept) {
    if (kept < furthest_ + step()) {
      return false;
    }
    furthest_ = kept;
    return true;
  }
  /// The bytes that there are will be thrown away, so that every byte is progress again. False if that happened too
  /// often.
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

  std::uint64_t furthest_;   // of the bytes that were ever in the file, as far as they counted
  bool is_known_ = false;    // the server said how large the file is
  std::uint64_t size_ = 0;   // the largest that was announced
  std::uint64_t spent_ = 0;  // bytes received
  int restarts_ = 0;
};

}  // namespace pkgfs
