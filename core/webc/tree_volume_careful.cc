// SPDX-License-Identifier: MIT
// How a TreeVolume decodes once pages of mapped files were lost (core/base/lost_pages.h).
#include <algorithm>
#include <span>
#include <utility>

#include "core/base/lost_pages.h"
#include "core/base/read_faults.h"
#include "core/webc/tree_volume.h"

namespace pkgfs::webc {
namespace {

/// What `decode` returns, once no byte that it read was lost meanwhile. `bytes` calls its argument for each run of
/// bytes that decoding to this result read. Costs one load as long as nothing was ever lost.
template <typename Decode, typename Bytes>
auto decode_mapped(Decode&& decode, Bytes&& bytes) {
  for (;;) {
    const std::uint64_t before = lost_pages::events();
    auto result = decode();
    if (!lost_pages::ever()) [[likely]] {
      return result;
    }
    auto outcome = lost_pages::Outcome::kRight;
    bytes(result, [&](std::span<const std::byte> part) {
      if (outcome != lost_pages::Outcome::kLost) {
        outcome = std::max(outcome, lost_pages::check(part, before));
      }
    });
    if (outcome == lost_pages::Outcome::kRight) {
      return result;
    }
    if (outcome == lost_pages::Outcome::kLost) {
      read_faults::count(read_faults::Cause::kRead);
      return decltype(result)(tl::unexpected<Problem>(Problem{.at = 0, .text = "it can't be read", .lost = true}));
    }
  }
}

/// The part of the header in `range`.
std::span<const std::byte> part_of(const Tree& tree, const ByteRange& range) {
  const VolumeParts& parts = tree.parts();
  const std::uint64_t begin = std::min(range.begin, parts.header_length);
  const std::uint64_t end = std::clamp(range.end, begin, parts.header_length);
  return tree.file().subspan(parts.header + begin, end - begin);
}

/// Calls `visit` for the bytes that tell of the entry at `entry`.
template <typename Visit>
void bytes_of_entry(const Tree& tree, std::uint64_t entry, Visit&& visit) {
  for (const ByteRange& range : tree.bytes_of(entry)) {
    visit(part_of(tree, range));
  }
}

}  // namespace

Decoded<EntryInfo> TreeVolume::entry_at(std::uint64_t entry) const {
  return decode_mapped([&] { return tree_->entry(entry); },
                       [&](const Decoded<EntryInfo>& info, const auto& visit) {
                         bytes_of_entry(*tree_, entry, visit);
                         if (info && info->kind == EntryKind::kSymlink) {
                           visit(std::as_bytes(std::span(info->target)));
                         }
                       });
}

Decoded<ByteRange> TreeVolume::table_at(std::uint64_t entry) const {
  return decode_mapped([&] { return tree_->table(entry); },
                       [&](const Decoded<ByteRange>&, const auto& visit) { bytes_of_entry(*tree_, entry, visit); });
}

Decoded<Child> TreeVolume::next(Cursor& cursor) const {
  constexpr std::uint64_t kFixedPart = 64;  // no record has more bytes before its name
  const Cursor start = cursor;
  return decode_mapped(
      [&] {
        cursor = start;
        return tree_->next(cursor);
      },
      [&](const Decoded<Child>& child, const auto& visit) {
        visit(part_of(*tree_, {.begin = start.at, .end = child ? cursor.at : start.at + kFixedPart}));
      });
}

bool TreeVolume::is_right(std::uint64_t entry, std::uint64_t before) const {
  const auto table = table_at(entry);
  return table && lost_pages::check(part_of(*tree_, *table), before) == lost_pages::Outcome::kRight;
}

}  // namespace pkgfs::webc
