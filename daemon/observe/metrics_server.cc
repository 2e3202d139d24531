// SPDX-License-Identifier: MIT
#include "daemon/observe/metrics_server.h"

#include <exception>
#include <string_view>
#include <utility>

#include "core/base/log.h"

namespace pkgfs {
namespace {

constexpr const char* kTextFormat = "text/plain; version=0.0.4; charset=utf-8";
constexpr unsigned kBadRequest = 400;
constexpr unsigned kNotFound = 404;
constexpr unsigned kBadMethod = 405;
constexpr unsigned kHeaderTooLarge = 431;

HttpServer::Reply answer(const HttpServer::Request& request, const std::function<std::string()>& text) {
  if (request.method != "GET" && request.method != "HEAD") {
    return {.status = kBadMethod, .body = "only GET and HEAD\n", .headers = {{"Allow", "GET, HEAD"}}};
  }
  if (request.target.substr(0, request.target.find('?')) != "/metrics") {
    return {.status = kNotFound, .body = "the metrics are at /metrics\n"};
  }
  return {.content_type = kTextFormat, .body = text()};
}

HttpServer::Reply refuse(HttpServer::Refusal why, const std::string& /*detail*/) {
  if (why == HttpServer::Refusal::kNotHttp) {
    return {.status = kBadRequest, .body = "not an HTTP request\n"};
  }
  return {.status = kHeaderTooLarge, .body = "the request is too large\n"};
}

}  // namespace

MetricsServer::MetricsServer(const std::string& address, std::function<std::string()> text)
    : listener_(address),
      server_(
          "the metrics server", listener_.fd(), HttpLimits{},
          [text = std::move(text)](const HttpServer::Request& request) { return answer(request, text); }, refuse) {}

MetricsServer::~MetricsServer() {
  server_.stop();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void MetricsServer::start() {
  thread_ = std::thread([this] {
    try {
      server_.run();
    } catch (const std::exception& error) {
      log::warn("the metrics are no longer served: {}", error);
    }
  });
}

}  // namespace pkgfs
