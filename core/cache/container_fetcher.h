// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/limits.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/net/registry_token.h"

namespace pkgfs {

class DownloadObserver;
class HttpClient;

/// What the fetcher does with a download whose content doesn't have the announced hash. It never enters the cache.
enum class VerifyDownloads {
  kFail,
  kWarn,  // use it once, with a warning
  kOff,   // use it once
};

/// Provides container files: from the caches, else by a download into them. Of all threads and processes that need a
/// file, one downloads it. A download continues where an earlier one was interrupted.
///
/// A caller passes a function that uses the file, because only reading a file shows that it is damaged. If a cached
/// file can't be used, the fetcher downloads it again. Thread-safe.
class ContainerFetcher {
 public:
  /// The pointers must outlive the fetcher.
  struct Options {
    std::string packages_directory;  // of ContainersByHash
    std::string urls_directory;      // of ContainersByUrl
    HttpClient* client = nullptr;    // null: offline, only the caches are used
    std::vector<RegistryToken> tokens;
    VerifyDownloads verify = VerifyDownloads::kFail;
    std::uint64_t max_bytes = limits::kDownloadBytes;  // of one download
    DownloadObserver* observer = nullptr;              // may be null
    std::chrono::seconds url_lifetime{300};            // how long a cached file of a URL is used without a request
  };

  /// A container that a registry announced.
  struct Announced {
    Sha256 hash{};
    std::string url;
    std::string name;          // of the package, for the observer and for messages
    bool is_hash_safe = true;  // the hash came over https or from this machine, so a redirect may leave https
  };

  /// Uses the container at `path`, which may be removed or replaced once this returns. Throws Error if it can't be
  /// used.
  using Use = std::function<void(const std::string& path)>;

  explicit ContainerFetcher(Options options);

  /// Calls `use` with a file that has the announced hash, or that `VerifyDownloads` accepts in spite of its hash.
  /// Returns the path of the file in a cache; none if the cache doesn't keep it. Throws Error, also the errors of
  /// `use`, and Error(kInterrupted) when cancelled.
  std::optional<std::string> fetch(const Announced& wanted, const CancelFlag& cancel, const Use& use);

  /// Calls `use` with the file at `url`. Uses a cached file for some minutes without a request. After that, asks the
  /// server with If-None-Match or If-Modified-Since, so that it sends only a version that changed. If the download
  /// fails for any reason, uses the cached file and warns with its age. Returns the path of the file in the cache.
  /// Throws as the other `fetch`.
  std::string fetch(const Url& url, const CancelFlag& cancel, const Use& use);

  /// The containers whose hash was announced.
  [[nodiscard]] ContainersByHash& packages() { return packages_; }
  [[nodiscard]] const ContainersByHash& packages() const { return packages_; }

 private:
  /// The cached file of a URL, or the one that was just downloaded.
  struct UrlFile {
    std::string path;
    bool is_new = false;
  };

  [[nodiscard]] bool is_offline() const { return options_.client == nullptr; }
  /// For another process that downloads the same file. Only online.
  [[nodiscard]] std::optional<std::chrono::milliseconds> longest_wait() const;
  [[nodiscard]] bool is_fresh(const ContainersByUrl::Found& found) const;
  /// Calls `use` with the entry of `hash`. False if there is none, or if it is damaged; a damaged one is set aside.
  [[nodiscard]] bool use_cached(const Sha256& hash, const Use& use);
  /// Calls `use` with the cached file of `url`, if it has this hash. False if there is no such file.
  [[nodiscard]] bool use_by_url(const Url& url, const Sha256& hash, const Use& use) const;
  /// Downloads into `partial`, checks the hash, uses the file and keeps it if its hash is right.
  std::optional<std::string> download_announced(const Announced& wanted, const Url& url, const PartialEntry& partial,
                                                const CancelFlag& cancel, const Use& use);
  [[nodiscard]] UrlFile find_or_download(const Url& url, const CancelFlag& cancel);
  /// Downloads the file of `url` and returns its path in the cache. With `has_copy`, downloads and returns nothing if
  /// the server says that the cached file is still current.
  [[nodiscard]] std::optional<std::string> download_url(const Url& url, bool has_copy, const PartialEntry& partial,
                                                        const CancelFlag& cancel);

  Options options_;
  ContainersByHash packages_;
  ContainersByUrl urls_;
};

}  // namespace pkgfs
