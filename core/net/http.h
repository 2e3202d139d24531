// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/net/retry.h"
#include "core/net/url.h"

namespace pkgfs {

struct HttpRequest {
  enum class Method { kGet, kHead, kPost };

  Method method = Method::kGet;
  Url url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // of a POST
  /// Sent as `Authorization: Bearer`, over https or to loopback only, and never to another authority after a redirect.
  std::optional<std::string> bearer;
  std::uint64_t max_bytes = 16ULL << 20U;  // of the decoded answer
  bool compressed = true;                  // offer what libcurl can decode (gzip, zstd, br)
};

struct HttpResponse {
  int status = 0;
  std::string url;                             // after redirects
  std::map<std::string, std::string> headers;  // names in lower case; of the final answer
  std::string body;                            // decoded; empty with a sink

  [[nodiscard]] const std::string* header(const std::string& lower_case_name) const;
  /// `404 Not Found`, from our own table of phrases; `{status} (Retry After: {value})` for 503 with that header.
  [[nodiscard]] std::string status_text() const;
  /// What `Retry-After` says in seconds, a date included.
  [[nodiscard]] std::optional<std::chrono::seconds> retry_after() const;
};

/// No usable answer came: the connection, not what the server said.
class HttpError : public Error {
 public:
  HttpError(ErrorCode code, std::vector<std::string> chain, bool transient, bool timed_out = false)
      : Error(code, std::move(chain)), transient_(transient), timed_out_(timed_out) {}
  /// Whether trying again may help: connections and time-outs, but no wrong certificates.
  [[nodiscard]] bool is_transient() const { return transient_; }
  /// Somebody was silent for too long: a name server, a proxy, the server.
  [[nodiscard]] bool is_timeout() const { return timed_out_; }

 private:
  bool transient_;
  bool timed_out_;
};

/// The one HTTP client: libcurl's multi interface on a thread of its own, so that all transfers share connections,
/// names and HTTP/2 streams. HTTP proxies come from the environment, or from `Options::proxy`; loopback needs none. The
/// methods may be called from many threads. The thread starts with the first request and ends with the object: fork
/// before or after.
class HttpClient {
 public:
  struct Options {
    std::string user_agent;
    std::optional<std::string> proxy;
    std::optional<std::string> ca_file;  // instead of the system's certificates
    std::chrono::milliseconds connect_timeout{10'000};
    std::chrono::seconds stall_timeout{30};  // a trickle of a few bytes a second for so long ends a transfer
    int max_redirects = 10;
    RetryPolicy retry;
  };

  explicit HttpClient(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Takes the body of a 2xx answer piece by piece on the client's thread; `head` has all but the body. An exception
  /// ends the transfer and comes out of `fetch`. The body of any other answer is dropped after a few kilobytes.
  using Sink = std::function<void(const HttpResponse& head, std::span<const std::byte> piece)>;

  /// One exchange without retries. Throws HttpError, Error(kInterrupted).
  [[nodiscard]] HttpResponse fetch_once(const HttpRequest& request, const CancelFlag& cancel,
                                        const Sink& sink = nullptr);
  /// The same, tried again after transient failures and the statuses 408, 429, 500, 502, 503 and 504. For requests that
  /// change nothing, as all of ours are (a GraphQL query is a POST that doesn't). `attempts`: instead of the policy's.
  [[nodiscard]] HttpResponse fetch(const HttpRequest& request, const CancelFlag& cancel,
                                   std::optional<int> attempts = std::nullopt);

  [[nodiscard]] const RetryPolicy& retry_policy() const;
  /// Whether `status` may be gone at the next attempt.
  [[nodiscard]] static bool is_transient(int status);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace pkgfs
