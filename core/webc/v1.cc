// SPDX-License-Identifier: MIT
#include "core/webc/v1.h"

#include <array>
#include <set>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/webc/bytes.h"

namespace pkgfs::webc {
namespace {

constexpr std::uint64_t kRecord = 24;  // name length and kind, start, end
constexpr std::uint64_t kNameMask = (1ULL << 56U) - 1;

class Chain {
 public:
  Chain(const ByteSource& source, const limits::PackageLimits& limits)
      : source_(source), bytes_(source.bytes()), limits_(limits) {}

  Layout read() {
    check_prefix();
    Layout layout;
    layout.version = Version::kV1;
    std::tie(layout.manifest, layout.manifest_length) = part("manifest", "length");
    if (layout.manifest_length > limits_.manifest_bytes) {
      refuse("manifest", layout.manifest, over_limit(layout.manifest_length, limits_.manifest_bytes, "bytes", limits_));
    }
    layout.atoms = volume("atoms", part("atoms", "length"));
    std::set<std::string_view> names;
    while (at_ < bytes_.size()) {
      if (layout.volumes.size() == limits_.volumes) {
        refuse(
            "volumes", at_,
            "more than the limit of " + std::to_string(limits_.volumes) + " volumes for " + std::string(limits_.name));
      }
      const std::string number = "volume " + std::to_string(layout.volumes.size());
      const auto [start, length] = part(number, "name length");
      source_.need(start, length);
      const std::string_view name = as_text(bytes_.subspan(start, length));
      if (!is_utf8(name)) {
        refuse(number, start, "the name is not UTF-8");
      }
      const std::string title = "volume " + in_quotes(name);
      if (!names.insert(name).second) {
        refuse(title, start, "a second volume of this name");
      }
      VolumeParts parts = volume(title, part(title, "length"));
      parts.name = name;
      layout.volumes.push_back(parts);
    }
    return layout;
  }

 private:
  [[noreturn]] void refuse(const std::string& section, std::uint64_t at, const std::string& what) const {
    throw Error(ErrorCode::kCorrupt, source_.name() + ": " + section + ", offset " + hex(at) + ": " + what);
  }

  void check_prefix() const {
    source_.need(0, kV1Manifest);
    if (bytes_.size() < kV1Manifest) {
      refuse("checksum and signature", bytes_.size(), "the file ends before " + hex(kV1Manifest));
    }
    const std::string_view kind = as_text(bytes_.subspan(kV1ChecksumKind, kV1Checksum - kV1ChecksumKind));
    constexpr std::array<std::string_view, 3> kKinds = {"----------------", "sha256----------", "sha256-signed---"};
    for (const std::string_view known : kKinds) {
      if (kind == known) {
        return;
      }
    }
    refuse("checksum", kV1ChecksumKind, "unknown checksum kind " + in_quotes(kind));
  }

  std::uint64_t leb128(const std::string& section, const char* what) {
    const std::uint64_t start = at_;
    source_.need(start, 10);
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 10; ++i) {
      if (at_ >= bytes_.size()) {
        refuse(section, start, std::string("the file ends inside the ") + what);
      }
      const auto byte = static_cast<std::uint64_t>(bytes_[at_++]);
      if (i == 9 && byte > 1) {
        break;
      }
      value |= (byte & 0x7fU) << (7 * i);
      if ((byte & 0x80U) == 0) {
        return value;
      }
    }
    refuse(section, start, std::string("the ") + what + " does not fit 64 bits");
  }

  std::pair<std::uint64_t, std::uint64_t> part(const std::string& section, const char* what) {
    const std::uint64_t here = at_;
    const std::uint64_t length = leb128(section, what);
    const std::uint64_t start = at_;
    if (length > bytes_.size() - at_) {
      refuse(section, here,
             std::string(what) + " " + hex(length) + " is past the file end (" + hex(bytes_.size()) + ")");
    }
    at_ += length;
    return {start, length};
  }

  VolumeParts volume(const std::string& title, const std::pair<std::uint64_t, std::uint64_t>& range) {
    const auto [start, length] = range;
    const std::uint64_t behind = at_;
    at_ = start;
    if (length == 0) {
      refuse(title, start, "0 bytes, without a header length");
    }
    VolumeParts parts;
    parts.header_length = leb128(title, "header length");
    parts.header = at_;
    if (at_ > behind || parts.header_length > behind - at_) {
      refuse(title, start,
             "header length " + hex(parts.header_length) + " is past the volume end (" + hex(behind) + ")");
    }
    if (parts.header_length > kMaxHeader) {
      refuse(title, start, "header longer than 4 GiB");
    }
    parts.data = parts.header + parts.header_length;
    parts.data_length = behind - parts.data;
    at_ = behind;
    return parts;
  }

  const ByteSource& source_;
  std::span<const std::byte> bytes_;
  const limits::PackageLimits& limits_;
  std::uint64_t at_ = kV1Manifest;
};

}  // namespace

Layout read_v1_layout(const ByteSource& source, const limits::PackageLimits& limits) {
  return Chain(source, limits).read();
}

Decoded<ByteRange> V1Tree::table(std::uint64_t entry) const {
  const std::uint64_t size = header().size();
  ByteRange range{.begin = 0, .end = size};
  if (entry != kRootRef) {
    if (!fits(entry, kRecord, size)) {
      return problem(entry, "directory record is past the header end (" + hex(size) + ")");
    }
    if ((load_u64(header(), entry) >> 56U) != 0) {
      return problem(entry, "no directory here");
    }
    range = {.begin = load_u64(header(), entry + 8), .end = load_u64(header(), entry + 16)};
  }
  if (range.begin == range.end) {
    return ByteRange{};  // empty, and then there is no table
  }
  if (range.begin > range.end || range.end > size) {
    return problem(entry, "directory range " + hex(range.begin) + ".." + hex(range.end) +
                              " is not inside the header (" + hex(size) + ")");
  }
  if (range.end - range.begin < 8) {
    return problem(entry, "directory table at " + hex(range.begin) + " is shorter than 8 bytes");
  }
  const std::uint64_t length = load_u64(header(), range.begin);
  if (length > range.end - range.begin - 8) {
    return problem(entry, "directory table length " + hex(length) + " is past its end (" + hex(range.end) + ")");
  }
  if (entry == kRootRef) {
    range.end = 8 + length;  // the root's range isn't stored
  } else if (range.end - range.begin != 8 + length) {
    return problem(entry, "directory table length " + hex(length) + " is not that of its range " + hex(range.begin) +
                              ".." + hex(range.end));
  }
  return range;
}

Cursor V1Tree::children(const ByteRange& table) const {
  return table.empty() ? Cursor{} : Cursor{.at = table.begin + 8, .end = table.end};
}

Decoded<Child> V1Tree::next(Cursor& cursor) const {
  const std::uint64_t at = cursor.at;
  if (!fits(at, kRecord, cursor.end)) {
    return problem(at, "record is past the table end (" + hex(cursor.end) + ")");
  }
  const std::uint64_t length = load_u64(header(), at) & kNameMask;
  if (length > cursor.end - at - kRecord) {
    return problem(at, "name length " + hex(length) + " is past the table end (" + hex(cursor.end) + ")");
  }
  cursor.at = at + kRecord + length;
  return Child{.at = at, .name = as_text(header().subspan(at + kRecord, length)), .entry = at, .sha256 = {}};
}

Decoded<EntryInfo> V1Tree::entry(std::uint64_t entry) const {
  EntryInfo info;
  info.kind = EntryKind::kDirectory;
  if (entry == kRootRef) {
    const auto range = table(entry);
    return range ? Decoded<EntryInfo>(info) : tl::unexpected<Problem>(range.error());
  }
  if (!fits(entry, kRecord, header().size())) {
    return problem(entry, "record is past the header end (" + hex(header().size()) + ")");
  }
  const std::uint64_t kind = load_u64(header(), entry) >> 56U;
  if (kind == 0) {
    const auto range = table(entry);
    return range ? Decoded<EntryInfo>(info) : tl::unexpected<Problem>(range.error());
  }
  if (kind != 1) {
    return problem(entry, "unknown entry kind " + std::to_string(kind));
  }
  const std::uint64_t start = load_u64(header(), entry + 8);
  const std::uint64_t end = load_u64(header(), entry + 16);
  if (start > end) {
    return problem(entry, "file start " + hex(start) + " is after its end " + hex(end));
  }
  if (start != end && end > parts().data_length) {  // the offset of an empty file has no meaning
    return problem(entry, "file end " + hex(end) + " is past the data end (" + hex(parts().data_length) + ")");
  }
  info.kind = EntryKind::kFile;
  info.offset = parts().data + (start == end ? 0 : start);
  info.length = end - start;
  return info;
}

std::array<ByteRange, 2> V1Tree::bytes_of(std::uint64_t entry) const {
  const ByteRange record{.begin = entry, .end = entry + kRecord};
  if (entry == kRootRef) {
    return {ByteRange{.begin = 0, .end = 8}, ByteRange{}};
  }
  if (!fits(entry, kRecord, header().size()) || (load_u64(header(), entry) >> 56U) != 0) {
    return {record, ByteRange{}};
  }
  const std::uint64_t table = load_u64(header(), entry + 8);
  return {record, table < header().size() ? ByteRange{.begin = table, .end = table + 8} : ByteRange{}};
}

}  // namespace pkgfs::webc
