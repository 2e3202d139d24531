// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pkgfs {

/// Appends to a file through a buffer of 1 MiB, and can overwrite bytes that it wrote before. Not thread-safe.
class PatchedFile {
 public:
  /// `fd` stays the caller's, and must outlive this. Writing begins at offset `start`. `name` is for messages.
  PatchedFile(int fd, std::string name, std::uint64_t start = 0);

  /// The offset of the next byte.
  [[nodiscard]] std::uint64_t size() const { return written_ + buffer_.size(); }
  /// Throws Error naming the file, as do the functions below.
  void append(std::span<const std::byte> bytes);
  /// Appends zeros up to the next multiple of `alignment`.
  void align(std::uint64_t alignment);
  /// Overwrites bytes at `offset`, where there must be as many already.
  void patch(std::uint64_t offset, std::span<const std::byte> bytes);
  void flush();

 private:
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) const;

  int fd_;
  std::string name_;
  std::uint64_t written_;  // the offset of the buffer
  std::string buffer_;
};

}  // namespace pkgfs
