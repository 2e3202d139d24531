// SPDX-License-Identifier: MIT
#include "fuse/shared_state.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
/// Without F_SEAL_SHRINK, access to the mapping could raise SIGBUS.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

using std::chrono::steady_clock;

/// Gives a part of `file` its memory. Where memory is short, this fails, and no access to the mapping does.
bool allocate_part(const UniqueFd& file, std::size_t offset, std::size_t bytes) {
  int result = -1;
  do {
    result = ::fallocate(file.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);  // server threads get signals
  return result == 0;
}

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
    Count notices;
    Count takeovers;
    Count pause_total;
    Count pause_longest;
    Count taken_slots;  // one bit for each
    std::array<Suspect, kPoisoned> suspects;
  };
  struct alignas(kPageBytes) Slot {
    StatisticsSlot counts;
  };

  Header header;
  alignas(kPageBytes) std::array<InFlightEntry, kThreads> in_flight;
  std::array<Slot, kSlots> slots;
};

SharedState::SharedState(UniqueFd file) : file_(std::move(file)) {
  const int how = file_ ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  void* const place = ::mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE, how, file_.get(), 0);
  if (place == MAP_FAILED) {
    throw system_error("Unable to map the state of the mount", errno);
  }
  layout_ = static_cast<Layout*>(place);
}

SharedState::SharedState(SharedState&& other) noexcept
    : file_(std::move(other.file_)), layout_(std::exchange(other.layout_, nullptr)) {}

SharedState::~SharedState() {
  if (layout_ != nullptr) {
    ::munmap(layout_, sizeof(Layout));
  }
}

SharedState SharedState::create() {
  const char* const what = "Unable to create the state of the mount";
  UniqueFd file(::memfd_create("pkgfs-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), sizeof(Layout)) != 0 || !allocate_part(file, 0, offsetof(Layout, slots)) ||
      ::fcntl(file.get(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) {
    throw system_error(what, errno);
  }
  SharedState state(std::move(file));
  Layout::Header& header = state.layout_->header;
  header.layout = kLayout;
  header.slot_bytes = sizeof(StatisticsSlot);
  header.bytes = sizeof(Layout);
  header.begin = monotonic_now();
  header.magic = kMagic;
  return state;
}

SharedState SharedState::unshared() {
  SharedState state{UniqueFd()};
  state.layout_->header.begin = monotonic_now();
  return state;
}

SharedState SharedState::adopt(UniqueFd file) {
  const std::string what = "The state of an earlier daemon can't be adopted";
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) {
    throw system_error(what, errno);
  }
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    throw Error(ErrorCode::kCorrupt, {what, "the size of its file isn't sealed"});
  }
  if (std::cmp_not_equal(status.st_size, sizeof(Layout))) {
    throw Error(ErrorCode::kUnsupported, {what, "it has " + std::to_string(status.st_size) + " bytes instead of " +
                                                    std::to_string(sizeof(Layout))});
  }
  SharedState state(std::move(file));
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
  if (file_ && !allocate_part(file_, offsetof(Layout, slots) + index * sizeof(Layout::Slot), sizeof(StatisticsSlot))) {
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
