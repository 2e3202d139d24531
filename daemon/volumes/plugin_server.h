// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>

#include "daemon/volumes/volume_protocol.h"

namespace pkgfs {

/// Bounds on what a client may do; engines stay far below them.
struct PluginServerLimits {
  std::size_t body_bytes = 64U << 10U;
  std::size_t connections = 200;
  std::chrono::milliseconds idle{120'000};   // between two requests
  std::chrono::milliseconds request{5'000};  // from a request's first byte to its last, and for reading our answer
};

/// Serves HTTP/1.1 on the listening Unix socket `listener`, which stays the caller's, until SIGTERM or SIGINT comes.
/// Each request is given to `driver` on one of a few threads; slow, broken and endless clients cost their connection
/// and nothing else. `stopping` is called before those threads are waited for. Blocks; SIGPIPE is ignored from then on.
/// Throws Error.
void serve_plugin(int listener, VolumeDriver& driver, const PluginServerLimits& limits,
                  const std::function<void()>& stopping);

}  // namespace pkgfs
