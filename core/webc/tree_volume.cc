// SPDX-License-Identifier: MIT
#include "core/webc/tree_volume.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/base/lost_pages.h"
#include "core/webc/bytes.h"
#include "core/webc/claims.h"
#include "core/webc/header_digest.h"

namespace pkgfs::webc {
namespace {

constexpr std::uint64_t kLow = 0xffff'ffffULL;
// A hostile volume may have millions of bad records; the first ones suffice for a diagnosis.
constexpr std::size_t kMaxReports = 100;

bool overlaps(const std::vector<ByteRange>& claims, const ByteRange& range) {  // sorted, disjoint
  const auto after = std::lower_bound(claims.begin(), claims.end(), range.begin,
                                      [](const ByteRange& claim, std::uint64_t begin) { return claim.begin < begin; });
  return (after != claims.end() && after->begin < range.end) ||
         (after != claims.begin() && std::prev(after)->end > range.begin);
}

}  // namespace

// A usable record of a directory, and whether it lies in its range.
struct TreeVolume::Slot {
  Child child;
  const Decoded<EntryInfo>& info;
  ByteRange table;        // of a directory
  bool inside = false;    // a directory in its range, or one without a table: it can have no other owner
  std::uint64_t end = 0;  // of that range
  std::uint64_t position = 0;
  std::uint64_t next = 0;
};

TreeVolume::TreeVolume(std::string name, std::shared_ptr<const ByteSource> source, std::unique_ptr<Tree> tree)
    : Volume(std::move(name), std::move(source)), tree_(std::move(tree)), record_bits_(tree_->record_bits()) {}

Result<EntryInfo> TreeVolume::info(EntryRef ref) const {
  auto info = tree_->entry(ref & kLow);
  if (lost_pages::ever()) [[unlikely]] {
    info = entry_at(ref & kLow);
  }
  if (!info) {
    report(info.error());
    return fail(EIO);
  }
  return *info;
}

Result<void> TreeVolume::list(EntryRef dir, std::uint64_t position, FunctionRef<bool(const DirRecord&)> visit) const {
  const std::uint64_t entry = dir & kLow;
  const auto own = info(dir);
  if (!own) {
    return fail(own.error());
  }
  if (own->kind != EntryKind::kDirectory) {
    return fail(ENOTDIR);
  }
  const std::uint64_t limit = dir == kRootRef ? tree_->parts().header_length : dir >> 32U;
  const std::uint64_t before = lost_pages::events();
  bool lost = false;
  const auto answer = [&](const Slot& slot) {
    DirRecord record;
    record.name = slot.child.name;
    record.ref = slot.child.entry & kLow;
    record.number = number_at(slot.child.at);
    record.position = slot.position;
    record.next = slot.next;
    if (!slot.info) {
      if (slot.info.error().lost) {
        lost = true;
        return false;
      }
      report(slot.info.error());
      record.error = EIO;
      return visit(record);
    }
    record.info = *slot.info;
    if (slot.info->kind == EntryKind::kDirectory) {
      if (slot.inside) {
        record.ref |= slot.end << 32U;
      } else {
        const Result<bool> owns = is_owner(slot.table.begin, slot.child.at);
        if (!owns) {
          lost = true;
          return false;
        }
        if (!*owns) {
          report({.at = slot.child.at, .text = "directory " + hex(slot.table.begin) + " is reached twice"});
          record.error = EIO;
        } else {
          record.ref |= slot.child.entry << 32U;  // an empty range: its children are all outside
        }
      }
    }
    return visit(record);
  };
  const auto visited = visit_slots(entry, limit, position, answer);
  if (!visited) {
    report(visited.error());
    return fail(EIO);
  }
  if (!lost && lost_pages::ever()) {  // the names were compared with each other, after each was read
    lost = !is_right(entry, before);
  }
  return lost ? Result<void>(fail(EIO)) : Result<void>();
}

Result<bool> TreeVolume::is_owner(std::uint64_t table, std::uint64_t record) const {
  if (!scanned_.load(std::memory_order_acquire)) {
    const MutexLock lock(scan_mutex_);
    if (!scanned_.load(std::memory_order_relaxed)) {
      Decoded<Owners> found = scan();
      if (!found || !source()->is_intact()) {
        return fail(EIO);
      }
      owners_ = std::move(*found);
      scanned_.store(true, std::memory_order_release);
    }
  }
  const auto owner = std::ranges::lower_bound(owners_, table, {}, &Owner::table);
  return owner != owners_.end() && owner->table == table && owner->record == record;
}

bool TreeVolume::may_hold(EntryRef dir, std::uint64_t number) const {
  const std::uint64_t begin = dir & kLow;
  const std::uint64_t end = dir >> 32U;
  return end <= begin || (number >= number_at(begin) && number <= number_at(end));
}

Result<std::string> TreeVolume::path_of_number(std::uint64_t number) const {
  // A directory may lie outside of its parent's range. Then only a search through everything finds its entries.
  const Result<std::string> found = search(number, true);
  return found || found.error() != ENOENT ? found : search(number, false);
}

Result<std::string> TreeVolume::search(std::uint64_t number, bool prune) const {
  std::vector<std::pair<EntryRef, std::string>> pending{{kRootRef, ""}};
  std::optional<std::string> found;
  bool lost = false;
  while (!pending.empty() && !found) {
    const EntryRef dir = pending.back().first;
    const std::string path = std::move(pending.back().second);
    pending.pop_back();
    const Result<void> listed = list(dir, [&](const DirRecord& record) {
      if (record.number == number) {
        found = path + "/" + std::string(record.name);
      } else if (record.error == 0 && record.info.kind == EntryKind::kDirectory &&
                 (!prune || may_hold(record.ref, number))) {
        pending.emplace_back(record.ref, path + "/" + std::string(record.name));
      }
      return !found;
    });
    lost = lost || (!listed && (lost_pages::ever() || !source()->is_intact()));
  }
  return found ? Result<std::string>(std::move(*found)) : fail(lost ? EIO : ENOENT);
}

std::uint64_t TreeVolume::fingerprint() const {
  // Versions 2 and 3 begin with the index and its checksums, version 1 with the checksum of the file.
  constexpr std::size_t kStart = 4096;
  const VolumeParts& parts = tree_->parts();
  const std::span<const std::byte> file = tree_->file();
  const std::uint64_t place = parts.header + (parts.header_length << 16U) + (parts.data_length << 32U);
  const std::uint64_t hash = digest64(place, file.first(std::min(file.size(), kStart)));
  return hash == 0 ? 1 : hash;
}

Decoded<void> TreeVolume::visit_slots(std::uint64_t entry, std::uint64_t limit, std::uint64_t position,
                                      FunctionRef<bool(const Slot&)> visit) const {
  return lost_pages::ever() ? visit_slots_as<true>(entry, limit, position, visit)
                            : visit_slots_as<false>(entry, limit, position, visit);
}

template <bool kCareful>
Decoded<void> TreeVolume::visit_slots_as(std::uint64_t entry, std::uint64_t limit, std::uint64_t position,
                                         FunctionRef<bool(const Slot&)> visit) const {
  const auto read_next = [this](Cursor& cursor) {
    if constexpr (kCareful) {
      return next(cursor);
    } else {
      return tree_->next(cursor);
    }
  };
  const auto read_table = [this](std::uint64_t at) {
    if constexpr (kCareful) {
      return table_at(at);
    } else {
      return tree_->table(at);
    }
  };
  // Called after decoding without care, and before the result is used.
  const auto must_repeat = [] { return !kCareful && lost_pages::ever(); };

  const auto table = read_table(entry);
  if (must_repeat()) [[unlikely]] {
    return visit_slots_as<true>(entry, limit, position, visit);
  }
  if (!table) {
    return tl::unexpected<Problem>(table.error());
  }
  Cursor first = tree_->children(*table);
  std::uint64_t floor = table->end;  // where the next directory may begin
  if (position != 0) {
    first.at = std::max(first.at, position & kLow);
    floor = position >> 32U;
  } else {  // all or nothing: a damaged table isn't listed in part
    for (Cursor cursor = first; !cursor.done();) {
      const auto child = read_next(cursor);
      if (!child) {
        return must_repeat() ? visit_slots_as<true>(entry, limit, position, visit)
                             : tl::unexpected<Problem>(child.error());
      }
    }
  }
  SeenNames seen(*tree_, first);
  for (Cursor cursor = first; !cursor.done();) {
    const std::uint64_t here = cursor.at | floor << 32U;
    const auto child = read_next(cursor);
    if (must_repeat()) [[unlikely]] {
      return visit_slots_as<true>(entry, limit, here, visit);
    }
    if (!child) {  // the file changed in between
      return tl::unexpected<Problem>(child.error());
    }
    if (const char* why = name_problem(child->name)) {
      report({.at = child->at, .text = "name " + in_quotes(child->name) + " " + why + "; the entry is left out"});
      continue;
    }
    if (!seen.add(*child)) {
      report({.at = child->at, .text = "a second entry named " + in_quotes(child->name) + " is left out"});
      continue;
    }
    auto info = kCareful ? entry_at(child->entry) : tree_->entry(child->entry);
    if (!info && info.error().at >= tree_->parts().header_length) {
      info.error().at = child->at;
    }
    Slot slot{.child = *child, .info = info, .table = {}, .position = here};
    if (info && info->kind == EntryKind::kDirectory) {
      slot.table = read_table(child->entry).value_or(ByteRange{});
      slot.inside = slot.table.empty();
      if (tree_->depth_first() && child->entry >= floor && child->entry < limit) {
        Cursor peek = cursor;
        const auto sibling = peek.done() ? Decoded<Child>(Child{}) : read_next(peek);
        const bool bounded = sibling && sibling->entry > child->entry && sibling->entry <= limit;
        slot.end = bounded ? sibling->entry : limit;
        slot.inside = slot.table.end <= slot.end;
        floor = slot.inside ? slot.end : floor;
      }
    }
    if (must_repeat()) [[unlikely]] {
      return visit_slots_as<true>(entry, limit, here, visit);
    }
    slot.next = cursor.at | floor << 32U;
    if (!visit(slot)) {
      break;
    }
  }
  return {};
}

Decoded<TreeVolume::Owners> TreeVolume::scan() const {
  struct Reference {
    std::uint64_t record;
    std::uint64_t entry;
    ByteRange table;
  };
  std::deque<Reference> outside;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> pending;  // entry and end of the range
  std::vector<ByteRange> inside;
  std::optional<Problem> lost;
  const auto visit = [&](const Slot& slot) {
    if (!slot.info && slot.info.error().lost) {
      lost = slot.info.error();
      return false;
    }
    if (!slot.info || slot.info->kind != EntryKind::kDirectory || slot.table.empty()) {
      return true;
    }
    if (slot.inside) {
      inside.push_back(slot.table);
      pending.emplace_back(slot.child.entry, slot.end);
    } else {
      outside.push_back({.record = slot.child.at, .entry = slot.child.entry, .table = slot.table});
    }
    return true;
  };
  const auto visit_all = [&](std::uint64_t entry, std::uint64_t limit) {
    if (const auto visited = visit_slots(entry, limit, 0, visit); !visited && visited.error().lost) {
      lost = visited.error();
    }
  };
  if (const auto root = table_at(kRootRef)) {
    inside.push_back(*root);
  }
  pending.emplace_back(kRootRef, tree_->parts().header_length);
  for (; !pending.empty(); pending.pop_front()) {
    visit_all(pending.front().first, pending.front().second);
  }
  std::sort(inside.begin(), inside.end(), [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  Owners owners;
  Claims late;
  for (; !outside.empty(); outside.pop_front()) {
    const Reference reference = outside.front();
    if (overlaps(inside, reference.table) || !late.add(reference.table)) {
      continue;
    }
    owners.push_back({static_cast<std::uint32_t>(reference.table.begin), static_cast<std::uint32_t>(reference.record)});
    visit_all(reference.entry, reference.entry);
  }
  if (lost) {
    return tl::unexpected<Problem>(*lost);
  }
  std::ranges::sort(owners, {}, &Owner::table);
  owners.shrink_to_fit();
  return owners;
}

void TreeVolume::report(const Problem& problem) const {
  if (problem.lost || !source()->is_intact()) {
    return;  // that is logged elsewhere, and is no damage of the container
  }
  const MutexLock lock(reported_mutex_);
  if (reported_.size() >= kMaxReports || !reported_.insert(problem.at).second) {
    return;
  }
  log::warn("{}: {}{}", source()->name(), describe(tree_->parts(), false, problem),
            reported_.size() == kMaxReports ? " (no more of this volume is reported)" : "");
}

}  // namespace pkgfs::webc
