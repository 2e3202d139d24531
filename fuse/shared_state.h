// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "core/base/unique_fd.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {

/// The state of a mount that outlives its daemon: what `Statistics` counts. It lies in a memfd. If the daemon is
/// killed, its successor adopts that file and goes on from there.
///
/// The layout is fixed: a header, and then the slots of the counts, each on pages of its own. A slot takes no memory
/// before a thread counts in it. All members are lock-free atomics, so that the death of a thread leaves none of them
/// half-written. Thread-safe.
class SharedState {
 public:
  static constexpr std::size_t kSlots = Statistics::kSlots;
  using Count = std::atomic<std::uint64_t>;

  /// A new state: all zeros, and the mount begins now. Throws Error if there is no memory or no descriptor for it.
  [[nodiscard]] static SharedState create();
  /// The state in `file`, which another daemon has created. Checks the file first: another process may have written
  /// anything into it. Throws Error(kCorrupt) if the file can still change its size, and Error(kUnsupported) if it has
  /// another layout, as after an upgrade of pkgfs. The caller then creates a new state.
  [[nodiscard]] static SharedState adopt(UniqueFd file);
  /// A state that no other process can adopt. It has no file.
  [[nodiscard]] static SharedState unshared();

  SharedState(SharedState&& other) noexcept;
  SharedState& operator=(SharedState&&) = delete;
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;
  ~SharedState();

  /// The descriptor for the successor; -1: unshared. Owned by this object, and closed by execve(2).
  [[nodiscard]] int fd() const { return file_.get(); }

  // For Statistics.

  /// Slot `index`, below kSlots, if `take_slot` took it in this daemon or in an earlier one. Otherwise null.
  [[nodiscard]] StatisticsSlot* slot(std::size_t index) const;
  /// Takes memory for slot `index`, unless it has some already. Null: there is none. Several threads may take the same
  /// slot at a time.
  [[nodiscard]] StatisticsSlot* take_slot(std::size_t index);
  [[nodiscard]] Count& notices() const;
  [[nodiscard]] Count& takeovers() const;
  [[nodiscard]] Count& pause_total() const;    // nanoseconds
  [[nodiscard]] Count& pause_longest() const;  // nanoseconds
  /// When the mount began; never after now.
  [[nodiscard]] std::chrono::steady_clock::time_point begin() const;

 private:
  struct Layout;

  explicit SharedState(UniqueFd file);

  UniqueFd file_;
  Layout* layout_ = nullptr;  // mapped
};

}  // namespace pkgfs::fuse
