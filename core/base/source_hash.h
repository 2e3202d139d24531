// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

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

}  // namespace pkgfs
