// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/hash.h"

/// Appending to and patching the bytes of a container that is being written. Integers are little endian, 8 bytes.
namespace pkgfs::webc {

using Bytes = std::span<const std::byte>;
using Buffer = std::vector<std::byte>;

inline void put(Buffer& buffer, Bytes bytes) { buffer.insert(buffer.end(), bytes.begin(), bytes.end()); }
inline void put(Buffer& buffer, std::string_view text) {
  put(buffer, std::as_bytes(std::span(text.data(), text.size())));
}
inline void put(Buffer& buffer, const Sha256& digest) { put(buffer, std::as_bytes(std::span(digest))); }
inline void put(Buffer& buffer, std::uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) {
    buffer.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}

/// Overwrites from `at`; the buffer already has the bytes that are replaced.
inline void set(Buffer& buffer, std::size_t at, Bytes bytes) {
  std::ranges::copy(bytes, buffer.begin() + static_cast<std::ptrdiff_t>(at));
}
inline void set(Buffer& buffer, std::size_t at, const Sha256& digest) {
  set(buffer, at, std::as_bytes(std::span(digest)));
}
inline void set(Buffer& buffer, std::size_t at, std::uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) {
    buffer[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

}  // namespace pkgfs::webc
