// SPDX-License-Identifier: MIT
#include "core/base/source_hash.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"

namespace pkgfs {

tl::expected<Sha256, UnreadPiece> hash_of(const ByteSource& source, std::uint64_t offset, std::uint64_t length) {
  constexpr std::uint64_t kPiece = 1U << 20U;
  Sha256Hasher hasher;
  std::vector<std::byte> buffer(std::min(length, kPiece));
  for (std::uint64_t done = 0; done < length;) {
    throw_if_cancelled();
    const auto piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), length - done));
    if (const Result<void> read = source.read(offset + done, piece); !read) {
      return tl::unexpected(UnreadPiece{.offset = offset + done, .error = read.error()});
    }
    hasher.update(piece);
    done += piece.size();
  }
  return hasher.finish();
}

Sha256 hash_or_throw(const ByteSource& source, const std::string& path) {
  const auto digest = hash_of(source, 0, source.size());
  if (!digest) {
    throw system_error("Unable to read \"" + path + "\" at " + std::to_string(digest.error().offset),
                       digest.error().error);
  }
  return *digest;
}

}  // namespace pkgfs
