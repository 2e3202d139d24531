// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "core/base/cancel.h"

namespace pkgfs {

class HttpClient;
class Url;
struct HttpRequest;
struct HttpResponse;

/// Gives requests the credentials that a server asks for with the status 401. A client asks it about each request, so
/// downloads and range requests need to know nothing of logins. A request that it covers follows no redirect from https
/// to http. Thread-safe.
class HttpAuthorizer {
 public:
  HttpAuthorizer() = default;
  virtual ~HttpAuthorizer() = default;
  HttpAuthorizer(const HttpAuthorizer&) = delete;
  HttpAuthorizer& operator=(const HttpAuthorizer&) = delete;

  /// Whether requests for `url` get their credentials here.
  [[nodiscard]] virtual bool covers(const Url& url) const = 0;
  /// The value of the Authorization header for `url`, as far as it is known by now. None: the request goes out without
  /// the header. Only called if `covers(url)`.
  [[nodiscard]] virtual std::optional<std::string> authorization(const Url& url) = 0;
  /// Called after `refusal`, an answer to `request` with the status 401. Returns another value of the header, which may
  /// be accepted; none if there is no other. May wait for requests with `client`. Throws Error.
  [[nodiscard]] virtual std::optional<std::string> renew(const HttpRequest& request, const HttpResponse& refusal,
                                                         HttpClient& client, const CancelFlag& cancel) = 0;
};

}  // namespace pkgfs
