// SPDX-License-Identifier: MIT
#pragma once

#include "core/webc/tree.h"

namespace pkgfs::webc {

/// Offsets in the fixed prefix of version 1 (docs/rules/webc-format.md, 3.1 and 3.5). The checksum covers the whole
/// file, with zeros in the place of the bytes from 24 up to 1308.
inline constexpr std::uint64_t kV1ChecksumKind = 8;
inline constexpr std::uint64_t kV1Checksum = 24;
inline constexpr std::uint64_t kV1SignatureLength = 280;
inline constexpr std::uint64_t kV1Signature = 284;
inline constexpr std::uint64_t kV1Manifest = 1308;

/// Reads the sections of version 1, which follow each other to the end of the file (docs/rules/webc-format.md, 3.1).
/// Throws Error(kCorrupt) naming source, section and offset.
[[nodiscard]] Layout read_v1_layout(const ByteSource& source, const limits::PackageLimits& limits);

/// The directory tables of version 1 (docs/rules/webc-format.md, 3.3). An entry is identified by the offset of its
/// record.
class V1Tree final : public Tree {
 public:
  V1Tree(std::span<const std::byte> file, const VolumeParts& parts) : Tree(file, parts) {}

  [[nodiscard]] Decoded<ByteRange> table(std::uint64_t entry) const override;
  [[nodiscard]] Cursor children(const ByteRange& table) const override;
  [[nodiscard]] Decoded<Child> next(Cursor& cursor) const override;
  [[nodiscard]] Decoded<EntryInfo> entry(std::uint64_t entry) const override;
  [[nodiscard]] std::array<ByteRange, 2> bytes_of(std::uint64_t entry) const override;
  [[nodiscard]] std::uint64_t entry_length(std::uint64_t, const EntryInfo&) const override { return 0; }
  [[nodiscard]] bool depth_first() const override { return false; }
  [[nodiscard]] bool tables_fill_header() const override { return true; }
  [[nodiscard]] unsigned record_bits() const override { return 4; }  // 24 bytes and the name
};

}  // namespace pkgfs::webc
