// SPDX-License-Identifier: MIT
#pragma once

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
#include "core/base/function_ref.h"
#include "core/base/hash.h"
#include "core/base/thread_annotations.h"
#include "core/cache/container_fetcher.h"
#include "core/load/package.h"
#include "core/package/package_info.h"

namespace pkgfs {

class DownloadObserver;
class HttpClient;
class LazyOpener;
class LazySource;
class Url;

/// Turns summaries into opened packages (docs/rules/loading.md, 1). A package with a local path is opened in place. Any
/// other package is opened lazily, if `set_lazy` was called and its container can be read in parts. Otherwise a
/// ContainerFetcher provides it, by its URL and hash. The paths of a package may never lead out of its
/// directory here, whatever OpenOptions::allow_outside says. A package that `Trust` rejects is opened with
/// OpenOptions::untrusted. A loader opens a package once. A command of pkgfs has one
/// loader; with --follow-manifest, each reload has another (`adopt`). Thread-safe.
class PackageLoader {
 public:
  /// Whether a package at `dist` counts as local, and not as one of a stranger (Reach::trusts). Several threads
  /// may call it at once.
  using Trust = std::function<bool(const DistributionInfo& dist)>;

  /// For local packages only.
  explicit PackageLoader(OpenOptions options) : options_(options) {}
  /// `fetcher` and `cancel` must outlive the loader. Without `trust`, packages with a local path are trusted.
  PackageLoader(OpenOptions options, ContainerFetcher& fetcher, const CancelFlag& cancel, Trust trust = {})
      : options_(options), fetcher_(&fetcher), cancel_(&cancel), trust_(std::move(trust)) {}

  /// From now on, `lazy` opens containers that aren't in the cache, if it can. The first requests use `client`. The
  /// parameters are those of LazyOpener::complete; `lazy` and `observer` must outlive the loader.
  void set_lazy(LazyOpener& lazy, std::shared_ptr<HttpClient> client, DownloadObserver* observer) {
    lazy_ = &lazy;
    client_ = std::move(client);
    observer_ = observer;
  }

  /// From now on, `lazy` completes containers that a lazy mount has begun, before they are opened. The parameters are
  /// those of `set_lazy`.
  void set_completing(LazyOpener& lazy, std::shared_ptr<HttpClient> client, DownloadObserver* observer) {
    set_lazy(lazy, std::move(client), observer);
    completes_ = true;
  }

  /// The package at `url`, if its container can be read in parts. Later, `load` gives the same package for this URL.
  /// Null if it has to be downloaded first, or if the cache has a current copy; logs why. Also null for a package
  /// without a name, because its id is the hash of all bytes. OpenOptions without `directory_data` are an exception:
  /// their user doesn't need the id. Throws Error(kInterrupted), and Error if memory or file descriptors ran out.
  [[nodiscard]] std::shared_ptr<const Package> open_in_parts(const Url& url, const CancelFlag& cancel);

  /// The package at `url` for a process that goes on with what another one has opened in parts: `version` of its
  /// container (ContainerFetcher::version_of). If the cache has a part of it or all of it, asks no server. Throws Error
  /// naming the URL if neither the cache nor the server has this version, and as `open_in_parts`.
  [[nodiscard]] std::shared_ptr<const Package> reopen_in_parts(const Url& url, const std::string& version,
                                                               const CancelFlag& cancel);

  /// The limits for a package at `dist`.
  [[nodiscard]] const limits::PackageLimits& limits_of(const DistributionInfo& dist) const {
    return options_for(dist).limits();
  }

  /// Loads no package for `summary` in future, but gives `package`, which an earlier loader has loaded for it. Call it
  /// before the first load.
  void adopt(const PackageSummary& summary, std::shared_ptr<const Package> package);
  /// Throws Error naming the package and its location, and Error(kInterrupted).
  [[nodiscard]] std::shared_ptr<const Package> load(const PackageSummary& summary);
  /// The same for many packages, in their order, with up to 32 downloads at a time. The first failure stops the others.
  [[nodiscard]] std::vector<std::shared_ptr<const Package>> load_all(std::span<const PackageSummary> summaries);
  /// The same, but one failure doesn't stop the others. At the end, calls `failed` for the packages that can't be
  /// loaded, in their order. The result has a null in the place of such a package. Throws an Error that `is_of_run`,
  /// Error(kFull), Error if the cache can't be synced, and the exceptions of `failed`.
  [[nodiscard]] std::vector<std::shared_ptr<const Package>> load_available(
      std::span<const PackageSummary> summaries, FunctionRef<void(const PackageSummary&, const Error&)> failed);

  /// Where a loaded package is: its local path, or the path of its container in a cache. Of a package without an
  /// announced hash, its URL. None if this loader has put it in no cache: the package is lazy or adopted, or the
  /// download had another hash than announced.
  [[nodiscard]] std::optional<std::string> location(const PackageSummary& summary) const;

 private:
  /// A package without a local path: fetched, opened lazily, or adopted.
  struct Remote {
    Mutex loading;  // held while it is loaded, so that another thread that needs it waits
    std::shared_ptr<const Package> package PKGFS_GUARDED_BY(loading);
    std::optional<std::string> location PKGFS_GUARDED_BY(loading);
  };

  using Load = FunctionRef<std::shared_ptr<const Package>(std::size_t i, const CancelFlag& cancel)>;
  /// Calls `load_one` for each package. Packages that must be downloaded are loaded in parallel.
  [[nodiscard]] std::vector<std::shared_ptr<const Package>> load_each(std::span<const PackageSummary> summaries,
                                                                      Load load_one);
  /// Makes what was downloaded survive a power cut.
  void sync();
  [[nodiscard]] bool needs_download(const PackageSummary& summary) const;
  [[nodiscard]] std::shared_ptr<const Package> load(const PackageSummary& summary, const CancelFlag& cancel);
  [[nodiscard]] OpenOptions options_for(const DistributionInfo& dist) const;
  /// What tells local packages apart.
  [[nodiscard]] std::pair<bool, std::string> local_key(const DistributionInfo& dist) const;
  [[nodiscard]] std::shared_ptr<const Package> load_local(const DistributionInfo& dist);
  /// The entry of `map` for `key`, which is made if there is none.
  template <typename Key>
  [[nodiscard]] static Remote& entry_of(std::map<Key, std::unique_ptr<Remote>>& map, const Key& key);
  /// Opens the container in `source`, unless that is null. Null if the package must be downloaded.
  [[nodiscard]] static std::shared_ptr<const Package> open_lazily(const std::shared_ptr<LazySource>& source,
                                                                  const std::string& name,
                                                                  const std::optional<Sha256>& hash,
                                                                  const OpenOptions& options, const CancelFlag& cancel);
  /// Null if the package must be downloaded.
  [[nodiscard]] std::shared_ptr<const Package> load_lazily(const ContainerFetcher::Announced& wanted,
                                                           const OpenOptions& options, const CancelFlag& cancel);
  [[nodiscard]] std::shared_ptr<const Package> load_lazily(const Url& url, const CancelFlag& cancel);
  /// What `open_in_parts` returned for `url`; null if it wasn't called.
  [[nodiscard]] std::shared_ptr<const Package> opened_in_parts(const std::string& url) const;
  [[nodiscard]] std::shared_ptr<const Package> load_remote(const PackageSummary& summary, const CancelFlag& cancel);

  OpenOptions options_;
  ContainerFetcher* fetcher_ = nullptr;  // null: local packages only
  const CancelFlag* cancel_ = nullptr;   // null: never cancelled
  LazyOpener* lazy_ = nullptr;           // null: packages are downloaded before they are opened
  std::shared_ptr<HttpClient> client_;
  bool completes_ = false;  // `lazy_` only completes containers
  DownloadObserver* observer_ = nullptr;
  Trust trust_;
  mutable Mutex mutex_;
  std::map<std::pair<bool, std::string>, std::shared_ptr<const Package>> local_
      PKGFS_GUARDED_BY(mutex_);                                                       // by trust and canonical path
  std::map<std::string, std::unique_ptr<Remote>> in_parts_ PKGFS_GUARDED_BY(mutex_);  // by URL; never removed
  std::map<Sha256, std::unique_ptr<Remote>> remote_ PKGFS_GUARDED_BY(mutex_);  // by announced hash; never removed
};

}  // namespace pkgfs
