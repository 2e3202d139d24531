// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

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
/// others wait and use the same token. Thread-safe.
class Authorizer final : public HttpAuthorizer {
 public:
  /// Finds the credentials for a repository; none if the user has none. Called at each login, so that new passwords are
  /// found. May throw Error.
  using Find = std::function<std::optional<Credentials>(const Reference& repository)>;

  explicit Authorizer(Find find) : find_(std::move(find)) {}

  /// Covers the repository of `reference` from now on. `may_push`: ask for a token that allows that.
  void add(const Reference& reference, bool may_push = false);
  /// Whether no repository was added.
  [[nodiscard]] bool is_empty() const;

  [[nodiscard]] bool covers(const Url& url) const override;
  [[nodiscard]] std::optional<std::string> authorization(const Url& url) override;
  [[nodiscard]] std::optional<std::string> renew(const HttpRequest& request, const HttpResponse& refusal,
                                                 HttpClient& client, const CancelFlag& cancel) override;

 private:
  struct Repository {
    explicit Repository(Reference given) : reference(std::move(given)) {}
    Reference reference;
    bool may_push = false;
    std::optional<std::string> authorization;
    Mutex logging_in;
  };

  /// The repository that `url` belongs to; null if it belongs to none.
  [[nodiscard]] std::shared_ptr<Repository> find_repository(const Url& url) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] std::optional<std::string> log_in(const Reference& reference, bool may_push, const HttpRequest& request,
                                                  const HttpResponse& refusal, HttpClient& client,
                                                  const CancelFlag& cancel) const;
  [[nodiscard]] std::optional<std::string> bearer_token(const Challenge& challenge, const Reference& reference,
                                                        bool may_push, const std::optional<Credentials>& credentials,
                                                        const Url& registry, HttpClient& client,
                                                        const CancelFlag& cancel) const;

  Find find_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<Repository>> repositories_ PKGFS_GUARDED_BY(mutex_);  // by HOST/v2/REPOSITORY/
};

}  // namespace pkgfs::oci
