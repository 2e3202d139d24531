// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

/// A connection to `unix:PATH` or `127.0.0.1:PORT`; empty when it is refused. Reads give up after five seconds.
[[nodiscard]] UniqueFd connect_to(const std::string& address);
/// Sends `request` over a new connection and returns the whole reply. Stops sending when the server closes the
/// connection. Empty if there was no connection or no reply.
[[nodiscard]] std::string talk(const std::string& address, const std::string& request);
/// Everything until the other side closes.
[[nodiscard]] std::string read_rest(int fd);

/// The body of `GET /metrics`; fails the test if that isn't answered with 200.
[[nodiscard]] std::string scrape(const std::string& address);

}  // namespace pkgfs::test
