// SPDX-License-Identifier: MIT
#include "fuse/shared_state.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include "core/base/error.h"

namespace pkgfs::fuse {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::uint64_t kMagic = 0x6574'6174'7366'6b70;  // "pkfstate"
/// One higher with each change of the layout that no size shows, such as another order of the members.
constexpr std::uint32_t kLayout = 1;
using std::chrono::steady_clock;

std::int64_t monotonic_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

static_assert(SharedState::Count::is_always_lock_free);

struct SharedState::Layout {
  enum class Level : std::uint32_t { kFree, kSuspected, kPoisoned };  // a file of another process may hold any number
  struct Suspect {
    std::uint64_t node = 0;
    std::uint32_t opcode = 0;
    Level level = Level::kFree;

    [[nodiscard]] NodeRequest request() const { return {.node = node, .opcode = opcode}; }
  };
  struct alignas(kPageBytes) Header {
    std::uint64_t magic = 0;
    std::uint32_t layout = 0;
    std::uint32_t slot_bytes = 0;
    std::uint64_t bytes = 0;
    std::int64_t begin = 0;  // of the mount: nanoseconds of CLOCK_MONOTONIC
    std::atomic<std::uint32_t> successions{0};
    std::atomic<std::uint32_t> handed{0};
    Count notices;
    Count takeovers;
    Count pause_total;
    Count pause_longest;
    Count taken_slots;  // one bit for each
    std::array<Suspect, kPoisoned> suspects;
    std::atomic<std::uint32_t> replaced_by{0};  // 0 also in files of versions that didn't have it
    std::atomic<std::uint32_t> taking{0};       // keeper::kTaking; the same
  };
  struct alignas(kPageBytes) Slot {
    StatisticsSlot counts;
  };

  Header header;
  alignas(kPageBytes) std::array<InFlightEntry, kThreads> in_flight;
  std::array<Slot, kSlots> slots;
};

SharedState::SharedState(SharedMemory memory)
    : memory_(std::move(memory)), layout_(reinterpret_cast<Layout*>(memory_.data())) {}

SharedState SharedState::create() {
  static_assert(kSuccessions == offsetof(Layout::Header, successions));
  static_assert(kHanded == offsetof(Layout::Header, handed));
  static_assert(kReplacedBy == offsetof(Layout::Header, replaced_by));
  static_assert(kReplacedBy + sizeof(std::uint32_t) == offsetof(Layout::Header, taking));
  const std::string what = "Unable to create the state of the mount";
  SharedState state(SharedMemory::create("pkgfs-state", sizeof(Layout), what));
  if (!state.memory_.allocate(0, offsetof(Layout, slots))) {
    throw system_error(what, errno);
  }
  Layout::Header& header = state.layout_->header;
  header.layout = kLayout;
  header.slot_bytes = sizeof(StatisticsSlot);
  header.bytes = sizeof(Layout);
  header.begin = monotonic_now();
  header.magic = kMagic;
  return state;
}

SharedState SharedState::unshared() {
  SharedState state(SharedMemory::unshared(sizeof(Layout), "Unable to create the state of the mount"));
  state.layout_->header.begin = monotonic_now();
  return state;
}

SharedState SharedState::adopt(UniqueFd file) {
  const std::string what = "The state of an earlier daemon can't be adopted";
  SharedState state(SharedMemory::adopt(std::move(file), sizeof(Layout), what));
  const Layout::Header& header = state.layout_->header;
  if (header.magic != kMagic) {
    throw Error(ErrorCode::kCorrupt, {what, "its file holds something else"});
  }
  if (header.layout != kLayout || header.slot_bytes != sizeof(StatisticsSlot) || header.bytes != sizeof(Layout)) {
    throw Error(ErrorCode::kUnsupported, {what, "its layout is number " + std::to_string(header.layout) +
                                                    ", and that of this pkgfs is " + std::to_string(kLayout)});
  }
  return state;
}

void SharedState::continue_from(const SharedState& before) {
  const auto copy = [](Count& to, const Count& from) { to.store(from.load()); };
  Layout::Header& header = layout_->header;
  const Layout::Header& other = before.layout_->header;
  header.begin = other.begin;
  header.suspects = other.suspects;
  copy(header.notices, other.notices);
  copy(header.takeovers, other.takeovers);
  copy(header.pause_total, other.pause_total);
  copy(header.pause_longest, other.pause_longest);
  for (std::size_t i = 0; i < kSlots; ++i) {
    const StatisticsSlot* const from = before.slot(i);
    StatisticsSlot* const to = from == nullptr ? nullptr : take_slot(i);
    if (to != nullptr) {  // nothing but lock-free numbers
      std::memcpy(static_cast<void*>(to), static_cast<const void*>(from), sizeof(*to));
    }
  }
}

std::vector<InFlight> SharedState::in_flight() const {
  std::vector<InFlight> found;
  for (const InFlightEntry& entry : layout_->in_flight) {
    if (entry.is_answering()) {
      found.push_back({.unique = entry.unique.load(std::memory_order_relaxed),
                       .request = {.node = entry.node.load(std::memory_order_relaxed),
                                   .opcode = entry.opcode.load(std::memory_order_relaxed)},
                       .crashed = entry.crashed.load(std::memory_order_relaxed)});
    }
  }
  return found;
}

std::vector<NodeRequest> SharedState::suspect(std::span<const InFlight> requests) {
  const bool is_known = std::ranges::any_of(requests, &InFlight::crashed);
  std::set<NodeRequest> now;
  for (const InFlight& one : requests) {
    if (one.crashed || !is_known) {
      now.insert(one.request);
    }
  }
  std::vector<NodeRequest> poisoned;
  for (Layout::Suspect& one : layout_->header.suspects) {
    const bool again = one.level != Layout::Level::kFree && now.erase(one.request()) != 0;
    if (one.level == Layout::Level::kSuspected && again) {
      one.level = Layout::Level::kPoisoned;
      poisoned.push_back(one.request());
    } else if (one.level == Layout::Level::kSuspected) {
      one.level = Layout::Level::kFree;
    }
  }
  // If no place is free, the rest isn't suspected: too many requests crash the daemon for it to help.
  for (Layout::Suspect& one : layout_->header.suspects) {
    if (now.empty()) {
      break;
    }
    if (one.level == Layout::Level::kFree) {
      const NodeRequest next = now.extract(now.begin()).value();
      one = {.node = next.node, .opcode = next.opcode, .level = Layout::Level::kSuspected};
    }
  }
  return poisoned;
}

std::vector<NodeRequest> SharedState::poisoned() const {
  std::vector<NodeRequest> all;
  for (const Layout::Suspect& one : layout_->header.suspects) {
    if (one.level == Layout::Level::kPoisoned) {
      all.push_back(one.request());
    }
  }
  return all;
}

std::uint32_t SharedState::successions() const { return layout_->header.successions; }
void SharedState::handed_over() { layout_->header.handed = layout_->header.successions.load(); }
void SharedState::claim_succession() { ++layout_->header.successions; }

InFlightEntry& SharedState::entry(std::size_t index) const { return layout_->in_flight.at(index); }

void SharedState::forget_in_flight() {
  for (InFlightEntry& entry : layout_->in_flight) {
    entry.step.store(0);
    entry.crashed.store(false);
  }
}

StatisticsSlot* SharedState::slot(std::size_t index) const {
  // To look at a slot would give it memory.
  const std::uint64_t taken = layout_->header.taken_slots.load(std::memory_order_acquire);
  return (taken >> index & 1U) != 0 ? &layout_->slots.at(index).counts : nullptr;
}

StatisticsSlot* SharedState::take_slot(std::size_t index) {
  StatisticsSlot* const slot = &layout_->slots.at(index).counts;
  if (!memory_.allocate(offsetof(Layout, slots) + index * sizeof(Layout::Slot), sizeof(StatisticsSlot))) {
    return nullptr;
  }
  layout_->header.taken_slots.fetch_or(std::uint64_t{1} << index, std::memory_order_acq_rel);
  return slot;
}

SharedState::Count& SharedState::notices() const { return layout_->header.notices; }
SharedState::Count& SharedState::takeovers() const { return layout_->header.takeovers; }
SharedState::Count& SharedState::pause_total() const { return layout_->header.pause_total; }
SharedState::Count& SharedState::pause_longest() const { return layout_->header.pause_longest; }

steady_clock::time_point SharedState::begin() const {
  const std::int64_t kept = std::clamp<std::int64_t>(layout_->header.begin, 0, monotonic_now());
  return steady_clock::time_point(std::chrono::duration_cast<steady_clock::duration>(std::chrono::nanoseconds(kept)));
}

}  // namespace pkgfs::fuse
