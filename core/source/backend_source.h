// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/base/thread_annotations.h"
#include "core/source/graphql.h"
#include "core/source/registry_answer_cache.h"
#include "core/source/source.h"

namespace pkgfs {

class HttpClient;

/// A Wasmer registry on the network (docs/rules/resolution.md, 7.1). Answers names and hashes with GraphQL requests.
/// The registry is asked for a name at most once, and for different names at the same time. Its answers for names are
/// cached on disk.
///
/// If the registry can't be reached, or its answer can't be used, a cached answer of any age replaces that. The first
/// time, a warning gives the age; later times are logged at the level `info`. After the status 401 or 403, no cached
/// answer is used, because the registry refuses this user.
class BackendSource final : public Source {
 public:
  struct Options {
    std::string endpoint;
    std::optional<std::string> token;
    graphql::Prefer prefer = graphql::Prefer::kV3;
    bool must_ask = false;  // use no cached answer, not even if the registry can't be asked; not with `offline`
    std::chrono::seconds cache_time{600};  // how long a cached answer is used without asking again
    bool offline = false;                  // never ask
  };

  /// `client` and `cancel` must outlive this. `client` may be null when offline.
  BackendSource(Options options, HttpClient* client, RegistryAnswerCache cache, const CancelFlag& cancel);
  ~BackendSource() override;

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSpecifier> specifiers) override;

 private:
  /// The result of the look-up of one name. After the look-up, it has a response or a failure.
  struct Known {
    Mutex mutex;  // held during the look-up, so that another thread that needs the name waits
    std::optional<webc::Json> response PKGFS_GUARDED_BY(mutex);
    std::optional<Error> failure PKGFS_GUARDED_BY(mutex);
    bool asked_registry PKGFS_GUARDED_BY(mutex) = false;
  };

  [[nodiscard]] std::vector<PackageSummary> by_name(const PackageSpecifier& specifier, const CancelFlag& cancel);
  [[nodiscard]] std::vector<PackageSummary> by_hash(const PackageSpecifier& specifier, const CancelFlag& cancel);
  [[nodiscard]] std::vector<PackageSummary> query_one(const PackageSpecifier& specifier, const CancelFlag& cancel);
  [[nodiscard]] Known& known(const std::string& full_name);
  /// Fills `known` from the cache or the registry.
  void look_up(Known& known, const std::string& full_name, bool use_fresh_cache, const CancelFlag& cancel)
      PKGFS_REQUIRES(known.mutex);
  /// The versions of `known` that match. Throws QueryError if the look-up failed.
  [[nodiscard]] graphql::Published matching(const Known& known, const PackageSpecifier& specifier) const
      PKGFS_REQUIRES(known.mutex);
  /// Warns, once for each version, of versions that can't be used and are newer than all of `published.packages`.
  void tell_of_unusable(const graphql::Published& published);
  /// Tells the address policy that this registry gave the URLs of `packages`.
  void announce(const std::vector<PackageSummary>& packages) const;
  /// Records that the registry can't be used, so that later queries don't wait for it. Returns whether it is the first
  /// failure.
  [[nodiscard]] bool is_first_failure(const Error& error);
  /// Sends a request. `has_substitute`: the caller has a cached answer, so few attempts are enough.
  [[nodiscard]] webc::Json ask(std::string body, bool has_substitute, const CancelFlag& cancel);

  Options options_;
  HttpClient* client_;
  RegistryAnswerCache cache_;
  const CancelFlag& cancel_;
  Mutex mutex_;                                                                   // taken after that of a Known
  std::map<std::string, std::unique_ptr<Known>> known_ PKGFS_GUARDED_BY(mutex_);  // by full name; never removed
  std::optional<Error> unreachable_ PKGFS_GUARDED_BY(mutex_);                     // why the registry isn't asked again
  std::set<NamedId> told_ PKGFS_GUARDED_BY(mutex_);                               // versions that a warning named
};

}  // namespace pkgfs
