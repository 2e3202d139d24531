// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/thread_annotations.h"
#include "core/net/http_authorizer.h"
#include "core/oci/challenge.h"
#include "core/oci/reference.h"

namespace pkgfs::oci {

/// What identifies a user to a registry. Never to be printed.
struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token;  // for the server of tokens, instead of a password (OAuth 2.0, refresh_token)
  std::string registry_token;  // for the registry itself, as a bearer token
};

/// Logs in at OCI registries: with Basic authentication, or with a bearer token that the registry's server of tokens
/// gives (CNCF distribution, "Token Authentication Specification"). Covers the repositories that were added, and no
/// other URL. Sends credentials only over https or to this machine. One thread at a time logs in at a repository; the
/// others wait and use the same token, or fail with the same error. For some seconds after a failed login, no other one
/// begins. Thread-safe.
class Authorizer final : public HttpAuthorizer {
 public:
  /// Finds the credentials for a repository; none if the user has none. Called at each login, so that new passwords are
  /// found. May throw Error; throws Error(kInterrupted) soon after `cancel` is cancelled.
  using Find = std::function<std::optional<Credentials>(const Reference& repository, const CancelFlag& cancel)>;

  /// The longest time in which a server of tokens must answer, with all attempts.
  static constexpr std::chrono::seconds kTokenTime{30};
  /// How long the failure of a login counts.
  static constexpr std::chrono::milliseconds kFailureTime{3000};

  explicit Authorizer(Find find, std::chrono::milliseconds failure_time = kFailureTime)
      : find_(std::move(find)), failure_time_(failure_time) {}

  /// Covers the repository of `reference` from now on. `may_push`: ask for a token that allows that.
  void add(const Reference& reference, bool may_push = false);
  /// Whether no repository was added.
  [[nodiscard]] bool is_empty() const;

  [[nodiscard]] bool covers(const Url& url) const override;
  [[nodiscard]] std::optional<std::string> authorization(const Url& url) override;
  [[nodiscard]] std::optional<std::string> renew(const HttpRequest& request, const HttpResponse& refusal,
                                                 HttpClient& client, const CancelFlag& cancel) override;

 private:
  using Clock = std::chrono::steady_clock;
  /// A login that gave no other value of the header.
  struct Failure {
    Clock::time_point time;
    std::string challenge;       // the WWW-Authenticate header
    std::optional<Error> error;  // none: the registry or its server of tokens refuses the login
  };
  // The mutex of the authorizer guards all members but the first.
  struct Repository {
    explicit Repository(Reference given) : reference(std::move(given)) {}
    Reference reference;
    bool may_push = false;
    std::optional<std::string> authorization;
    bool logging_in = false;  // a thread does
    std::optional<Failure> failure;
  };

  /// The repository that `url` belongs to; null if it belongs to none.
  [[nodiscard]] std::shared_ptr<Repository> find_repository(const Url& url) const PKGFS_REQUIRES(mutex_);
  /// Waits while another thread logs in. Returns what that or an earlier login led to, as `renew` does. Nothing, if the
  /// caller is to log in: then no other thread does until it calls `end_login`.
  [[nodiscard]] std::optional<std::optional<std::string>> join_login(Repository& repository, const HttpRequest& request,
                                                                     const std::string& challenge,
                                                                     const CancelFlag& cancel);
  void end_login(Repository& repository, std::optional<std::string> value, std::optional<Failure> failure);
  [[nodiscard]] std::optional<std::string> log_in(const Reference& reference, bool may_push, const HttpRequest& request,
                                                  const HttpResponse& refusal, HttpClient& client,
                                                  const CancelFlag& cancel) const;
  [[nodiscard]] std::optional<std::string> bearer_token(const Challenge& challenge, const Reference& reference,
                                                        bool may_push, const std::optional<Credentials>& credentials,
                                                        const HttpRequest& request, HttpClient& client,
                                                        const CancelFlag& cancel) const;

  Find find_;
  std::chrono::milliseconds failure_time_;
  mutable Mutex mutex_;
  std::condition_variable login_ended_;
  std::map<std::string, std::shared_ptr<Repository>> repositories_ PKGFS_GUARDED_BY(mutex_);  // by HOST/v2/REPOSITORY/
};

}  // namespace pkgfs::oci
