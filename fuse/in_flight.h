// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pkgfs::fuse {

/// What a request is about: the node id, and the operation of the kernel's protocol (fuse_opcode).
struct NodeRequest {
  std::uint64_t node = 0;
  std::uint32_t opcode = 0;

  auto operator<=>(const NodeRequest&) const = default;
};

/// A request that a server thread was answering when its daemon ended.
struct InFlight {
  std::uint64_t unique = 0;  // the number that the kernel gave it
  NodeRequest request;
  bool crashed = false;  // it was this thread that crashed (Servers::note_crash)
};

/// The request that one server thread answers, or answered last. Only that thread writes it. All threads of the daemon
/// may read it, and so may its successor: it lies in a SharedState.
struct alignas(64) InFlightEntry {
  std::atomic<std::uint32_t> step{0};  // odd while the thread answers
  std::atomic<std::uint32_t> opcode{0};
  std::atomic<std::uint64_t> unique{0};
  std::atomic<std::uint64_t> node{0};
  std::atomic<bool> crashed{false};

  [[nodiscard]] bool is_answering() const { return step.load(std::memory_order_acquire) % 2 == 1; }
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

}  // namespace pkgfs::fuse
