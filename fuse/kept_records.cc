// SPDX-License-Identifier: MIT
#include "fuse/kept_records.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "core/base/error.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kRecordsMagic = 0x6472'6f63'6572'6b70;  // "pkrecord"
/// One higher with each change of the layout.
constexpr std::uint32_t kRecordsLayout = 2;
constexpr std::uint32_t kUsed = 1;
constexpr std::uint32_t kPlacesOfPart = 64;
constexpr std::uint32_t kBlocksOfPart = 64;

/// The sum of a record, made block by block.
class Sum {
 public:
  Sum(std::uint64_t key, std::uint64_t serial) : hash_(key * kFactor ^ serial) {}
  void add(std::string_view bytes) {
    for (; bytes.size() >= sizeof(std::uint64_t); bytes.remove_prefix(sizeof(std::uint64_t))) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof(word));
      mix(word);
    }
    std::uint64_t last = 0;
    std::memcpy(&last, bytes.data(), bytes.size());
    mix(last);
  }
  [[nodiscard]] std::uint64_t get() const { return hash_; }

 private:
  static constexpr std::uint64_t kFactor = 0x9e37'79b9'7f4a'7c15;
  void mix(std::uint64_t word) {
    hash_ = (hash_ ^ word) * kFactor;
    hash_ ^= hash_ >> 29U;
  }
  std::uint64_t hash_;
};

}  // namespace

struct KeptRecords::Place {
  std::atomic<std::uint32_t> state;  // kUsed
  std::uint32_t bytes;
  std::uint64_t key;
  std::uint64_t serial;
  std::uint64_t sum;
  std::uint32_t first;  // block; the next ones follow by `next`
  std::atomic<std::uint64_t> count;
  std::array<std::uint32_t, 4> unused;
};

struct KeptRecords::Layout {
  struct alignas(4096) Header {
    std::uint64_t magic = 0;
    std::uint32_t layout = 0;
    std::uint64_t bytes = 0;
    std::atomic<std::uint64_t> last;
    // Parts that have memory. To look at another part would give it memory, or end the process where there is none.
    std::array<std::atomic<bool>, kPlaces / kPlacesOfPart> place_parts;
    std::array<std::atomic<bool>, kBlocks / kBlocksOfPart> block_parts;
  };
  /// In a cache line of its own: threads count in different ones all the time.
  struct alignas(64) Counter {
    std::atomic<std::uint64_t> count;
  };
  struct Block {
    std::array<char, kBlockBytes> bytes;
  };

  Header header;
  std::array<Counter, kCounters> counters;
  std::array<std::uint32_t, kBlocks> next;
  std::array<Place, kPlaces> places;
  alignas(4096) std::array<Block, kBlocks> blocks;
};

KeptRecords::KeptRecords(SharedMemory memory)
    : memory_(std::move(memory)), layout_(reinterpret_cast<Layout*>(memory_.data())) {
  free_places_.reserve(kPlaces);  // so that giving one back never fails
  free_blocks_.reserve(kBlocks);
}

KeptRecords KeptRecords::create() {
  const std::string what = "Unable to create the journal of the served directory";
  KeptRecords records(SharedMemory::create("pkgfs-served", sizeof(Layout), what));
  if (!records.memory_.allocate(0, offsetof(Layout, next))) {
    throw system_error(what, errno);
  }
  Layout::Header& header = records.layout_->header;
  header.layout = kRecordsLayout;
  header.bytes = sizeof(Layout);
  header.magic = kRecordsMagic;
  return records;
}

KeptRecords KeptRecords::adopt(UniqueFd file) {
  const std::string what = "The journal of an earlier daemon can't be adopted";
  KeptRecords records(SharedMemory::adopt(std::move(file), sizeof(Layout), what));
  const Layout::Header& header = records.layout_->header;
  if (header.magic != kRecordsMagic) {
    throw Error(ErrorCode::kCorrupt, {what, "its file holds something else"});
  }
  if (header.layout != kRecordsLayout || header.bytes != sizeof(Layout)) {
    throw Error(ErrorCode::kUnsupported, {what, "its layout is number " + std::to_string(header.layout) +
                                                    ", and that of this pkgfs is " + std::to_string(kRecordsLayout)});
  }
  records.adopt_records();
  return records;
}

void KeptRecords::adopt_records() {
  std::vector<bool> is_taken(kBlocks);
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t i = 0; i < kPlaces; ++i) {
    if (!layout_->header.place_parts.at(i / kPlacesOfPart)) {
      continue;
    }
    fresh_place_ = i + 1;
    Place& place = layout_->places.at(i);
    const bool is_right =
        is_record(i, blocks) && std::ranges::none_of(blocks, [&](std::uint32_t block) { return is_taken[block]; });
    if (!is_right) {
      place.state.store(0);
      free_places_.push_back(i);
      continue;
    }
    serial_ = std::max(serial_, place.serial);
    const auto [known, is_new] = places_.emplace(place.key, i);
    if (!is_new) {  // the daemon was killed when it had written a later one
      std::uint32_t older = i;
      if (layout_->places.at(known->second).serial < place.serial) {
        older = std::exchange(known->second, i);
      }
      layout_->places.at(older).state.store(0);
      free_places_.push_back(older);
      if (older == i) {
        continue;
      }
    }
    for (const std::uint32_t block : blocks) {
      is_taken[block] = true;
    }
  }
  for (std::uint32_t i = 0; i < kBlocks; ++i) {
    if (layout_->header.block_parts.at(i / kBlocksOfPart)) {
      fresh_block_ = i + 1;
    }
  }
  // Those of the older one of two records stay taken until the next daemon, which does no harm.
  for (std::uint32_t i = 0; i < fresh_block_; ++i) {
    if (!is_taken[i] && layout_->header.block_parts.at(i / kBlocksOfPart)) {
      free_blocks_.push_back(i);
    }
  }
}

bool KeptRecords::is_record(std::uint32_t index, std::vector<std::uint32_t>& blocks) const {
  const Place& place = layout_->places.at(index);
  blocks.clear();
  if (place.state.load(std::memory_order_acquire) != kUsed || place.bytes > kMostBytes) {
    return false;
  }
  Sum sum(place.key, place.serial);
  std::uint32_t block = place.first;
  for (std::size_t left = place.bytes; left > 0; block = layout_->next.at(block)) {
    if (block >= kBlocks || !layout_->header.block_parts.at(block / kBlocksOfPart)) {
      return false;
    }
    const std::size_t length = std::min(kBlockBytes, left);
    sum.add({layout_->blocks.at(block).bytes.data(), length});
    blocks.push_back(block);
    left -= length;
  }
  return sum.get() == place.sum;
}

std::uint32_t KeptRecords::take_place() {
  if (!free_places_.empty()) {
    const std::uint32_t place = free_places_.back();
    free_places_.pop_back();
    return place;
  }
  if (fresh_place_ == kPlaces) {
    return kPlaces;
  }
  std::atomic<bool>& has_memory = layout_->header.place_parts.at(fresh_place_ / kPlacesOfPart);
  if (!has_memory) {
    constexpr std::size_t kBytes = sizeof(Place) * kPlacesOfPart;
    if (!memory_.allocate(offsetof(Layout, places) + fresh_place_ / kPlacesOfPart * kBytes, kBytes)) {
      return kPlaces;
    }
    has_memory = true;
  }
  return fresh_place_++;
}

std::uint32_t KeptRecords::take_block() {
  if (!free_blocks_.empty()) {
    const std::uint32_t block = free_blocks_.back();
    free_blocks_.pop_back();
    return block;
  }
  if (fresh_block_ == kBlocks) {
    return kBlocks;
  }
  const std::uint32_t part = fresh_block_ / kBlocksOfPart;
  std::atomic<bool>& has_memory = layout_->header.block_parts.at(part);
  if (!has_memory) {
    constexpr std::size_t kBytes = sizeof(Layout::Block) * kBlocksOfPart;
    constexpr std::size_t kNextBytes = sizeof(std::uint32_t) * kBlocksOfPart;
    if (!memory_.allocate(offsetof(Layout, blocks) + part * kBytes, kBytes) ||
        !memory_.allocate(offsetof(Layout, next) + part * kNextBytes, kNextBytes)) {
      return kBlocks;
    }
    has_memory = true;
  }
  return fresh_block_++;
}

void KeptRecords::free_place(std::uint32_t index) noexcept {
  Place& place = layout_->places.at(index);
  place.state.store(0, std::memory_order_release);
  std::size_t left = place.bytes;
  for (std::uint32_t block = place.first; left > 0; block = layout_->next.at(block)) {
    free_blocks_.push_back(block);
    left -= std::min(left, kBlockBytes);
  }
  free_places_.push_back(index);
}

bool KeptRecords::put(std::uint64_t key, std::string_view bytes) noexcept {
  std::vector<std::uint32_t> blocks;
  auto known = places_.end();
  try {  // nothing is taken yet, so nothing is lost
    blocks.reserve(std::min(bytes.size(), kMostBytes) / kBlockBytes + 1);
    known = places_.try_emplace(key, kPlaces).first;
  } catch (const std::bad_alloc&) {
    erase(key);
    return false;
  }
  bool has_room = bytes.size() <= kMostBytes;
  while (has_room && blocks.size() * kBlockBytes < bytes.size()) {
    const std::uint32_t block = take_block();
    if (block == kBlocks) {
      has_room = false;
    } else {
      blocks.push_back(block);
    }
  }
  const std::uint32_t index = has_room ? take_place() : kPlaces;
  if (index == kPlaces) {
    free_blocks_.insert(free_blocks_.end(), blocks.begin(), blocks.end());
    erase(key);
    return false;
  }
  Sum sum(key, ++serial_);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::string_view part = bytes.substr(i * kBlockBytes, kBlockBytes);
    sum.add(part);
    part.copy(layout_->blocks.at(blocks[i]).bytes.data(), part.size());
    layout_->next.at(blocks[i]) = i + 1 < blocks.size() ? blocks[i + 1] : 0;
  }
  const std::uint32_t before = std::exchange(known->second, index);
  Place& place = layout_->places.at(index);
  place.bytes = static_cast<std::uint32_t>(bytes.size());
  place.key = key;
  place.serial = serial_;
  place.sum = sum.get();
  place.count = before == kPlaces ? 0 : layout_->places.at(before).count.load();
  place.first = blocks.empty() ? 0 : blocks.front();
  place.state.store(kUsed, std::memory_order_release);
  if (before != kPlaces) {
    free_place(before);
  }
  return true;
}

void KeptRecords::erase(std::uint64_t key) noexcept {
  if (const auto known = places_.find(key); known != places_.end()) {
    const std::uint32_t place = known->second;
    places_.erase(known);
    if (place != kPlaces) {
      free_place(place);
    }
  }
}

void KeptRecords::set_count(std::uint64_t key, std::uint64_t count) noexcept {
  if (const auto known = places_.find(key); known != places_.end()) {
    layout_->places.at(known->second).count = count;
  }
}

void KeptRecords::visit(const Visitor& visitor) const {
  std::string bytes;
  for (const auto& [key, index] : places_) {
    const Place& place = layout_->places.at(index);
    bytes.clear();
    std::uint32_t block = place.first;
    for (std::size_t left = place.bytes; left > 0; block = layout_->next.at(block)) {
      const std::size_t length = std::min(kBlockBytes, left);
      bytes.append(layout_->blocks.at(block).bytes.data(), length);
      left -= length;
    }
    visitor(key, bytes, place.count);
  }
}

std::atomic<std::uint64_t>& KeptRecords::counter(std::size_t index) { return layout_->counters.at(index).count; }
std::atomic<std::uint64_t>& KeptRecords::last() { return layout_->header.last; }

}  // namespace pkgfs::fuse
