// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/limits.h"
#include "core/cache/package_cache.h"
#include "core/load/package.h"
#include "core/net/download.h"
#include "core/package/package_info.h"
#include "core/source/endpoint.h"

namespace pkgfs {

/// What to do when a download isn't what its hash says. It never enters the cache.
enum class VerifyDownloads {
  kFail,
  kWarn,  // use it once, with a warning
  kOff,   // use it once
};

/// Where packages that aren't local come from. What the pointers point to must outlive the loader.
struct RemotePackages {
  PackageCache* cache = nullptr;
  std::string urls_directory;    // where WebSource keeps its files; used when a hash says it's the same
  HttpClient* client = nullptr;  // null: offline, only the cache is looked at
  std::vector<RegistryToken> tokens;
  VerifyDownloads verify = VerifyDownloads::kFail;
  std::uint64_t max_bytes = limits::kDownloadBytes;
  DownloadObserver* observer = nullptr;  // may be null
  const CancelFlag* cancel = nullptr;
};

/// Turns summaries into opened packages (docs/rules/loading.md, 1): what is local is opened in place; what is remote
/// comes from the cache, or is downloaded into it, once for all processes, and checked against its hash. One instance a
/// run; a package is opened once. Thread-safe.
class PackageLoader {
 public:
  /// Local packages only.
  explicit PackageLoader(OpenOptions options) : options_(options) {}
  PackageLoader(OpenOptions options, RemotePackages remote) : options_(options), remote_(std::move(remote)) {}

  /// Throws Error naming the package and its location.
  [[nodiscard]] std::shared_ptr<const Package> load(const PackageSummary& summary);
  /// The same for many, in their order: 32 downloads at a time. The first failure stops the others.
  [[nodiscard]] std::vector<std::shared_ptr<const Package>> load_all(std::span<const PackageSummary> summaries);
  /// Whether `load` would need the network.
  [[nodiscard]] bool is_missing(const PackageSummary& summary) const;
  /// Who is told of downloads; may be null.
  [[nodiscard]] DownloadObserver* observer() const { return remote_.observer; }
  /// Where the package's container is once it has been loaded: its own place, or the one in a cache.
  /// None when it isn't kept, because its download didn't have its hash.
  [[nodiscard]] std::optional<std::string> location(const PackageSummary& summary) const;

 private:
  [[nodiscard]] std::shared_ptr<const Package> open(const std::string& key, const std::string& path);
  [[nodiscard]] std::shared_ptr<const Package> load(const PackageSummary& summary, const CancelFlag& cancel);
  [[nodiscard]] std::shared_ptr<const Package> load_remote(const PackageSummary& summary, const CancelFlag& cancel);
  [[nodiscard]] std::shared_ptr<const Package> open_entry(const Sha256& hash);
  /// The file that was fetched for the URL itself, if it still has this hash.
  [[nodiscard]] std::shared_ptr<const Package> open_kept_url(const Url& url, const Sha256& hash);
  /// Downloads into `slot` and opens that, from the cache or, if that is allowed, without keeping it.
  [[nodiscard]] std::shared_ptr<const Package> fetch(const PackageSummary& summary, const Url& url,
                                                     const PackageCache::Slot& slot, const CancelFlag& cancel);
  [[nodiscard]] Downloaded download_to(const PackageSummary& summary, const Url& url, const std::string& part,
                                       const CancelFlag& cancel) const;
  void tell_finished(const PackageSummary& summary, std::uint64_t size, bool success) const;

  OpenOptions options_;
  RemotePackages remote_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Package>> opened_;  // by canonical path, or by hash
  // Where those are that aren't in the cache; none: nowhere, used once in spite of a wrong hash.
  std::map<Sha256, std::optional<std::string>> elsewhere_;
};

}  // namespace pkgfs
