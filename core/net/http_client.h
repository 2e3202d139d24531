// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/net/http_message.h"
#include "core/net/retry.h"

namespace pkgfs {

class AddressPolicy;
class TransferLoop;

/// The HTTP client of a command. All transfers share one thread of libcurl's multi interface, and with it connections,
/// looked-up names and HTTP/2 streams. Proxies come from the environment or from `Options::proxy`; requests to loopback
/// use none. Thread-safe. The thread starts with the first request and ends with the object, so a process may fork only
/// before or after.
class HttpClient {
 public:
  struct Options {
    std::string user_agent;
    std::optional<std::string> proxy;
    std::optional<std::string> ca_file;  // replaces the system's certificates
    std::chrono::milliseconds connect_timeout{10'000};
    /// A transfer without a byte for so long fails. So does one whose rate over this time, or for a download over half
    /// a minute if that is longer, is below a few hundred bytes a second (core/net/pace.h).
    std::chrono::seconds stall_timeout{30};
    /// The longest time of `fetch`, with all its attempts.
    std::chrono::seconds query_deadline{600};
    /// The same for a download; none: it may take any time as long as bytes come.
    std::optional<std::chrono::seconds> download_deadline = std::nullopt;
    int max_redirects = 10;
    RetryPolicy retry;
    AddressPolicy* addresses = nullptr;  // which addresses may be used; null: any. Must outlive the client
  };

  explicit HttpClient(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// One exchange without retries. With a `sink`, the body of a 2xx response goes there. Throws HttpError,
  /// Error(kInterrupted), and whatever the sink throws.
  [[nodiscard]] HttpResponse fetch_once(const HttpRequest& request, const CancelFlag& cancel,
                                        const HttpSink& sink = nullptr);
  /// The same, repeated after transient failures and the statuses 408, 429, 500, 502, 503 and 504, as `Options::retry`
  /// says; `attempts` replaces the policy's number. Only for requests that change nothing on the server. All requests
  /// of pkgfs are such, a POST with a GraphQL query included.
  [[nodiscard]] HttpResponse fetch(const HttpRequest& request, const CancelFlag& cancel,
                                   std::optional<int> attempts = std::nullopt);

  [[nodiscard]] const RetryPolicy& retry_policy() const { return options_.retry; }
  /// When a download that begins now must be complete; none if it may take any time.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> download_deadline() const;
  /// Null if any address may be used.
  [[nodiscard]] AddressPolicy* addresses() const { return options_.addresses; }
  /// Whether another attempt may get another status than `status`.
  [[nodiscard]] static bool is_transient(int status);

 private:
  /// Tells the policy of the proxies of the options and the environment, once.
  void tell_proxies();

  Options options_;
  std::once_flag proxies_told_;
  std::unique_ptr<TransferLoop> loop_;
};

}  // namespace pkgfs
