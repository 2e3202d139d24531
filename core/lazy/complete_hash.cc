// SPDX-License-Identifier: MIT
#include "core/lazy/complete_hash.h"

#include "core/base/source_hash.h"

namespace pkgfs {

std::optional<CompleteHash> hash_complete(const SparseFile& file, const ByteSource& bytes) {
  const std::uint64_t generation = file.generation();  // first: blocks may be forgotten from now on
  if (!file.is_complete()) {
    return std::nullopt;
  }
  const Sha256 hash = hash_or_throw(bytes, file.path());
  if (file.generation() != generation || !file.is_complete()) {
    return std::nullopt;
  }
  return CompleteHash{.hash = hash, .generation = generation};
}

}  // namespace pkgfs
