// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/unique_fd.h"
#include "fuse/in_flight.h"
#include "fuse/shared_memory.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {

/// The state of a mount that outlives its daemon: what `Statistics` counts, which requests the server threads are
/// answering, and which requests crash the daemon. It lies in a memfd. If the daemon is killed, its successor adopts
/// that file and goes on from there.
///
/// The layout is fixed: a header, a table of the requests in flight, and the slots of the counts, each on pages of its
/// own. A slot takes no memory before a thread counts in it. Everything that threads write while they answer requests
/// is a lock-free atomic, so that the death of a thread leaves nothing half-written. Thread-safe, except for the
/// functions of the successor. Move-only.
class SharedState {
 public:
  static constexpr std::size_t kSlots = Statistics::kSlots;
  /// The number of server threads that have an entry in the table of requests in flight.
  static constexpr std::size_t kThreads = 64;
  /// The most requests that can be suspected or poisoned.
  static constexpr std::size_t kPoisoned = 64;
  using Count = std::atomic<std::uint64_t>;
  /// Where in the file the number of successors is (32 bits). Of several keepers that may start a successor, only the
  /// one that raises the number starts it.
  static constexpr std::size_t kSuccessions = 32;
  /// Where the number is that `handed_over` notes (32 bits).
  static constexpr std::size_t kHanded = 36;
  /// Where the process id of the daemon is that has replaced this one while it ran (32 bits); 0: none has. That daemon
  /// writes it into the file: it may know another layout (keeper::kReplacedBy).
  static constexpr std::size_t kReplacedBy = 1104;

  /// A new state: all zeros, and the mount begins now. Throws Error if there is no memory or no descriptor for it.
  [[nodiscard]] static SharedState create();
  /// The state in `file`, which another daemon has created. Checks the file first: another process may have written
  /// anything into it. Throws Error(kCorrupt) if the file can still change its size, or isn't a state. Throws
  /// Error(kUnsupported) if it has another layout, as after an upgrade of pkgfs. The caller then creates a new state.
  [[nodiscard]] static SharedState adopt(UniqueFd file);
  /// A state that no other process can adopt. It has no file.
  [[nodiscard]] static SharedState unshared();

  /// Takes the counts, and the suspected and poisoned requests, of `before`. Its daemon was stopped (SIGSTOP) but may
  /// go on, so each of the two daemons needs a state of its own. Call it only before a thread counts in this state.
  void continue_from(const SharedState& before);
  /// The descriptor for the successor; -1: unshared. Owned by this object, and closed by execve(2).
  [[nodiscard]] int fd() const { return memory_.fd(); }

  // For a successor. It calls these functions before Servers::start, because that forgets the requests in flight.

  /// The requests that the threads of the dead daemon were answering.
  [[nodiscard]] std::vector<InFlight> in_flight() const;
  /// The daemon crashed while its threads were answering `requests`. A request that was in flight at two crashes, one
  /// right after the other, is poisoned from then on. Returns those that this call has poisoned; the caller logs them.
  /// A request that wasn't in flight at this crash is no longer suspected.
  ///
  /// If the daemon noted which thread crashed, only the request of that thread is suspected. Otherwise a request may be
  /// poisoned that only waited for a disk at both crashes.
  [[nodiscard]] std::vector<NodeRequest> suspect(std::span<const InFlight> requests);
  /// The poisoned requests, for ServerOptions.
  [[nodiscard]] std::vector<NodeRequest> poisoned() const;

  [[nodiscard]] std::uint32_t successions() const;
  /// Notes that the last successor serves, and that no keeper of the daemon before is needed any more.
  void handed_over();
  /// Raises the number of successors, as a keeper does that starts one.
  void claim_succession();

  // For Servers.

  /// The entry of server thread `index`, below kThreads.
  [[nodiscard]] InFlightEntry& entry(std::size_t index) const;
  void forget_in_flight();

  // For Statistics.

  /// Slot `index`, below kSlots, if `take_slot` took it in this daemon or in an earlier one. Otherwise null.
  [[nodiscard]] StatisticsSlot* slot(std::size_t index) const;
  /// Takes memory for slot `index`, unless it has some already. Null: there is no memory. Several threads may take the
  /// same slot at a time.
  [[nodiscard]] StatisticsSlot* take_slot(std::size_t index);
  [[nodiscard]] Count& notices() const;
  [[nodiscard]] Count& takeovers() const;
  [[nodiscard]] Count& pause_total() const;    // nanoseconds
  [[nodiscard]] Count& pause_longest() const;  // nanoseconds
  /// When the mount began; never after now.
  [[nodiscard]] std::chrono::steady_clock::time_point begin() const;

 private:
  struct Layout;

  explicit SharedState(SharedMemory memory);

  SharedMemory memory_;
  Layout* layout_;  // in `memory_`
};

}  // namespace pkgfs::fuse
