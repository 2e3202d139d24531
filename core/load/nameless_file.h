// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/byte_source.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// Opens a new file without a name in the directory for temporary files ($TMPDIR, else /tmp). The kernel deletes it as
/// soon as no process has it open. If no file can be made there, the file is in memory. Throws Error if that fails,
/// too.
[[nodiscard]] UniqueFd nameless_file();
/// The same in `directory`, and never in memory. An empty path stands for the directory for temporary files. Throws
/// Error naming the directory.
[[nodiscard]] UniqueFd nameless_file(const std::string& directory);
/// What messages call a file of `nameless_file(directory)`.
[[nodiscard]] std::string nameless_file_name(const std::string& directory);

/// Collects the bytes of many small files in one nameless file. Not thread-safe.
class Spool {
 public:
  Spool() : fd_(nameless_file()) {}

  /// The offset of the next byte.
  [[nodiscard]] std::uint64_t position() const { return written_ + buffer_.size(); }
  /// Appends `bytes`, which may stay in a buffer at first. Throws Error if bytes can't be written, for example because
  /// the disk is full.
  void append(std::string_view bytes);
  /// Appends `count` zeros, as a hole. Throws as `append`.
  void skip(std::uint64_t count);
  /// All bytes. `name` is for messages. The spool must not be used afterwards. Throws Error.
  [[nodiscard]] std::shared_ptr<const ByteSource> finish(std::string name);

 private:
  void flush();

  UniqueFd fd_;
  std::uint64_t written_ = 0;
  std::string buffer_;
};

}  // namespace pkgfs
