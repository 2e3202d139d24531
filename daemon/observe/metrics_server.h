// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace pkgfs {

/// Answers `GET /metrics` over HTTP/1.1, on a thread of its own. Every connection has one request, 8 KiB of it at most
/// and five seconds for it and for the answer; sixty-four are served at a time and others wait, so that no client can
/// hold anything but other clients.
class MetricsServer {
 public:
  /// Listens at `address`: `unix:PATH`, `HOST:PORT` (`127.0.0.1`, `[::1]`, `localhost` or any other numeric address;
  /// port 0: one that is free) or `PORT` alone, which is on 127.0.0.1. A socket that nobody listens at any more is
  /// replaced. `text` is called by the thread. Throws Error naming the address: kUsage, kBusy (in use), kPermission,
  /// kNotFound, kIo.
  MetricsServer(const std::string& address, std::function<std::string()> text);
  /// Ends the thread and removes the socket from the file system.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// Begins to answer: after the last fork.
  void start();
  /// Where it really listens: an absolute path, the port that was chosen.
  [[nodiscard]] const std::string& address() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pkgfs
