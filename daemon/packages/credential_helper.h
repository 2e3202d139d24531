// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/oci/authorizer.h"

namespace pkgfs {

/// How long a helper may run. It may ask a server, or the user in a window.
inline constexpr std::chrono::seconds kHelperTime{30};

/// Runs `docker-credential-NAME get`, which gets the name of the server at standard input and prints JSON (the protocol
/// of docker-credential-helpers). Nothing if the helper ends with another exit code than 0, as it does if it has no
/// credentials. Throws Error that names the helper: if it isn't installed, if it doesn't end within `limit`, and if its
/// answer is too long or malformed. Throws Error(kInterrupted) soon after `cancel` is cancelled. The helper and what it
/// has started have ended when this returns or throws. What a helper prints is in no message and no log. Any thread may
/// call it.
[[nodiscard]] std::optional<oci::Credentials> ask_helper(const std::string& name, const std::string& server,
                                                         const CancelFlag& cancel,
                                                         std::chrono::milliseconds limit = kHelperTime);

}  // namespace pkgfs
