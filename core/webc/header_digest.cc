// SPDX-License-Identifier: MIT
#include "core/webc/header_digest.h"

#include <algorithm>
#include <string_view>

#include "core/webc/bytes.h"
#include "core/webc/tree_volume.h"
#include "core/webc/v1.h"

namespace pkgfs::webc {
namespace {

constexpr std::uint64_t kDirectoryBytes = 64ULL << 10U;
constexpr std::string_view kNoChecksum = "----------------";

std::uint64_t mix(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 32U);
}

std::uint64_t add_directories(std::uint64_t hash, const Volume& volume) {
  const auto* tree = dynamic_cast<const TreeVolume*>(&volume);
  if (tree == nullptr) {
    return hash;
  }
  const VolumeParts& parts = tree->tree().parts();
  hash = mix(hash, parts.header_length);
  return digest64(hash, volume.source()->bytes().subspan(parts.header, std::min(parts.header_length, kDirectoryBytes)));
}

std::uint64_t add_entry(std::uint64_t hash, const IndexEntry& entry) {
  return digest64(mix(hash, entry.length), std::as_bytes(std::span(entry.checksum)));
}

}  // namespace

std::uint64_t digest64(std::uint64_t seed, std::span<const std::byte> bytes) {
  std::uint64_t hash = mix(seed, bytes.size());
  std::size_t at = 0;
  for (; bytes.size() - at >= sizeof(std::uint64_t); at += sizeof(std::uint64_t)) {
    hash = mix(hash, load_u64(bytes, at));
  }
  std::uint64_t rest = 0;
  for (; at < bytes.size(); ++at) {
    rest = rest << 8U | static_cast<std::uint64_t>(bytes[at]);
  }
  return mix(mix(hash, rest), 0);
}

std::uint64_t header_digest(const Container& container) {
  std::uint64_t hash = digest64(0, container.manifest_bytes());
  if (const Index* index = container.index()) {
    hash = add_entry(add_entry(hash, index->manifest), index->atoms);
    for (const auto& [name, entry] : index->volumes) {
      hash = add_entry(digest64(hash, std::as_bytes(std::span(name))), entry);
      if (entry.checksum.empty()) {
        if (const auto volume = container.find_volume(name)) {
          hash = add_directories(hash, *volume);
        }
      }
    }
    return hash;
  }
  const std::span<const std::byte> prefix = container.source()->bytes().first(kV1SignatureLength);
  hash = digest64(hash, prefix.subspan(kV1ChecksumKind));
  if (as_text(prefix.subspan(kV1ChecksumKind, kNoChecksum.size())) == kNoChecksum) {
    for (const auto& volume : container.volumes()) {
      hash = add_directories(hash, *volume);
    }
  }
  return hash;
}

}  // namespace pkgfs::webc
