// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// Where the bytes of a package are. Immutable content of a fixed size; safe to use from many threads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// What messages call it: a path or a URL.
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] std::uint64_t size() const { return bytes().size(); }
  /// All bytes as memory, for parsing. Valid as long as the source. When the file below shrinks or its disk fails, the
  /// lost part reads as zeros and `damaged()` turns true: parsers stay inside bounds, answers are checked afterwards.
  [[nodiscard]] virtual std::span<const std::byte> bytes() const = 0;
  /// True once a part of `bytes()` could not be read; never goes back.
  [[nodiscard]] virtual bool damaged() const = 0;
  /// Copies `out.size()` bytes from `offset`, which must lie inside the source. EIO if any can't be read.
  [[nodiscard]] virtual Result<void> read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// The same if it can be had without waiting for a disk, as far as the kernel can tell; false: ask `read`.
  [[nodiscard]] virtual bool read_at_once(std::uint64_t offset, std::span<std::byte> out) const {
    return read(offset, out).has_value();
  }
};

/// A file mapped read-only and served with pread. Losing the file's pages (truncation, a failing disk) gives EIO, never
/// SIGBUS: the first MappedFile of a process installs a handler for SIGBUS which replaces a lost page of one of our
/// mappings with zeros and hands every other fault to the handler that was there before.
class MappedFile final : public ByteSource {
 public:
  /// Opens the regular file at `path`. Throws Error naming `path`.
  [[nodiscard]] static std::shared_ptr<MappedFile> open(const std::string& path);
  /// Takes over a descriptor that is open for reading. `name` is for messages.
  [[nodiscard]] static std::shared_ptr<MappedFile> adopt(UniqueFd fd, std::string name);

  ~MappedFile() override;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override;
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_at_once(std::uint64_t offset, std::span<std::byte> out) const override;
  /// The descriptor, for fstat and for handing to the kernel; owned by this object.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  MappedFile(UniqueFd fd, std::string name);

  std::string name_;
  UniqueFd fd_;
  std::span<const std::byte> bytes_;
  std::size_t slot_ = 0;                     // in the table that the SIGBUS handler reads
  mutable std::atomic<bool> can_ask_{true};  // this file system knows what is in memory
};

/// Bytes in memory: what tests, fuzzers and generated files use.
class MemoryBytes final : public ByteSource {
 public:
  MemoryBytes(std::string name, std::vector<std::byte> bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  std::string name_;
  std::vector<std::byte> bytes_;
};

/// A run of bytes in a source: an atom, a file body, a section. Cheap to copy.
struct Blob {
  std::shared_ptr<const ByteSource> source;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return source == nullptr ? std::span<const std::byte>{} : source->bytes().subspan(offset, length);
  }
};

}  // namespace pkgfs
