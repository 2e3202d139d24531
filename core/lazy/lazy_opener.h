// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/function_ref.h"
#include "core/base/hash.h"
#include "core/cache/container_fetcher.h"
#include "core/lazy/block_fetcher.h"
#include "core/lazy/lazy_source.h"
#include "core/lazy/remote_file.h"
#include "core/net/registry_token.h"

namespace pkgfs {

class ContainersByHash;
class ContainersByUrl;
class DownloadObserver;
class HttpClient;

/// Which containers are fetched while they are used, instead of before.
enum class Lazy : std::uint8_t {
  kAuto,  // those that are larger than LazyOpener::kSmall and aren't in the cache
  kOn,    // all that aren't in the cache
  kOff,   // none
};

/// Opens containers whose bytes stay at a server until they are needed. Thread-safe.
class LazyOpener {
 public:
  /// A smaller container is downloaded at once: it comes in the time of a few requests.
  static constexpr std::uint64_t kSmall = 4U << 20U;

  struct Options {
    Lazy lazy = Lazy::kAuto;
    std::string packages_directory;  // of ContainersByHash
    std::string urls_directory;      // of ContainersByUrl
    std::vector<RegistryToken> tokens;
    std::uint64_t max_bytes = 0;  // the most bytes of a container
    std::optional<std::uint64_t> background_rate;
    /// The server of a URL must say that it has the version that is here. If it has another one, that is opened, even
    /// if the one that is here is being used.
    bool must_ask = false;
    /// Asks the registries for the URL of the container with this hash (RemoteFile::renew). Must not refer to objects
    /// that the sources outlive. May be empty.
    std::function<std::optional<Url>(const Sha256& hash, HttpClient& client, const CancelFlag& cancel)> renew;
    BlockFetcher::Options fetcher;
  };

  explicit LazyOpener(Options options);

  /// The bytes of `wanted`. Null if it is in the cache, or has to be downloaded first: logs why it isn't read in parts.
  /// `client` is used for the first requests. Throws Error(kInterrupted), Error(kFull), and Error if memory or file
  /// descriptors ran out.
  [[nodiscard]] std::shared_ptr<LazySource> open(const ContainerFetcher::Announced& wanted,
                                                 const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel);
  /// The same for the container at `url`, whose hash isn't known. If the cache has a complete copy, asks the server
  /// whether it has another version. Null if not: then the copy counts as confirmed just now.
  [[nodiscard]] std::shared_ptr<LazySource> open(const Url& url, const std::shared_ptr<HttpClient>& client,
                                                 const CancelFlag& cancel);
  /// As `open` of a URL, but only this `version` of the container (ContainerFetcher::version_of). The server isn't
  /// asked if a part of it is here. Null if there is none, and the server doesn't answer or has another version: logs
  /// why. A part of another version stays, unless the server has this one.
  [[nodiscard]] std::shared_ptr<LazySource> reopen(const Url& url, const std::string& version,
                                                   const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel);
  /// Fetches what is missing of a container that a lazy mount has begun, and moves it into the cache. The mount may
  /// still be there: then each block is fetched by one of them. Tells `observer`, unless it is null. False if no part
  /// of the container is here, or if the rest can't be fetched: then it has to be downloaded anew; logs why. Throws as
  /// `open`.
  [[nodiscard]] bool complete(const ContainerFetcher::Announced& wanted, const std::shared_ptr<HttpClient>& client,
                              const CancelFlag& cancel, DownloadObserver* observer);
  /// The same for the container at `url`. False also if the server has another version than the part that is here.
  [[nodiscard]] bool complete(const Url& url, const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel,
                              DownloadObserver* observer);
  /// The threads that fetch. Shared by all sources, which keep it alive.
  [[nodiscard]] const std::shared_ptr<BlockFetcher>& fetcher() const { return fetcher_; }

 private:
  /// What is opened, and where its bytes are kept.
  struct Target {
    RemoteFile remote;
    std::optional<Sha256> hash = std::nullopt;  // announced
    std::string cache;                          // the directory of the cache
    std::string temporary;                      // that of the sparse file
    std::string key;                            // of the sparse file
    /// The strong ETag of the complete copy that the cache has.
    std::optional<std::string> known_etag = std::nullopt;
    std::function<void(SparseFile& complete)> keep;                  // LazySource::Options::keep
    std::string announced_profile = {};                              // ContainerFetcher::Announced::profile
    std::function<void(const AccessProfile& changed)> keep_profile;  // LazySource::Options::keep_profile
  };

  /// Both throw NotInParts if the container can't be read in parts, and Error.
  [[nodiscard]] Target target_of(const ContainerFetcher::Announced& wanted) const;
  [[nodiscard]] Target target_of(const Url& url) const;
  /// The same, whatever complete copy the cache has.
  [[nodiscard]] Target target_of_part(const Url& url) const;
  [[nodiscard]] std::shared_ptr<LazySource> source_of(std::shared_ptr<SparseFile> file, Target target,
                                                      AccessProfile profile, bool is_urgent) const;
  /// What earlier mounts recorded of the container, on this machine or as the target has it. Empty if that can't be
  /// used, and for a container whose hash isn't known.
  [[nodiscard]] AccessProfile profile_of(const Target& target, std::uint64_t size) const;
  [[nodiscard]] std::shared_ptr<SparseFile> file_of(const Target& target, HttpClient& client, const CancelFlag& cancel);
  /// The same, but only of this version. Throws NotInParts if the server has another one: then the part that is here
  /// stays.
  [[nodiscard]] std::shared_ptr<SparseFile> file_of_version(const Target& target, const std::string& version,
                                                            HttpClient& client, const CancelFlag& cancel);
  using FileOf = FunctionRef<std::shared_ptr<SparseFile>(const Target& target)>;
  /// `open` and `complete` of what `find` returns. `name` is for messages. `file_of` is called with that.
  [[nodiscard]] std::shared_ptr<LazySource> open_target(const std::string& name, FunctionRef<Target()> find,
                                                        FileOf file_of, const std::shared_ptr<HttpClient>& client);
  [[nodiscard]] bool complete_target(const std::string& name, FunctionRef<Target()> find,
                                     const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel,
                                     DownloadObserver* observer);

  Options options_;
  std::shared_ptr<ContainersByHash> packages_;
  std::shared_ptr<ContainersByUrl> urls_;
  std::shared_ptr<BlockFetcher> fetcher_;
};

}  // namespace pkgfs
