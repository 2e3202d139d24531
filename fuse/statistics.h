// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/base/latency.h"

namespace pkgfs::vfs {
class LiveChanges;
}

namespace pkgfs::fuse {

/// The kinds of request that are counted.
enum class Request : std::uint8_t {
  kLookup,
  kForget,
  kGetattr,
  kReadlink,
  kOpen,
  kRead,
  kRelease,
  kOpendir,
  kReaddir,
  kReaddirplus,
  kReleasedir,
  kStatfs,
  kGetxattr,
  kListxattr,
  kIoctl,
  kOther,
  kCount,
};
inline constexpr std::size_t kRequests = static_cast<std::size_t>(Request::kCount);

/// The kind's name in counts and messages.
[[nodiscard]] std::string_view name_of(Request request);

/// The kinds of error reply that are counted. ENOENT, ENODATA, ERANGE, ENOTTY and ENOSYS are ordinary replies and not
/// counted.
enum class Failure : std::uint8_t { kIo, kReadOnly, kMemory, kStale, kAccess, kOther, kCount };
inline constexpr std::size_t kFailures = static_cast<std::size_t>(Failure::kCount);

/// The errno's name, such as "EIO"; "other" for kOther.
[[nodiscard]] std::string_view name_of(Failure failure);

/// The counts at one moment.
struct Snapshot {
  struct Operation {
    std::uint64_t requests = 0;  // received
    std::uint64_t answered = 0;  // of those; the members below are about these only
    std::uint64_t total = 0;     // nanoseconds
    std::uint64_t longest = 0;   // nanoseconds
    std::array<std::uint64_t, kFailures> failures{};
    std::array<std::uint64_t, LatencyBuckets::kCount> buckets{};

    /// The nanoseconds within which the part `share` (0 to 1) of the requests was answered, as exact as LatencyBuckets
    /// says. 0 if none was answered. `answered` may be ahead of the buckets.
    [[nodiscard]] std::uint64_t quantile(double share) const {
      return LatencyBuckets::quantile(buckets, share, longest);
    }
    /// How many requests took less than `limit` nanoseconds, which must be the end of a bucket.
    [[nodiscard]] std::uint64_t below(std::uint64_t limit) const { return LatencyBuckets::below(buckets, limit); }
  };
  std::array<Operation, kRequests> operations{};
  std::uint64_t bytes_read = 0;
  std::uint64_t files_pushed = 0;  // prefetched into the kernel's page cache
  std::uint64_t bytes_pushed = 0;
  std::uint64_t polled = 0;    // requests that a thread found by polling
  std::uint64_t relieved = 0;  // threads that gave their duty to another one
  /// Of live directories; without value where nothing is live.
  struct Live {
    std::uint64_t watched = 0;    // directories, now
    std::uint64_t unwatched = 0;  // times that a directory could not be watched
    std::uint64_t notices = 0;    // changes that the kernel was told of
  };
  std::optional<Live> live;
  /// Times that another daemon took over after the death of the one before. A pause lasts from that death until the
  /// successor takes requests.
  std::uint64_t takeovers = 0;
  std::uint64_t pause_total = 0;    // nanoseconds
  std::uint64_t pause_longest = 0;  // nanoseconds
  double uptime = 0;                // seconds since the mount, whichever daemon serves it

  [[nodiscard]] const Operation& operator[](Request request) const {
    return operations.at(static_cast<std::size_t>(request));
  }
};

/// The counts of one thread, or of a few. A change of its members changes the layout of SharedState: see `kLayout`
/// there.
struct alignas(64) StatisticsSlot {
  using Count = std::atomic<std::uint64_t>;
  std::array<Count, kRequests> requests{};
  std::array<Count, kRequests> total{};
  std::array<Count, kRequests> longest{};
  Count bytes_read{0};
  Count files_pushed{0};
  Count bytes_pushed{0};
  Count polled{0};
  Count relieved{0};
  std::array<std::array<Count, kFailures>, kRequests> failures{};
  std::array<std::array<Count, LatencyBuckets::kCount>, kRequests> buckets{};
};

class SharedState;

/// Counts since the mount. Thread-safe and without locks. Each thread counts in one of 32 slots, which share no cache
/// line. If there are more threads, some share a slot. A slot gets memory when a thread first counts in it. Sums are
/// exact while no request is being answered. The counts lie in a SharedState. If an earlier daemon counted in that
/// state, this object goes on from its counts.
class Statistics {
  using Slot = StatisticsSlot;

 public:
  static constexpr std::size_t kSlots = 32;

  /// Counts in memory of its own. Throws Error if there is none.
  Statistics();
  /// `state` must outlive this.
  explicit Statistics(SharedState& state);
  ~Statistics();
  Statistics(const Statistics&) = delete;
  Statistics& operator=(const Statistics&) = delete;

  /// One request, from its receipt until the kernel has the reply: counted by the constructor, timed by the destructor.
  /// Stays on the thread that answers. Reads the clock twice.
  class Measure {
   public:
    Measure(Statistics& statistics, Request request)
        : slot_(statistics.own()), request_(static_cast<std::size_t>(request)), begin_(Clock::now()) {
      slot_.requests.at(request_).fetch_add(1, kRelaxed);
    }
    ~Measure();
    Measure(const Measure&) = delete;
    Measure& operator=(const Measure&) = delete;

    /// Counts the error reply `error`, an errno. Call it before the reply.
    void failed(int error);
    void bytes_read(std::uint64_t bytes) { slot_.bytes_read.fetch_add(bytes, kRelaxed); }

   private:
    using Clock = std::chrono::steady_clock;
    Slot& slot_;
    std::size_t request_;
    Clock::time_point begin_;
  };

  /// A READ whose Measure has ended already was answered with `bytes` bytes, or with the errno `error`.
  void add_bytes_read(std::uint64_t bytes) { own().bytes_read.fetch_add(bytes, kRelaxed); }
  void read_failed(int error);
  /// A file of `bytes` bytes was prefetched.
  void add_prefetched(std::uint64_t bytes) {
    Slot& slot = own();
    slot.files_pushed.fetch_add(1, kRelaxed);
    slot.bytes_pushed.fetch_add(bytes, kRelaxed);
  }

  /// The kernel was told of a change.
  void add_notice() { notices_->fetch_add(1, kRelaxed); }
  /// Takes the counts of `before` (SharedState::continue_from).
  void continue_from(const SharedState& before);
  /// This daemon took over from one that had died `pause` ago.
  void taken_over(std::chrono::nanoseconds pause);
  /// Adds the watched directories of `changes` to the snapshots. `changes` must be started (LiveChanges::start) and
  /// must outlive this object.
  void count_live(const vfs::LiveChanges& changes) { live_.store(&changes, std::memory_order_release); }
  /// A thread found a request by polling, without going to sleep.
  void add_polled() { own().polled.fetch_add(1, kRelaxed); }
  /// A thread on duty was about to block, or was stuck, and another one took over (Servers).
  void add_relieved() { own().relieved.fetch_add(1, kRelaxed); }

  [[nodiscard]] std::uint64_t requests(Request request) const { return snapshot()[request].requests; }
  /// The sum over all kinds; cheaper than a snapshot.
  [[nodiscard]] std::uint64_t requests() const;
  [[nodiscard]] Snapshot snapshot() const;
  [[nodiscard]] SharedState& state() const { return state_; }

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  using Count = StatisticsSlot::Count;

  void find_slots();
  [[nodiscard]] Slot& own();
  template <typename Visit>
  void for_each_slot(Visit&& visit) const;

  std::array<std::atomic<Slot*>, kSlots> slots_{};  // in `state_`
  std::unique_ptr<SharedState> own_state_;
  SharedState& state_;
  Count* notices_;  // in `state_`
  std::atomic<const vfs::LiveChanges*> live_{nullptr};
  Slot spare_;  // for threads that had no memory for a slot
};

}  // namespace pkgfs::fuse
