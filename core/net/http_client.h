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
class HttpAuthorizer;
class TransferLoop;

/// The HTTP client of a command of pkgfs. All transfers run on one thread, with libcurl's multi interface. So they
/// share connections and looked-up names, and HTTP/2 carries several transfers at a time over one connection. Proxies
/// come from the environment or from `Options::proxy`; requests to loopback use none. Thread-safe. The thread starts
/// with the first request and ends with the object, so a process may fork only before or after that, or after `rest`.
class HttpClient {
 public:
  struct Options {
    std::string user_agent;
    std::optional<std::string> proxy;
    std::optional<std::string> ca_file;  // replaces the system's certificates
    std::chrono::milliseconds connect_timeout{10'000};
    /// A transfer fails if no byte comes for this time. It also fails if its rate is below a few hundred bytes a second
    /// (core/net/pace.h). The rate is measured over this time, but over half a minute at least for a download.
    std::chrono::seconds stall_timeout{30};
    /// The longest time of `fetch`, with all its attempts.
    std::chrono::seconds query_deadline{600};
    /// The same for a download; none: it may take any time as long as bytes come.
    std::optional<std::chrono::seconds> download_deadline = std::nullopt;
    int max_redirects = 10;
    RetryPolicy retry;
    AddressPolicy* addresses = nullptr;    // which addresses may be used; null: any. Must outlive the client
    HttpAuthorizer* authorizer = nullptr;  // logs in at some servers; may be null. Must outlive the client
  };

  explicit HttpClient(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Performs one exchange without retries. With a `sink`, the body of a 2xx response goes there. An exchange that the
  /// address policy refuses is tried once more if the policy has learned addresses. So is an exchange that the server
  /// answers with 401, if the authorizer can log in there. Throws HttpError, Error(kInterrupted), and the exceptions of
  /// the sink and the authorizer.
  [[nodiscard]] HttpResponse fetch_once(const HttpRequest& request, const CancelFlag& cancel,
                                        const HttpSink& sink = nullptr);
  /// The same, but repeats the exchange after transient failures and the statuses 408, 429, 500, 502, 503 and 504.
  /// `Options::retry` says how often; `attempts` replaces RetryPolicy::attempts. Only for requests that the server may
  /// get twice: those that change nothing, such as a POST with a GraphQL query, and a PUT that is always the same.
  [[nodiscard]] HttpResponse fetch(const HttpRequest& request, const CancelFlag& cancel,
                                   std::optional<int> attempts = std::nullopt);

  /// Ends the client's thread, and keeps the connections. All requests must have ended. The process may fork
  /// afterwards. The next request starts the thread again; only one of the two processes may send one. If there was
  /// none, the destructor leaves the connections open until the process ends, because the other process may use them.
  void rest() noexcept;

  [[nodiscard]] const RetryPolicy& retry_policy() const { return options_.retry; }
  /// When a download that begins now must be complete; none if it may take any time.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> download_deadline() const;
  /// Null if any address may be used.
  [[nodiscard]] AddressPolicy* addresses() const { return options_.addresses; }
  /// Whether another attempt may give another status than `status`.
  [[nodiscard]] static bool is_transient(int status);

 private:
  [[nodiscard]] HttpResponse exchange(const HttpRequest& request, const CancelFlag& cancel, const HttpSink& sink);
  /// Gives the address policy the proxies of the options and the environment.
  void tell_proxies();

  Options options_;
  std::once_flag proxies_told_;
  std::unique_ptr<TransferLoop> loop_;
};

}  // namespace pkgfs
