// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/hash.h"

namespace pkgfs {

/// Takes the bytes of a file in their order. Not thread-safe.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// Throws Error if the bytes can't be written.
  virtual void write(std::span<const std::byte> bytes) = 0;
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
};

/// Writes to a descriptor through a buffer.
class FileSink final : public ByteSink {
 public:
  static constexpr std::size_t kBuffer = 1U << 20U;
  /// `fd` stays the caller's, and must outlive this. `name` is for messages. `buffer` is the size of the buffer in
  /// bytes.
  FileSink(int fd, std::string name, std::size_t buffer = kBuffer);
  using ByteSink::write;
  /// Throws Error naming the file.
  void write(std::span<const std::byte> bytes) override;
  /// Writes what is still in the buffer. The destructor doesn't, because it can't report an error.
  void flush();

 private:
  int fd_;
  std::string name_;
  std::size_t most_;
  std::string buffer_;
};

/// Passes bytes on to another sink, and computes their number and their SHA-256.
class HashSink final : public ByteSink {
 public:
  /// `next` must outlive this.
  explicit HashSink(ByteSink& next) : next_(next) {}
  using ByteSink::write;
  void write(std::span<const std::byte> bytes) override;
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// The digest of all bytes. Called once, at the end.
  [[nodiscard]] Sha256 digest() { return hasher_.finish(); }

 private:
  ByteSink& next_;
  Sha256Hasher hasher_;
  std::uint64_t size_ = 0;
};

/// Compresses to gzip (RFC 1952). The header holds neither name nor time, so that the same bytes give the same result
/// with the same zlib.
class GzipSink final : public ByteSink {
 public:
  /// `next` must outlive this. Throws Error(kUnsupported) if this machine has no zlib.
  explicit GzipSink(ByteSink& next);
  ~GzipSink() override;
  GzipSink(const GzipSink&) = delete;
  GzipSink& operator=(const GzipSink&) = delete;
  using ByteSink::write;
  void write(std::span<const std::byte> bytes) override;
  /// Writes the end of the stream. Throws as `write`.
  void finish();

 private:
  struct State;
  void deflate(std::span<const std::byte> bytes, int flush);

  ByteSink& next_;
  std::unique_ptr<State> state_;
};

}  // namespace pkgfs
