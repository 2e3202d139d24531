// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/limits.h"

namespace pkgfs {

/// The limits of bytes and entries to which a tarball may unpack. Cheap to copy.
class UnpackLimit {
 public:
  /// `most` is the number of bytes that the user allows, whatever their ratio is. Without it, `limits` and the
  /// constants limits::kUnpackedFreely, kUnpackedRatio and kUnpackedAtFirst decide. `limits` must outlive this.
  explicit UnpackLimit(std::optional<std::uint64_t> most = std::nullopt,
                       const limits::PackageLimits& limits = limits::kLocal)
      : limits_(&limits), most_(std::min(most.value_or(limits.tarball_bytes), kMost)), by_ratio_(!most) {}

  /// Throws Error(kUnsupported) if `bytes` are too many for a tarball of `packed` bytes. `when`, such as "unpacked", is
  /// for the message.
  void check(std::uint64_t bytes, std::uint64_t packed, std::string_view when) const {
    if (bytes > most_ || (by_ratio_ && bytes > limits::kUnpackedFreely && bytes / limits::kUnpackedRatio > packed)) {
      refuse(bytes, packed, when);
    }
  }

  /// Throws Error(kUnsupported) if the first `read` bytes of a tarball unpack to too many `bytes`. So a decompression
  /// bomb isn't unpacked to its end.
  void check_beginning(std::uint64_t bytes, std::uint64_t read) const {
    if (by_ratio_ && bytes > limits::kUnpackedAtFirst && bytes / limits::kUnpackedRatio > read) {
      refuse_beginning(bytes, read);
    }
  }

  /// Throws Error(kUnsupported) for more entries than `limits` allows. `when`, such as " when packed", is for the
  /// message.
  void check_entries(std::size_t entries, std::string_view when = "") const {
    if (entries > limits_->tarball_entries) {
      refuse_entries(when);
    }
  }

 private:
  static constexpr std::uint64_t kMost = 1ULL << 62U;  // so that the sum of two sizes doesn't overflow

  [[noreturn]] void refuse(std::uint64_t bytes, std::uint64_t packed, std::string_view when) const;
  [[noreturn]] void refuse_entries(std::string_view when) const;
  [[noreturn]] void refuse_beginning(std::uint64_t bytes, std::uint64_t read) const;

  const limits::PackageLimits* limits_;
  std::uint64_t most_;
  bool by_ratio_;
};

}  // namespace pkgfs
