// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"
#include "daemon/keeper/protocol.h"

namespace pkgfs {

/// What a successor is told in the environment (keeper::kVariable).
struct Handover {
  int containers = 0;      // the number of descriptors from keeper::kContainers on
  int signal = 0;          // with which the daemon before crashed; 0: none
  std::int64_t ended = 0;  // when it ended: CLOCK_MONOTONIC, in nanoseconds
  bool runs = false;       // it hasn't ended: it is to be replaced (upgrade.h)
};

/// Nothing if the variable isn't set, or isn't of the expected form.
[[nodiscard]] std::optional<Handover> handover_of(const Environment& environment);

/// Sends a message over a control socket, with a duplicate of `descriptor` unless that is -1. False: the other process
/// has ended.
bool send_message(int socket, keeper::Message message, int descriptor = -1);
/// Waits for a message. False: another one came, none came within `limit_ms` milliseconds, or the other process has
/// ended.
[[nodiscard]] bool receive_message(int socket, keeper::Message expected, int limit_ms);
/// The same for a message with a descriptor. Invalid: none came with it.
[[nodiscard]] bool receive_message(int socket, keeper::Message expected, int limit_ms, UniqueFd& descriptor);

}  // namespace pkgfs
