// SPDX-License-Identifier: MIT
#include "core/webc/v2v3.h"

#include <algorithm>
#include <limits>

#include "core/webc/bytes.h"

namespace pkgfs::webc {
namespace {

constexpr std::uint64_t kHash = 32;
constexpr std::uint64_t kTimes = 24;  // accessed, modified, created
constexpr std::uint64_t kModified = 8;

}  // namespace

std::int64_t EntryTree::modified_at(std::uint64_t at) const {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(load_u64(header(), at), kMax));
}

Decoded<ByteRange> EntryTree::table(std::uint64_t entry) const {
  const std::uint64_t size = header().size();
  if (entry >= size || header()[entry] != kDirectoryTag) {
    return problem(entry, "no directory here");
  }
  if (!fits(entry, 9, size)) {
    return problem(entry, "directory entry is past the header end (" + hex(size) + ")");
  }
  const std::uint64_t length = load_u64(header(), entry + 1);
  if (length > size - entry - 9) {
    return problem(entry, "directory length " + hex(length) + " is past the header end (" + hex(size) + ")");
  }
  if (hashed_ && length < kTimes + kHash) {
    return problem(entry, "directory length " + hex(length) + " is shorter than its times and hash");
  }
  return ByteRange{.begin = entry, .end = entry + 9 + length};
}

Cursor EntryTree::children(const ByteRange& table) const {
  return {.at = table.begin + 9 + (hashed_ ? kTimes + kHash : 0), .end = table.end};
}

Decoded<Child> EntryTree::next(Cursor& cursor) const {
  const std::uint64_t fixed = 8 + (hashed_ ? kHash : 0) + 8;
  const std::uint64_t at = cursor.at;
  if (!fits(at, fixed, cursor.end)) {
    return problem(at, "child record is past the directory end (" + hex(cursor.end) + ")");
  }
  const std::uint64_t length = load_u64(header(), at + fixed - 8);
  if (length > cursor.end - at - fixed) {
    return problem(at, "name length " + hex(length) + " is past the directory end (" + hex(cursor.end) + ")");
  }
  cursor.at = at + fixed + length;
  return Child{.at = at,
               .name = as_text(header().subspan(at + fixed, length)),
               .entry = load_u64(header(), at),
               .sha256 = hashed_ ? header().subspan(at + 8, kHash) : std::span<const std::byte>{}};
}

Decoded<EntryInfo> EntryTree::entry(std::uint64_t entry) const {
  const std::uint64_t size = header().size();
  if (entry >= size) {
    return problem(entry, "child offset " + hex(entry) + " is past the header end (" + hex(size) + ")");
  }
  if (header()[entry] == kFileTag) {
    return file_entry(entry);
  }
  if (header()[entry] == kSymlinkTag && hashed_) {
    return symlink_entry(entry);
  }
  if (header()[entry] != kDirectoryTag) {
    return problem(entry, "unknown entry tag " + std::to_string(static_cast<unsigned>(header()[entry])));
  }
  const auto range = table(entry);
  if (!range) {
    return tl::unexpected<Problem>(range.error());
  }
  EntryInfo info;
  info.kind = EntryKind::kDirectory;
  if (hashed_) {
    info.modified = modified_at(entry + 9 + kModified);
    info.sha256 = header().subspan(entry + 9 + kTimes, kHash);
  }
  return info;
}

Decoded<EntryInfo> EntryTree::file_entry(std::uint64_t entry) const {
  if (!fits(entry, entry_length(entry, EntryInfo{}), header().size())) {
    return problem(entry, "file entry is past the header end (" + hex(header().size()) + ")");
  }
  const std::uint64_t start = load_u64(header(), entry + 1);
  const std::uint64_t end = load_u64(header(), entry + 9);
  if (start > end) {
    return problem(entry, "file start " + hex(start) + " is after its end " + hex(end));
  }
  // The offset of an empty file has no meaning.
  if (start != end && end > parts().data_length) {
    return problem(entry, "file end " + hex(end) + " is past the data end (" + hex(parts().data_length) + ")");
  }
  EntryInfo info;
  info.kind = EntryKind::kFile;
  info.offset = parts().data + (start == end ? 0 : start);
  info.length = end - start;
  info.sha256 = header().subspan(entry + 17, kHash);
  if (hashed_) {
    info.modified = modified_at(entry + 17 + kHash + kModified);
  }
  return info;
}

Decoded<EntryInfo> EntryTree::symlink_entry(std::uint64_t entry) const {
  const std::uint64_t size = header().size();
  if (!fits(entry, 9, size)) {
    return problem(entry, "link entry is past the header end (" + hex(size) + ")");
  }
  const std::uint64_t length = load_u64(header(), entry + 1);
  if (length > size - entry - 9 || kHash + kTimes > size - entry - 9 - length) {
    return problem(entry, "link target length " + hex(length) + " is past the header end (" + hex(size) + ")");
  }
  const std::string_view target = as_text(header().subspan(entry + 9, length));
  if (const char* why = link_problem(target)) {
    return problem(entry, std::string("link target ") + why);
  }
  EntryInfo info;
  info.kind = EntryKind::kSymlink;
  info.length = length;
  info.target = target;
  info.sha256 = header().subspan(entry + 9 + length, kHash);
  info.modified = modified_at(entry + 9 + length + kHash + kModified);
  return info;
}

std::uint64_t EntryTree::entry_length(std::uint64_t entry, const EntryInfo& info) const {
  switch (info.kind) {
    case EntryKind::kFile:
      return 17 + kHash + (hashed_ ? kTimes : 0);
    case EntryKind::kSymlink:
      return 9 + info.length + kHash + kTimes;
    case EntryKind::kDirectory:
      break;
  }
  const auto range = table(entry);
  return range ? range->end - range->begin : 0;
}

std::array<ByteRange, 2> EntryTree::bytes_of(std::uint64_t entry) const {
  constexpr std::uint64_t kLongest = 17 + kHash + kTimes;  // of the fixed parts: that of a file
  const std::uint64_t size = header().size();
  ByteRange behind_target;
  if (entry < size && header()[entry] == kSymlinkTag && hashed_ && fits(entry, 9, size)) {
    const std::uint64_t length = load_u64(header(), entry + 1);
    if (length <= size - entry - 9) {
      behind_target = {.begin = entry + 9 + length, .end = entry + 9 + length + kHash + kTimes};
    }
  }
  return {ByteRange{.begin = entry, .end = entry + kLongest}, behind_target};
}

}  // namespace pkgfs::webc
