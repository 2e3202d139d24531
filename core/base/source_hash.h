// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "core/base/byte_source.h"
#include "core/base/hash.h"

namespace pkgfs {

/// A piece of a source that couldn't be read.
struct UnreadPiece {
  std::uint64_t offset = 0;  // in the source
  int error = 0;             // an errno number, from ByteSource::read
};

/// The SHA-256 of `length` bytes of `source` from `offset`. Reads with ByteSource::read, because lost pages of
/// `bytes()` are zeros. Throws Error(kInterrupted) as `throw_if_cancelled`, and what Sha256Hasher throws.
[[nodiscard]] tl::expected<Sha256, UnreadPiece> hash_of(const ByteSource& source, std::uint64_t offset,
                                                        std::uint64_t length);

/// The SHA-256 of all of `source`. Throws Error naming `path` if a piece can't be read, and as `hash_of`.
[[nodiscard]] Sha256 hash_or_throw(const ByteSource& source, const std::string& path);

}  // namespace pkgfs
