// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>

#include "fuse/in_flight.h"
#include "fuse/poll_window.h"
#include "fuse/request_buffer.h"
#include "fuse/servers.h"

namespace pkgfs::fuse {

/// The place of one server thread, which another thread takes after it has ended.
struct alignas(64) Servers::Server {
  /// `kept` is the entry of this place in the SharedState, which has the same number as its slot in the RequestStore.
  /// If the table there is full, it is null.
  Server(Servers& team, InFlightEntry* kept, std::size_t number)
      : servers(team), now(kept != nullptr ? *kept : own), slot(kept != nullptr ? number : RequestStore::kThreads) {}

  Servers& servers;
  InFlightEntry own;
  InFlightEntry& now;               // the request that is answered now, or was answered last
  std::size_t slot;                 // kThreads: none
  RequestBuffer* buffer = nullptr;  // of the thread
  std::thread thread;
  std::atomic<bool> on_duty{false};
  PollWindow window;
  unsigned in_a_row = 0;
  // Guarded by `parking_mutex_`.
  bool taken = false;  // by a thread that hasn't ended
  bool stuck = false;  // counted in `stuck_`
};

}  // namespace pkgfs::fuse
