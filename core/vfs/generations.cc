// SPDX-License-Identifier: MIT
#include "core/vfs/generations.h"

#include <algorithm>
#include <cerrno>

namespace pkgfs::vfs {
namespace {

// Inodes of OverlayFileSystem have 31 bits for the number of the directory and 31 for the position in it.
constexpr unsigned kTreeIndexBits = 31;
constexpr Inode kTreeIndexMask = (Inode{1} << kTreeIndexBits) - 1;
// Those of a later generation: a bit that is always set, the slot, the directory, the position.
constexpr Inode kLater = Inode{1} << 63U;
constexpr unsigned kSlotShift = 55;
constexpr unsigned kDirectoryBits = 28;
constexpr unsigned kPositionBits = 27;
constexpr Inode kPositionMask = (Inode{1} << kPositionBits) - 1;
static_assert(kDirectoryBits + kPositionBits == kSlotShift);
static_assert(GenerationCounts::kSlots == std::size_t{1} << (63U - kSlotShift));

/// Where the slot is in the position of a listing of the root. Below are the positions of the tree.
constexpr unsigned kListingShift = 40;
constexpr std::uint64_t kListingMask = (std::uint64_t{1} << kListingShift) - 1;
/// Where the generation is in a number that stat shows. Trees with stable inodes have fewer than 2^31 numbers.
constexpr unsigned kNumberShift = 32;

bool is_dots(std::string_view name) { return name == "." || name == ".."; }

}  // namespace

std::uint64_t Generations::next(std::uint64_t last) const {
  for (std::size_t i = 0; i < GenerationCounts::kSlots; ++i) {
    const std::size_t slot = slot_of(++last);
    // Slot 0 is that of the tree with which the mount began.
    if (slot != 0 && slots_.at(slot).tree == nullptr && counts_.references.at(slot) == 0) {
      return last;
    }
  }
  return 0;
}

void Generations::add(std::uint64_t generation, FileSystem& tree, bool counted) {
  Slot& slot = slots_.at(slot_of(generation));
  slot.generation = generation;
  slot.counted = counted;
  if (immutable_ != tree.is_immutable()) {
    immutable_ = !immutable_;  // by the first tree only, before any request: the caller adds no tree of another kind
  }
  slot.tree = &tree;
}

void Generations::show(std::uint64_t generation) {
  shown_ = &slots_.at(slot_of(generation));
  counts_.shown = generation;
}

bool Generations::is_unused(std::uint64_t generation) const {
  const std::size_t slot = slot_of(generation);
  return slots_.at(slot).counted && counts_.references.at(slot) == 0;
}

void Generations::remove(std::uint64_t generation) { slots_.at(slot_of(generation)).tree = nullptr; }

/// Sequentially consistent, as fuse::Answering needs it.
inline Generations::Found Generations::find(Inode inode) const {
  if (inode == kRoot) {
    const Slot* const slot = shown_.load();
    return {slot, slot->tree.load(), kRoot};
  }
  if ((inode & kLater) == 0) {
    return {slots_.data(), slots_[0].tree.load(), inode};
  }
  const Slot& slot = slots_[(inode & ~kLater) >> kSlotShift];  // NOLINT: no more values than slots
  const Inode packed = inode & ((Inode{1} << kSlotShift) - 1);
  return {&slot, slot.tree.load(), ((packed >> kPositionBits) << kTreeIndexBits) | (packed & kPositionMask)};
}

std::size_t Generations::slot_of_inode(Inode inode) const { return index_of(*find(inode).slot); }

inline Result<Inode> Generations::to_inode(std::size_t slot, Inode inode) {
  if (slot == 0 || inode == kRoot) {
    return inode;
  }
  const Inode directory = inode >> kTreeIndexBits;
  const Inode position = inode & kTreeIndexMask;
  if (directory >> kDirectoryBits != 0 || position > kPositionMask) {
    return fail(EOVERFLOW);
  }
  return kLater | (Inode{slot} << kSlotShift) | (directory << kPositionBits) | position;
}

Inode Generations::inode_of(std::uint64_t generation, Inode inode) {
  return to_inode(slot_of(generation), inode).value_or(0);
}

inline void Generations::show_numbers(const Slot& slot, Attributes& attributes) const {
  if (attributes.number > kRoot) {
    attributes.number += slot.generation << kNumberShift;
  }
}

inline Result<Entry> Generations::held(const Slot& slot, Inode inode, const Attributes& attributes) {
  const Result<Inode> shown = to_inode(index_of(slot), inode);
  if (!shown) {
    return fail(shown.error());
  }
  Result<Entry> entry = Entry{*shown, attributes};
  show_numbers(slot, entry->attributes);
  hold(*shown);
  return entry;
}

Result<Entry> Generations::lookup(Inode dir, std::string_view name) {
  const Found found = find(dir);
  if (found.tree == nullptr) [[unlikely]] {
    return fail(ESTALE);
  }
  const Result<Entry> entry = found.tree->lookup(found.inode, name);
  if (!entry) {
    return is_dots(name) ? lookup_dots(found, name) : entry;
  }
  return held(*found.slot, entry->inode, entry->attributes);
}

/// A file handle leads here (fuse/adapter.cc). Such a reference counts like every other.
Result<Entry> Generations::lookup_dots(Found found, std::string_view name) {
  if (name == "..") {
    const Result<Place> place = found.tree->place(found.inode);
    if (!place) {
      return fail(place.error());
    }
    found.inode = place->directory;
  }
  const Result<Attributes> attributes = found.tree->metadata(found.inode);
  return attributes ? held(*found.slot, found.inode, *attributes) : fail(attributes.error());
}

Result<Attributes> Generations::metadata(Inode inode) {
  const Found found = find(inode);
  if (found.tree == nullptr) [[unlikely]] {
    return fail(ESTALE);
  }
  Result<Attributes> attributes = found.tree->metadata(found.inode);
  if (attributes) {
    show_numbers(*found.slot, *attributes);
  }
  return attributes;
}

Result<void> Generations::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  Found found = find(dir);
  bool is_old = false;
  if (dir == kRoot && from > 0) {
    // The listing goes on in the tree in which it began, as long as that is there.
    const Slot& begun = slots_.at((from >> kListingShift) % GenerationCounts::kSlots);
    FileSystem* const tree = begun.tree.load();
    is_old = tree != nullptr && &begun != found.slot;
    // A position in a tree that is closed means nothing in another one: the listing begins again.
    from = tree == nullptr ? 0 : from & kListingMask;
    if (is_old) {
      found = {&begun, tree, kRoot};
    }
  }
  if (found.tree == nullptr) [[unlikely]] {
    return fail(ESTALE);
  }
  const std::size_t slot = index_of(*found.slot);
  const std::uint64_t position = dir == kRoot ? std::uint64_t{slot} << kListingShift : 0;
  const bool names_only = is_old || (dir == kRoot && names_only_);
  return found.tree->read_dir(found.inode, from, [&](const DirEntry& entry) {
    DirEntry shown = entry;
    // The kernel was told already that this name isn't what it was, so it must not learn the old inode again.
    shown.inode = names_only || entry.inode == 0 ? 0 : to_inode(slot, entry.inode).value_or(0);
    shown.next |= position;
    show_numbers(*found.slot, shown.attributes);
    return visit(shown);
  });
}

Result<std::uint64_t> Generations::parent_number(Inode dir) {
  const Found found = find(dir);
  if (found.tree == nullptr) [[unlikely]] {
    return fail(ESTALE);
  }
  const Result<std::uint64_t> number = found.tree->parent_number(found.inode);
  return number && *number > kRoot ? Result<std::uint64_t>(*number + (found.slot->generation << kNumberShift)) : number;
}

Result<std::string_view> Generations::read_link(Inode inode) {
  const Found found = find(inode);
  return found.tree == nullptr ? fail(ESTALE) : found.tree->read_link(found.inode);
}

Result<std::unique_ptr<OpenFile>> Generations::open(Inode inode) {
  const Found found = find(inode);
  if (found.tree == nullptr) [[unlikely]] {
    return fail(ESTALE);
  }
  return found.tree->open(found.inode);
}

Result<Extent> Generations::extent(Inode inode) {
  const Found found = find(inode);
  return found.tree == nullptr ? fail(ESTALE) : found.tree->extent(found.inode);
}

Result<Place> Generations::place(Inode inode) {
  const Found found = find(inode);
  if (found.tree == nullptr) [[unlikely]] {
    return fail(ESTALE);
  }
  Result<Place> place = found.tree->place(found.inode);
  if (!place) {
    return place;
  }
  const Result<Inode> directory = to_inode(index_of(*found.slot), place->directory);
  if (!directory) {
    return fail(directory.error());
  }
  place->directory = *directory;
  return place;
}

bool Generations::is_intact(Inode inode) {
  const Found found = find(inode);
  return found.tree != nullptr && found.tree->is_intact(found.inode);
}

void Generations::hold(Inode inode) {
  if (inode != kRoot) {
    counts_.references[index_of(*find(inode).slot)].fetch_add(1);  // NOLINT: below kSlots
  }
}

void Generations::forget(Inode inode, std::uint64_t count) {
  if (inode == kRoot) {
    return;
  }
  // Of a generation that wasn't counted from the start, the kernel may have more references than were counted.
  std::atomic<std::uint64_t>& references = counts_.references[index_of(*find(inode).slot)];  // NOLINT
  std::uint64_t before = references.load();
  while (!references.compare_exchange_weak(before, before - std::min(before, count))) {
  }
}

Result<Origin> Generations::origin(Inode inode) {
  const Found found = find(inode);
  return found.tree == nullptr ? fail(ESTALE) : found.tree->origin(found.inode);
}

}  // namespace pkgfs::vfs
