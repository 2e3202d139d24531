// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "daemon/http/http_server.h"
#include "daemon/observe/metrics_listener.h"

namespace pkgfs {

/// Answers `GET /metrics` over HTTP on a thread of its own. Each connection carries one request. HttpLimits bounds what
/// clients cost: they can delay other clients, but nothing else.
class MetricsServer {
 public:
  /// Listens at `address`, the value of `--metrics`. The server's thread calls `text` for the body of each reply.
  /// Throws Error as MetricsListener does.
  MetricsServer(const std::string& address, std::function<std::string()> text);
  /// Ends the thread and removes a Unix socket from the file system.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// Starts the thread. Call it after the last fork: a forked child has no threads but the one that forked.
  void start();
  /// Where clients reach the server: an absolute path, or the port that the kernel chose.
  [[nodiscard]] const std::string& address() const { return listener_.address(); }

 private:
  MetricsListener listener_;
  HttpServer server_;
  std::thread thread_;
};

}  // namespace pkgfs
