// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// The address of a server: a Unix socket, or a numeric IP address and a port.
struct ListenAddress {
  std::string path;  // of a Unix socket, else empty
  std::string host;  // without brackets
  std::string port;
};

/// Parses the value of `--metrics`: `unix:PATH`, `HOST:PORT`, or `PORT` on 127.0.0.1. Host names aren't resolved.
/// Throws Error(kUsage) naming the address.
[[nodiscard]] ListenAddress parse_metrics_address(const std::string& address);

}  // namespace pkgfs
