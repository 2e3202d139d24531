// SPDX-License-Identifier: MIT
#pragma once

#include "core/webc/tree.h"

namespace pkgfs::webc {

/// The first byte of an entry (docs/rules/webc-format.md, 5).
inline constexpr std::byte kDirectoryTag{0x1e};
inline constexpr std::byte kFileTag{0x1f};
inline constexpr std::byte kSymlinkTag{0x20};

/// Reads the index and the sections of version 2 or 3 (docs/rules/webc-format.md, 4). Throws Error(kCorrupt) naming
/// source, section and offset.
[[nodiscard]] Layout read_v2v3_layout(const ByteSource& source, Version version, const limits::PackageLimits& limits,
                                      DirectoryData data);

/// The tagged entries of versions 2 and 3 (docs/rules/webc-format.md, 5). An entry is identified by the offset of its
/// tag.
class EntryTree final : public Tree {
 public:
  EntryTree(std::span<const std::byte> file, const VolumeParts& parts, bool hashed)
      : Tree(file, parts), hashed_(hashed) {}

  [[nodiscard]] Decoded<ByteRange> table(std::uint64_t entry) const override;
  [[nodiscard]] Cursor children(const ByteRange& table) const override;
  [[nodiscard]] Decoded<Child> next(Cursor& cursor) const override;
  [[nodiscard]] Decoded<EntryInfo> entry(std::uint64_t entry) const override;
  [[nodiscard]] std::array<ByteRange, 2> bytes_of(std::uint64_t entry) const override;
  [[nodiscard]] bool depth_first() const override { return true; }
  [[nodiscard]] bool tables_fill_header() const override { return false; }
  [[nodiscard]] unsigned record_bits() const override { return hashed_ ? 5 : 4; }  // 48 or 16 bytes and the name
  [[nodiscard]] std::uint64_t entry_length(std::uint64_t entry, const EntryInfo& info) const override;

 private:
  [[nodiscard]] Decoded<EntryInfo> file_entry(std::uint64_t entry) const;
  [[nodiscard]] Decoded<EntryInfo> symlink_entry(std::uint64_t entry) const;
  [[nodiscard]] std::int64_t modified_at(std::uint64_t at) const;

  bool hashed_;  // version 3, whose entries have hashes and times
};

}  // namespace pkgfs::webc
