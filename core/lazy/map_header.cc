// SPDX-License-Identifier: MIT
#include "core/lazy/map_header.h"

#include <array>
#include <cstring>
#include <type_traits>

namespace pkgfs {
namespace {

constexpr std::array<char, 8> kMagic{'p', 'k', 'g', 'f', 's', 'm', 'a', 'p'};
constexpr std::uint32_t kFormat = 1;

/// In the byte order of the machine: on a machine with another one, `format` is wrong.
struct Stored {
  std::array<char, 8> magic;
  std::uint32_t format;
  std::uint32_t block_size;
  std::uint64_t size;
  std::uint32_t validator_length;
  std::uint32_t boot_length;
  std::array<char, MapHeader::kMostBoot> boot;
  std::array<char, MapHeader::kMostValidator> validator;
  std::uint64_t checksum;  // of all bytes before it
};
static_assert(std::is_trivially_copyable_v<Stored> && sizeof(Stored) <= MapHeader::kBytes);
static_assert(offsetof(Stored, checksum) + sizeof(std::uint64_t) == sizeof(Stored), "no padding behind the checksum");

/// FNV-1a: finds damage, not forgery. Other users can't write the file.
std::uint64_t checksum_of(const Stored& stored) {
  constexpr std::uint64_t kBasis = 0xcbf29ce484222325;
  constexpr std::uint64_t kPrime = 0x100000001b3;
  std::uint64_t sum = kBasis;
  for (const std::byte each : std::as_bytes(std::span(&stored, 1)).first(offsetof(Stored, checksum))) {
    sum = (sum ^ std::to_integer<std::uint64_t>(each)) * kPrime;
  }
  return sum;
}

}  // namespace

std::vector<std::byte> MapHeader::encode() const {
  Stored stored;
  std::memset(&stored, 0, sizeof stored);
  stored.magic = kMagic;
  stored.format = kFormat;
  stored.block_size = block_size;
  stored.size = size;
  stored.validator_length = static_cast<std::uint32_t>(validator.copy(stored.validator.data(), kMostValidator));
  stored.boot_length = static_cast<std::uint32_t>(boot.copy(stored.boot.data(), kMostBoot));
  stored.checksum = checksum_of(stored);
  std::vector<std::byte> bytes(kBytes);
  std::memcpy(bytes.data(), &stored, sizeof stored);
  return bytes;
}

std::optional<MapHeader> MapHeader::decode(std::span<const std::byte> bytes) {
  Stored stored;
  if (bytes.size() < sizeof stored) {
    return std::nullopt;
  }
  std::memcpy(&stored, bytes.data(), sizeof stored);
  if (stored.magic != kMagic || stored.format != kFormat || stored.checksum != checksum_of(stored) ||
      stored.validator_length > kMostValidator || stored.boot_length > kMostBoot) {
    return std::nullopt;
  }
  return MapHeader{.validator = std::string(stored.validator.data(), stored.validator_length),
                   .size = stored.size,
                   .block_size = stored.block_size,
                   .boot = std::string(stored.boot.data(), stored.boot_length)};
}

}  // namespace pkgfs
