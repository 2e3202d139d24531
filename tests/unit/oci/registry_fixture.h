// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/net/http_client.h"
#include "core/oci/authorizer.h"
#include "core/oci/repository.h"
#include "tests/support/raw_server.h"

namespace pkgfs::oci {

inline std::string answer(const std::string& status, const std::string& body = {}, const std::string& headers = {}) {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// The method and path of a request.
inline std::string line_of(const std::string& request) { return request.substr(0, request.find(" HTTP/")); }

/// A request for which every server here has the same answer: whether it has https.
inline std::optional<test::RawServer::Reply> probe(const std::string& request) {
  if (!request.starts_with("GET ") && !request.starts_with("HEAD ") && !request.starts_with("P")) {
    return test::RawServer::Reply{};  // the beginning of TLS
  }
  return line_of(request) == "GET /v2/" ? std::optional(test::RawServer::Reply{.bytes = answer("200 OK")})
                                        : std::nullopt;
}

/// A repository of a registry whose answers a test gives.
class OciRegistryTest : public ::testing::Test {
 protected:
  void start(test::RawServer::Answer given) {
    server_ =
        std::make_unique<test::RawServer>([given = std::move(given)](const std::string& request, std::size_t number) {
          const auto known = probe(request);
          return known ? *known : given(request, number);
        });
    authorizer_.add(reference());
  }
  [[nodiscard]] std::string host() const { return server_->authority().substr(std::string("http://").size()); }
  [[nodiscard]] Reference reference(const std::string& end = ":1") const {
    return Reference::parse("oci://" + host() + "/acme/app" + end);
  }
  [[nodiscard]] Repository repository(const std::string& end = ":1") { return {reference(end), client_, never_}; }
  template <typename Call>
  std::string failure(const Call& call) {
    try {
      static_cast<void>(call());
    } catch (const Error& error) {
      code_ = error.code();
      return error.what();
    }
    ADD_FAILURE() << "it succeeds";
    return {};
  }
  /// The requests for the repository, without probes.
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> found;
    for (const std::string& request : server_->requests()) {
      if (!probe(request)) {
        found.push_back(line_of(request));
      }
    }
    return found;
  }

  std::optional<Credentials> login_;
  std::atomic<int> logins_ = 0;
  Authorizer authorizer_{[this](const Reference&, const CancelFlag&) {
    ++logins_;
    return login_;
  }};
  HttpClient client_{{.user_agent = "test",
                      .proxy = {},
                      .ca_file = {},
                      .connect_timeout = std::chrono::milliseconds(200),  // also for TLS, which no server here has
                      .stall_timeout = std::chrono::seconds(2),
                      .retry = {.first_pause = std::chrono::milliseconds(1)},
                      .authorizer = &authorizer_}};
  const CancelFlag never_;
  std::unique_ptr<test::RawServer> server_;
  ErrorCode code_ = ErrorCode::kInternal;
};

}  // namespace pkgfs::oci
