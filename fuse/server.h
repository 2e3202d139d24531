// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "fuse/poll_window.h"
#include "fuse/servers.h"

namespace pkgfs::fuse {

/// The place of one server thread, which another thread takes after it has ended.
struct alignas(64) Servers::Server {
  explicit Server(Servers& team) : servers(team) {}

  Servers& servers;
  std::thread thread;
  std::atomic<bool> on_duty{false};
  std::atomic<std::uint32_t> step{0};     // odd while a request is answered
  std::atomic<std::uint64_t> request{0};  // the number of the last request
  PollWindow window;
  unsigned in_a_row = 0;
  // Guarded by `parking_mutex_`.
  bool taken = false;  // by a thread that hasn't ended
  bool stuck = false;  // counted in `stuck_`
};

}  // namespace pkgfs::fuse
