// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pkgfs {

/// Bounds on what a client may cost. A client that exceeds a bound loses its connection. That has no effect on other
/// clients, nor on the daemon.
struct HttpLimits {
  std::size_t header_bytes = std::size_t{8} << 10U;
  /// Zero: the handler gets no body. A client may still send one; the server discards it after the reply.
  std::size_t body_bytes = 0;
  /// How many connections may be open at the same time. At this number, the server closes the one that has waited
  /// longest for a complete request. So idle clients don't keep others out. If it is answering requests on all
  /// connections, further clients wait in the listening socket's queue.
  std::size_t connections = 64;
  /// How long a client may take to send a request, from its first byte on, and again to receive the reply. If `idle` is
  /// zero, the time begins with the connection.
  std::chrono::milliseconds request{5000};
  /// How long a connection may wait for a request. Zero: the server closes the connection after one reply.
  std::chrono::milliseconds idle{0};
  /// Before the server closes a connection, it reads and discards what the client still sends, up to these bounds. To
  /// close a socket with unread data would destroy the reply on its way to the client.
  std::size_t drained_bytes = std::size_t{64} << 10U;
  std::chrono::milliseconds drain{1000};
  /// How many threads run the handler. Zero: the thread that calls `run` does, so the handler must not block.
  std::size_t handler_threads = 0;
};

/// An HTTP/1.1 server on a listening stream socket. It knows nothing of what it serves.
class HttpServer {
 public:
  struct Request {
    std::string_view method;
    std::string_view target;
    std::string_view body;
  };
  struct Reply {
    unsigned status = 200;
    std::string content_type = "text/plain";
    std::string body;  // the same for HEAD as for GET: for HEAD, the server sends only its length
    std::vector<std::pair<std::string, std::string>> headers = {};
    /// Called if the client did not take the reply, by a handler thread or by the thread of `run`. May be empty. Its
    /// exceptions are logged.
    std::function<void()> undelivered = {};
  };
  /// Called by the handler threads (HttpLimits::handler_threads), by several at the same time. If it throws, the client
  /// gets a reply with status 500.
  using Handler = std::function<Reply(const Request&)>;

  /// Why the server refuses a request without asking the handler.
  enum class Refusal { kNotHttp, kHeaderTooLarge, kBodyTooLarge };
  /// Makes the reply to a refused request. `detail` is the parser's message. Must not throw.
  using Refuse = std::function<Reply(Refusal, const std::string& detail)>;

  /// `listener` is a non-blocking socket that listens; the server duplicates it. `name` begins the log messages: "the
  /// metrics server". Throws Error.
  HttpServer(std::string name, int listener, const HttpLimits& limits, Handler handler, Refuse refuse);
  /// Call after `run` has returned.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// `run` calls `action` on its thread when SIGTERM or SIGINT reaches the process. Call before `run`.
  void on_stop_signal(std::function<void()> action);
  /// Serves until `stop` is called. Then it waits for handlers that are at work, and sends their replies as far as the
  /// clients take them at once. The process must ignore SIGPIPE.
  void run();
  /// Thread-safe.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pkgfs
