// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/load/zlib.h"

namespace pkgfs {

/// Unpacks a gzip file (RFC 1952) piece by piece, and checks all of it: the header, CRC and length of every member.
/// Only zeros may follow the last member, as on tapes. So GzipStream refuses every file that `gzip -t` refuses or warns
/// of. libarchive's own filter isn't used, because it ignores the CRC and length, and any bytes after the last member.
/// Not thread-safe.
class GzipStream {
 public:
  /// `packed` must outlive this. Throws Error(kUnsupported) if zlib can't be loaded.
  explicit GzipStream(std::span<const std::byte> packed);
  ~GzipStream();
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  /// The next unpacked bytes, which are valid until the next call; none at the end, when the whole file was sound.
  /// Throws Error(kCorrupt) with the number of the member and the offset of the damage in the file.
  [[nodiscard]] std::span<const std::byte> next();
  /// The number of packed bytes that have been read.
  [[nodiscard]] std::uint64_t position() const { return position_; }
  /// The number of bytes that have been unpacked.
  [[nodiscard]] std::uint64_t unpacked() const { return unpacked_; }

 private:
  /// Goes to the member at `position_`; false if none follows.
  bool begin_member();
  /// Unpacks once; returns the result of inflate().
  int step();
  [[noreturn]] void refuse(const std::string& what) const;

  std::span<const std::byte> packed_;
  std::vector<std::byte> buffer_;
  z_stream state_{};
  std::uint64_t position_ = 0;
  std::uint64_t unpacked_ = 0;
  std::uint64_t members_ = 0;
  bool inside_ = false;  // in the middle of a member
};

}  // namespace pkgfs
