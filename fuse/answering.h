// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fuse/shared_state.h"

namespace pkgfs::fuse {

/// The requests that server threads are answering at one moment. Memory to which no later request finds a pointer can
/// be freed once all of these have ended. Requests of WaitingReads, and those that come through io_uring, aren't among
/// them.
class Answering {
 public:
  /// `state`: that of the Servers; must outlive this. Throws std::bad_alloc.
  explicit Answering(const SharedState& state);
  /// Whether each of these requests has been answered.
  [[nodiscard]] bool have_ended();

 private:
  const SharedState& state_;
  std::vector<std::pair<std::size_t, std::uint32_t>> steps_;  // of the threads that haven't gone on yet
};

}  // namespace pkgfs::fuse
