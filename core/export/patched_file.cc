// SPDX-License-Identifier: MIT
#include "core/export/patched_file.h"

#include <cstring>
#include <utility>

#include "core/base/files.h"

namespace pkgfs {

namespace {

constexpr std::size_t kPatchedBuffer = 1U << 20U;

}  // namespace

PatchedFile::PatchedFile(int fd, std::string name, std::uint64_t start)
    : fd_(fd), name_(std::move(name)), written_(start) {}

void PatchedFile::append(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kPatchedBuffer) {
    flush();
  }
  if (bytes.size() >= kPatchedBuffer) {
    write_at(written_, bytes);
    written_ += bytes.size();
  } else {
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

void PatchedFile::align(std::uint64_t alignment) {
  const std::uint64_t missing = (alignment - size() % alignment) % alignment;
  buffer_.append(static_cast<std::size_t>(missing), '\0');
}

void PatchedFile::patch(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset < written_ && offset + bytes.size() > written_) {
    flush();
  }
  if (offset < written_) {
    write_at(offset, bytes);
  } else {
    std::memcpy(buffer_.data() + (offset - written_), bytes.data(), bytes.size());
  }
}

void PatchedFile::flush() {
  write_at(written_, std::as_bytes(std::span(buffer_)));
  written_ += buffer_.size();
  buffer_.clear();
}

void PatchedFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) const {
  write_all_at(fd_, offset, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name_);
}

}  // namespace pkgfs
