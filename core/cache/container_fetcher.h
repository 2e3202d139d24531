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

/// How the fetcher treats a download whose content doesn't have the announced hash. Such a download never enters a
/// cache.
enum class VerifyDownloads {
  kFail,  // throw an Error
  kWarn,  // use it once, with a warning
  kOff,   // use it once
};

/// Provides container files from the caches, or downloads them into the caches. Of all threads and processes that need
/// a file, one downloads it. A download continues where an earlier one was interrupted.
///
/// A caller passes a function that uses the file, because only the use shows whether the file is damaged. If the
/// function fails with a cached file, the fetcher downloads the file again. It doesn't do so when offline, or if the
/// cached file has the announced hash: then it throws. It also throws if the file may be sound, for example after an
/// interruption. Thread-safe.
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
    /// The server of a URL must be asked, and answer: `url_lifetime` is none, and a failure isn't made up for.
    bool must_ask = false;
  };

  /// A container that a registry announced.
  struct Announced {
    Sha256 hash{};
    std::string url;
    std::string name;  // of the package, for the observer and for messages
    /// The hash came over https or from this machine. With VerifyDownloads::kFail, a redirect may then leave https.
    bool is_hash_safe = true;
    std::string profile =
        {};  // what lazy mounts needed of it, as the text of a core/lazy/access_profile.h; may be empty
  };

  /// Uses the container at `path`, which may be removed or replaced once this returns. Throws Error if it can't be
  /// used.
  using Use = std::function<void(const std::string& path)>;

  explicit ContainerFetcher(Options options);

  /// Calls `use` with a file that has the announced hash, or that `VerifyDownloads` accepts in spite of its hash.
  /// Returns the path of the file in a cache. Returns nothing for a file with another hash, because no cache keeps it.
  /// Throws Error, the errors of `use`, and Error(kInterrupted) when cancelled.
  std::optional<std::string> fetch(const Announced& wanted, const CancelFlag& cancel, const Use& use);

  struct FromUrl {
    std::string path;     // of the file in the cache
    std::string version;  // `version_of`; empty if another process replaces the file all the time
  };
  /// Calls `use` with the file at `url`. Uses a cached file without a request for `Options::url_lifetime`. After that,
  /// asks the server with If-None-Match or If-Modified-Since, so that the server sends the file only if it has changed.
  /// If the download fails or the fetcher is offline, uses the cached file, and warns with its age. But it throws after
  /// an interruption, and if memory or file descriptors ran out. Calls `use` again if another process has replaced the
  /// file meanwhile, so that the version is that of the file which `use` got last. Throws as the other `fetch`, and as
  /// `version_of`.
  FromUrl fetch(const Url& url, const CancelFlag& cancel, const Use& use);

  /// What tells the cached file of `url` from others that the server may have there: its strong ETag or its
  /// Last-Modified date, with its size, or else its hash. As `version_of` a container that is read in parts. Empty if
  /// there is no such file. Throws as ContainersByUrl::content_hash.
  [[nodiscard]] std::string version_of(const Url& url) const;
  /// The same of a file that the server names by `validator` (RemoteVersion).
  [[nodiscard]] static std::string version_of(const std::string& validator, std::uint64_t size);
  /// Where the cache has the file of `url`, if it has one.
  [[nodiscard]] std::string path_of(const Url& url) const { return urls_.path_of(url); }
  /// Whether the cache has a copy of the file at this URL with this hash, so that `fetch` uses it. Throws as `fetch`.
  [[nodiscard]] bool has_copy_of(const std::string& url, const Sha256& hash) const;
  /// Whether `fetch` would use the cached file of `url` without asking the server.
  [[nodiscard]] bool is_fresh(const Url& url) const;

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
  /// The longest wait for another process that downloads the same file, as `cache_files::lock` takes it. Must not be
  /// called when offline.
  [[nodiscard]] std::optional<std::chrono::milliseconds> longest_wait() const;
  [[nodiscard]] bool is_fresh(const ContainersByUrl::Found& found) const;
  /// Calls `use` with the entry of `hash`. False if there is no such entry, or if it is damaged. A damaged entry is set
  /// aside.
  [[nodiscard]] bool use_cached(const Sha256& hash, const Use& use);
  /// Calls `use` with the cached file of `url`, if it has this hash. False if there is no such file.
  [[nodiscard]] bool use_by_url(const Url& url, const Sha256& hash, const Use& use) const;
  [[nodiscard]] bool has_copy_of(const Url& url, const Sha256& hash) const;
  /// Downloads into `partial`, and checks the hash. Moves the file into the cache if the hash is right. Then calls
  /// `use`. Returns and throws as `fetch`.
  std::optional<std::string> download_announced(const Announced& wanted, const Url& url, const PartialEntry& partial,
                                                const CancelFlag& cancel, const Use& use);
  /// `fetch` without a look at the version. Returns the path.
  [[nodiscard]] std::string use_of_url(const Url& url, const CancelFlag& cancel, const Use& use);
  /// The cached file of `url` if it is current, else the file that this call downloads. If the download fails, the old
  /// cached file.
  [[nodiscard]] UrlFile find_or_download(const Url& url, const CancelFlag& cancel);
  /// Downloads the file of `url` and returns its path in the cache. `has_copy` says that the cache has a file of `url`.
  /// If the server says that this file is still current, downloads nothing and returns nothing.
  [[nodiscard]] std::optional<std::string> download_url(const Url& url, bool has_copy, const PartialEntry& partial,
                                                        const CancelFlag& cancel);

  Options options_;
  ContainersByHash packages_;
  ContainersByUrl urls_;
};

}  // namespace pkgfs
