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

/// What to do with a download whose content doesn't have the announced hash. It never enters the cache.
enum class VerifyDownloads {
  kFail,
  kWarn,  // use it once, with a warning
  kOff,   // use it once
};

/// Brings container files to this machine: from the caches, else by a download into them, which happens once for all
/// threads and processes, and continues where an earlier one was interrupted. A caller passes a function that uses the
/// file, because only reading a file shows that it is damaged: a cached file that can't be used is downloaded again.
/// Thread-safe.
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
    std::chrono::seconds url_lifetime{300};            // how long a file by URL is used without asking the server
  };

  /// A container that a registry announced.
  struct Announced {
    Sha256 hash{};
    std::string url;
    std::string name;  // of the package, for the observer and for messages
  };

  /// Uses the container at `path`, which may be removed or replaced once this returns. Throws Error if it can't be
  /// used.
  using Use = std::function<void(const std::string& path)>;

  explicit ContainerFetcher(Options options);

  /// Calls `use` with a file that has the announced hash, or that `VerifyDownloads` accepts in spite of its hash.
  /// Returns where the file is kept; none if it isn't. Throws Error, also what `use` throws, and Error(kInterrupted).
  std::optional<std::string> fetch(const Announced& wanted, const CancelFlag& cancel, const Use& use);

  /// Calls `use` with the file at `url`. A cached file is used for some minutes, then the server is asked with a HEAD
  /// request whether its ETag changed. If the server can't be reached, the cached file is used, with a warning that
  /// gives its age. Returns where the file is kept. Throws Error, also what `use` throws, and Error(kInterrupted).
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
  [[nodiscard]] bool is_fresh(const ContainersByUrl::Found& found) const;
  /// Whether there is an entry that `use` can use. A damaged one is set aside.
  [[nodiscard]] bool use_cached(const Sha256& hash, const Use& use);
  /// Whether the cache by URL has a file with this hash, which `use` then uses.
  [[nodiscard]] bool use_by_url(const Url& url, const Sha256& hash, const Use& use) const;
  /// Downloads into `partial`, checks the hash, uses the file and keeps it if its hash is right.
  std::optional<std::string> download_announced(const Announced& wanted, const Url& url, const PartialEntry& partial,
                                                const CancelFlag& cancel, const Use& use);
  [[nodiscard]] UrlFile find_or_download(const Url& url, const CancelFlag& cancel);
  [[nodiscard]] std::string download_url(const Url& url, const PartialEntry& partial, const CancelFlag& cancel);
  [[nodiscard]] bool is_unchanged(const Url& url, const std::string& etag, const CancelFlag& cancel) const;

  Options options_;
  ContainersByHash packages_;
  ContainersByUrl urls_;
};

}  // namespace pkgfs
