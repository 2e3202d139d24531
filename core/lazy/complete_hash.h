// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/byte_source.h"
#include "core/base/hash.h"
#include "core/lazy/sparse_file.h"

namespace pkgfs {

/// The hash of a SparseFile that is complete.
struct CompleteHash {
  Sha256 hash{};
  std::uint64_t generation = 0;  // SparseFile::generation of the bytes that were hashed
};

/// Hashes the whole file; `bytes` are its bytes. Nothing if blocks are missing. Also nothing if this or another process
/// has forgotten blocks meanwhile. The hash may then be one of old and new bytes together, and say nothing about
/// either. Throws as `hash_or_throw`.
[[nodiscard]] std::optional<CompleteHash> hash_complete(const SparseFile& file, const ByteSource& bytes);

}  // namespace pkgfs
