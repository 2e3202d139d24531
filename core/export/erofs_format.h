// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

/// The parts of the EROFS format that pkgfs writes: images without compression, extended attributes or devices (Linux,
/// fs/erofs/erofs_fs.h). All numbers are little-endian.
///
/// An image begins with the superblock, followed by the data blocks. The metadata area comes last. The number of an
/// inode (nid) is its position in that area, in units of 32 bytes.
namespace pkgfs::erofs {

static_assert(std::endian::native == std::endian::little, "the structures below are written as they are in memory");

inline constexpr std::uint64_t kBlock = 4096;
inline constexpr std::uint64_t kSlot = 32;  // the unit of inode numbers
inline constexpr std::uint64_t kSuperBlockAt = 1024;
inline constexpr std::uint32_t kMagic = 0xE0F5E1E2;
inline constexpr std::uint32_t kHasChecksum = 1;  // feature_compat
inline constexpr std::size_t kLongestName = 255;

struct SuperBlock {
  std::uint32_t magic = kMagic;
  std::uint32_t checksum = 0;  // CRC-32C of the block from kSuperBlockAt on, with 0 in this field
  std::uint32_t feature_compat = kHasChecksum;
  std::uint8_t block_bits = std::countr_zero(kBlock);
  std::uint8_t extra_slots = 0;
  std::uint16_t root_nid = 0;
  std::uint64_t inodes = 0;
  std::uint64_t time = 0;  // of each inode of the compact form
  std::uint32_t time_ns = 0;
  std::uint32_t blocks = 0;
  std::uint32_t metadata_block = 0;
  std::uint32_t xattr_block = 0;
  std::array<std::uint8_t, 16> uuid{};
  std::array<char, 16> volume_name{};
  std::uint32_t feature_incompat = 0;
  std::array<std::uint8_t, 44> unused{};
};
static_assert(sizeof(SuperBlock) == 128);

/// The lowest bit of `format` is 1 for the extended form. The three bits above it are the layout of the data.
enum class Layout : std::uint16_t {
  kPlain = 0,   // whole blocks, from block `block` on
  kInline = 2,  // the same, but what remains after the whole blocks follows the inode, in the same block
};

/// An inode with the time of the superblock.
struct CompactInode {
  std::uint16_t format = 0;
  std::uint16_t xattrs = 0;
  std::uint16_t mode = 0;
  std::uint16_t links = 1;
  std::uint32_t size = 0;
  std::uint32_t unused = 0;
  std::uint32_t block = 0;
  std::uint32_t number = 0;
  std::uint16_t uid = 0;
  std::uint16_t gid = 0;
  std::uint32_t unused_end = 0;
};
static_assert(sizeof(CompactInode) == kSlot);

struct ExtendedInode {
  std::uint16_t format = 1;
  std::uint16_t xattrs = 0;
  std::uint16_t mode = 0;
  std::uint16_t unused = 0;
  std::uint64_t size = 0;
  std::uint32_t block = 0;
  std::uint32_t number = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t time = 0;
  std::uint32_t time_ns = 0;
  std::uint32_t links = 1;
  std::array<std::uint8_t, 16> unused_end{};
};
static_assert(sizeof(ExtendedInode) == 2 * kSlot);

enum class EntryType : std::uint8_t { kFile = 1, kDirectory = 2, kLink = 7 };

/// An entry of a directory. A block of a directory begins with its entries, and their names follow in the same order.
/// The entries of all blocks, "." and ".." included, are sorted by the bytes of their names.
struct [[gnu::packed]] DirectoryEntry {
  std::uint64_t nid = 0;
  std::uint16_t name_at = 0;  // from the start of the block
  EntryType type = EntryType::kFile;
  std::uint8_t unused = 0;
};
static_assert(sizeof(DirectoryEntry) == 12);

/// CRC-32C without the final inversion, as the kernel computes it.
[[nodiscard]] constexpr std::uint32_t crc32c(std::span<const std::byte> bytes) {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;
  std::uint32_t crc = ~0U;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kPolynomial : 0);
    }
  }
  return crc;
}

template <typename T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace pkgfs::erofs
