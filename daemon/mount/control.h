// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "daemon/mount/mount_table.h"

// How `pkgfs refresh` and `pkgfs rollback` talk to the daemon of a mount. The daemon listens at the abstract Unix
// socket "pkgfs-mount-53", where 53 is the number of the FUSE connection. A connection (SOCK_SEQPACKET) has one request
// and one answer, both JSON objects. Root and the user of the daemon may use it.
namespace pkgfs {

enum class ControlRequest { kRefresh, kRollback };

/// A socket that listens for requests to the mount with the FUSE connection `connection`. Invalid, with errno, if that
/// isn't possible: EADDRINUSE if another process listens there, such as the daemon before.
[[nodiscard]] UniqueFd listen_for_control(const std::string& connection);
/// Takes one connection from `listener`. If its request is allowed and of the expected form, calls `answer` and sends
/// what that returns, or the message of its Error. Waits only some milliseconds for the request. False: no connection
/// can be taken now, although one waits; the caller should pause.
[[nodiscard]] bool serve_control(int listener, const std::function<nlohmann::ordered_json(ControlRequest)>& answer);

/// Sends a request to the daemon of `mount`, and waits for the answer, which may take as long as a resolution and its
/// downloads, but not more than 30 minutes. Throws Error that says why the daemon refuses, fails or can't be reached.
[[nodiscard]] nlohmann::ordered_json ask_daemon(const MountEntry& mount, ControlRequest request);

}  // namespace pkgfs
