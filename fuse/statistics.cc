// SPDX-License-Identifier: MIT
#include "fuse/statistics.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "core/vfs/live_changes.h"
#include "fuse/shared_state.h"

namespace pkgfs::fuse {
namespace {

constexpr std::array<std::string_view, kRequests> kNames{
    "lookup",  "forget",      "getattr",    "readlink", "open",     "read",      "release", "opendir",
    "readdir", "readdirplus", "releasedir", "statfs",   "getxattr", "listxattr", "ioctl",   "other"};
constexpr std::array<std::string_view, kFailures> kFailureNames{"EIO", "EROFS", "ENOMEM", "ESTALE", "EACCES", "other"};

std::optional<Failure> failure_of(int error) {
  switch (error) {
    case 0:
    case ENOENT:
    case ENODATA:
    case ERANGE:
    case ENOTTY:
    case ENOSYS:
      return std::nullopt;
    case EIO:
      return Failure::kIo;
    case EROFS:
      return Failure::kReadOnly;
    case ENOMEM:
      return Failure::kMemory;
    case ESTALE:
      return Failure::kStale;
    case EACCES:
      return Failure::kAccess;
    default:
      return Failure::kOther;
  }
}

}  // namespace

std::string_view name_of(Request request) { return kNames.at(static_cast<std::size_t>(request)); }
std::string_view name_of(Failure failure) { return kFailureNames.at(static_cast<std::size_t>(failure)); }

Statistics::Statistics()
    : own_state_(std::make_unique<SharedState>(SharedState::unshared())),
      state_(*own_state_),
      notices_(&state_.notices()) {}

Statistics::Statistics(SharedState& state) : state_(state), notices_(&state.notices()) { find_slots(); }

void Statistics::find_slots() {
  for (std::size_t i = 0; i < kSlots; ++i) {
    slots_.at(i).store(state_.slot(i), std::memory_order_relaxed);  // with the counts of earlier daemons
  }
}

void Statistics::continue_from(const SharedState& before) {
  state_.continue_from(before);
  find_slots();
}

Statistics::~Statistics() = default;

Statistics::Slot& Statistics::own() {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t mine = next.fetch_add(1, kRelaxed) % kSlots;
  std::atomic<Slot*>& place = slots_.at(mine);
  Slot* slot = place.load(std::memory_order_acquire);
  if (slot != nullptr) {
    return *slot;
  }
  slot = state_.take_slot(mine);
  if (slot == nullptr) {
    return spare_;
  }
  place.store(slot, std::memory_order_release);  // a thread that shares the slot stores the same
  return *slot;
}

Statistics::Measure::~Measure() {
  const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin_).count();
  const auto duration = static_cast<std::uint64_t>(std::max<std::int64_t>(took, 0));
  slot_.buckets.at(request_).at(LatencyBuckets::bucket_of(duration)).fetch_add(1, kRelaxed);
  slot_.total.at(request_).fetch_add(duration, kRelaxed);
  Count& longest = slot_.longest.at(request_);
  std::uint64_t known = longest.load(kRelaxed);
  while (duration > known && !longest.compare_exchange_weak(known, duration, kRelaxed)) {
  }
}

void Statistics::Measure::failed(int error) {
  if (const std::optional<Failure> failure = failure_of(error)) {
    slot_.failures.at(request_).at(static_cast<std::size_t>(*failure)).fetch_add(1, kRelaxed);
  }
}

void Statistics::read_failed(int error) {
  if (const std::optional<Failure> failure = failure_of(error)) {
    own()
        .failures.at(static_cast<std::size_t>(Request::kRead))
        .at(static_cast<std::size_t>(*failure))
        .fetch_add(1, kRelaxed);
  }
}

void Statistics::taken_over(std::chrono::nanoseconds pause) {
  const auto length = static_cast<std::uint64_t>(std::max<std::int64_t>(pause.count(), 0));
  state_.takeovers().fetch_add(1, kRelaxed);
  state_.pause_total().fetch_add(length, kRelaxed);
  Count& longest = state_.pause_longest();
  longest.store(std::max(longest.load(kRelaxed), length), kRelaxed);
}

template <typename Visit>
void Statistics::for_each_slot(Visit&& visit) const {
  visit(spare_);
  for (const std::atomic<Slot*>& place : slots_) {
    if (const Slot* const slot = place.load(std::memory_order_acquire); slot != nullptr) {
      visit(*slot);
    }
  }
}

std::uint64_t Statistics::requests() const {
  std::uint64_t all = 0;
  for_each_slot([&all](const Slot& slot) {
    for (const Count& count : slot.requests) {
      all += count.load(kRelaxed);
    }
  });
  return all;
}

Snapshot Statistics::snapshot() const {
  Snapshot all;
  for_each_slot([&all](const Slot& slot) {
    for (std::size_t i = 0; i < kRequests; ++i) {
      Snapshot::Operation& operation = all.operations.at(i);
      operation.requests += slot.requests.at(i).load(kRelaxed);
      operation.total += slot.total.at(i).load(kRelaxed);
      operation.longest = std::max(operation.longest, slot.longest.at(i).load(kRelaxed));
      for (std::size_t j = 0; j < kFailures; ++j) {
        operation.failures.at(j) += slot.failures.at(i).at(j).load(kRelaxed);
      }
      for (std::size_t j = 0; j < LatencyBuckets::kCount; ++j) {
        const std::uint64_t count = slot.buckets.at(i).at(j).load(kRelaxed);
        operation.buckets.at(j) += count;
        operation.answered += count;
      }
    }
    all.bytes_read += slot.bytes_read.load(kRelaxed);
    all.files_pushed += slot.files_pushed.load(kRelaxed);
    all.bytes_pushed += slot.bytes_pushed.load(kRelaxed);
    all.polled += slot.polled.load(kRelaxed);
    all.relieved += slot.relieved.load(kRelaxed);
  });
  if (const vfs::LiveChanges* const changes = live_.load(std::memory_order_acquire); changes != nullptr) {
    const vfs::HostWatcher::Counts counts = changes->watcher()->counts();
    all.live = {.watched = counts.watched,
                .unwatched = counts.limited + counts.unsupported,
                .notices = notices_->load(kRelaxed)};
  }
  all.takeovers = state_.takeovers().load(kRelaxed);
  all.pause_total = state_.pause_total().load(kRelaxed);
  all.pause_longest = state_.pause_longest().load(kRelaxed);
  all.uptime = std::chrono::duration<double>(std::chrono::steady_clock::now() - state_.begin()).count();
  return all;
}

}  // namespace pkgfs::fuse
