// SPDX-License-Identifier: MIT
#include "daemon/volumes/plugin_server.h"

#include <chrono>
#include <csignal>
#include <string>
#include <utility>

#include "daemon/http/http_server.h"

namespace pkgfs {
namespace {

constexpr unsigned kTooLarge = 413;

/// Engines stay far below these bounds. A call that waits for a mount occupies a handler thread for seconds.
constexpr HttpLimits kLimits{.header_bytes = 16U << 10U,
                             .body_bytes = 64U << 10U,
                             .connections = 200,
                             .request = std::chrono::seconds(5),
                             .idle = std::chrono::minutes(2),
                             .drained_bytes = 8U << 20U,
                             .drain = std::chrono::seconds(5),
                             .handler_threads = 16};

HttpServer::Reply to_http(PluginAnswer answer) {
  answer.body += '\n';
  return {.status = answer.status,
          .content_type = std::string(kPluginContentType),
          .body = std::move(answer.body),
          .undelivered = std::move(answer.undo)};
}

HttpServer::Reply refuse(HttpServer::Refusal why, const std::string& detail) {
  if (why == HttpServer::Refusal::kBodyTooLarge) {
    return to_http(
        plugin_error(kTooLarge, "the request has more than " + std::to_string(kLimits.body_bytes) + " bytes"));
  }
  return to_http(plugin_error(kBadRequest, "the request isn't HTTP: " + detail));
}

}  // namespace

void serve_plugin(int listener, VolumeDriver& driver, const std::function<void()>& stopping) {
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe)
  HttpServer server(
      "the volume plugin", listener, kLimits,
      [&driver](const HttpServer::Request& request) {
        return to_http(
            answer_plugin_request({.method = request.method, .path = request.target, .body = request.body}, driver));
      },
      refuse);
  server.on_stop_signal([&] {
    stopping();
    server.stop();
  });
  server.run();
}

}  // namespace pkgfs
