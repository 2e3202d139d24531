// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/byte_source.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// A file below $TMPDIR that has no name: nothing is left of it, however the process ends. Where the file system there
/// can't make one, it is in memory. Throws Error.
[[nodiscard]] UniqueFd nameless_file();

/// Collects the bytes of many small files in one nameless file.
class Spool {
 public:
  Spool() : fd_(nameless_file()) {}

  /// Where the next byte goes.
  [[nodiscard]] std::uint64_t position() const { return written_ + buffer_.size(); }
  /// Throws Error when the disk is full.
  void append(std::string_view bytes);
  /// Appends `count` zeros, as a hole.
  void skip(std::uint64_t count);
  /// All that was appended. `name` is for messages; the spool is used up.
  [[nodiscard]] std::shared_ptr<const ByteSource> finish(std::string name);

 private:
  void flush();

  UniqueFd fd_;
  std::uint64_t written_ = 0;
  std::string buffer_;
};

}  // namespace pkgfs
