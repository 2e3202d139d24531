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

/// The bytes of a package: immutable, of a fixed size, safe to use from many threads.
/// All of them are in memory or mapped into it (`bytes()`), so that parsers can point into them instead of copying. A
/// source that can't map its bytes has to copy them into memory or a file first.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// The name for messages: a path or a URL.
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] std::uint64_t size() const { return bytes().size(); }
  /// All bytes, in memory or mapped: for parsing. Valid as long as the source; reading them may wait for a disk.
  /// If the file shrinks or its disk fails, the lost part reads as zeros and `damaged()` becomes true. A caller
  /// therefore checks `damaged()` after it has read and before it uses the result.
  [[nodiscard]] virtual std::span<const std::byte> bytes() const = 0;
  /// True once a part of `bytes()` could not be read; stays true.
  [[nodiscard]] virtual bool damaged() const = 0;
  /// Copies `out.size()` bytes from `offset`. EIO if a part lies outside the source or can't be read.
  [[nodiscard]] virtual Result<void> read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// As `read`, if the kernel reports the bytes to be in memory. False if they aren't: the caller then calls `read`,
  /// which may wait for a disk.
  [[nodiscard]] virtual bool read_at_once(std::uint64_t offset, std::span<std::byte> out) const {
    return read(offset, out).has_value();
  }
};

/// A file mapped read-only; `read` uses pread(2). A page that is lost (truncation, a failing disk) gives EIO instead of
/// SIGBUS: the first MappedFile of a process installs a handler for SIGBUS. It replaces a lost page of a MappedFile
/// with zeros, and passes every other fault to the handler that was installed before.
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
  /// The descriptor, for fstat(2) and for passing it to the kernel; owned by this object.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  MappedFile(UniqueFd fd, std::string name);

  std::string name_;
  UniqueFd fd_;
  std::span<const std::byte> bytes_;
  std::size_t slot_ = 0;                     // of the table that the SIGBUS handler reads
  mutable std::atomic<bool> can_ask_{true};  // the file system supports RWF_NOWAIT
};

/// Bytes in memory, for tests, fuzzers and generated files.
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

/// A range of bytes in a source: an atom, a file body, a section. Cheap to copy; keeps the source alive.
struct Blob {
  std::shared_ptr<const ByteSource> source;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return source == nullptr ? std::span<const std::byte>{} : source->bytes().subspan(offset, length);
  }
};

}  // namespace pkgfs
