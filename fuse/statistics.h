// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace pkgfs::fuse {

/// What the kernel asks, as counted.
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
  kOther,
  kCount,
};

/// As it is called in counts and messages.
[[nodiscard]] std::string_view name_of(Request request);

/// Counts since the mount. Threads count in slots of their own, so that they don't wait for each other; sums are exact
/// once nothing is going on.
class Statistics {
 public:
  void count(Request request) { own().requests.at(static_cast<std::size_t>(request)).fetch_add(1, kRelaxed); }
  void add_bytes_read(std::uint64_t bytes) { own().bytes_read.fetch_add(bytes, kRelaxed); }
  void add_pushed(std::uint64_t bytes) {
    own().files_pushed.fetch_add(1, kRelaxed);
    own().bytes_pushed.fetch_add(bytes, kRelaxed);
  }

  /// A request that a thread found by looking for it, without going to sleep.
  void add_polled() { own().polled.fetch_add(1, kRelaxed); }
  /// A thread that was about to wait for a disk, or was stuck, while it was the one that takes the requests.
  void add_relieved() { own().relieved.fetch_add(1, kRelaxed); }

  [[nodiscard]] std::uint64_t requests(Request request) const;
  /// `{"requests":{"lookup":3,...},"bytes_read":0,"files_pushed":0,"bytes_pushed":0,"polled":0,"relieved":0}`: all
  /// kinds, also those that never came.
  [[nodiscard]] std::string to_json() const;

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  static constexpr std::size_t kSlots = 32;
  struct alignas(64) Slot {
    std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Request::kCount)> requests{};
    std::atomic<std::uint64_t> bytes_read{0};
    std::atomic<std::uint64_t> files_pushed{0};
    std::atomic<std::uint64_t> bytes_pushed{0};
    std::atomic<std::uint64_t> polled{0};
    std::atomic<std::uint64_t> relieved{0};
  };

  [[nodiscard]] Slot& own();
  /// Of the counter that `pick` takes from each slot.
  template <typename Pick>
  [[nodiscard]] std::uint64_t sum(const Pick& pick) const;

  std::array<Slot, kSlots> slots_;
};

}  // namespace pkgfs::fuse
