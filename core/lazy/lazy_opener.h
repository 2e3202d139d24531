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
#include "core/base/hash.h"
#include "core/cache/container_fetcher.h"
#include "core/lazy/block_fetcher.h"
#include "core/lazy/lazy_source.h"
#include "core/net/registry_token.h"

namespace pkgfs {

class ContainersByHash;
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
    std::string packages_directory;  // of the cache of containers by hash
    std::vector<RegistryToken> tokens;
    std::uint64_t max_bytes = 0;  // the most bytes of a container
    std::optional<std::uint64_t> background_rate;
    /// Asks the registries for the URL of the container with this hash (RemoteFile::renew). Must not refer to objects
    /// that the sources outlive. May be empty.
    std::function<std::optional<Url>(const Sha256& hash, HttpClient& client, const CancelFlag& cancel)> renew;
    BlockFetcher::Options fetcher;
  };

  explicit LazyOpener(Options options);

  /// The bytes of `wanted`. Null if it has to be downloaded first, or is in the cache; logs why. `client` is used for
  /// the first requests. Throws Error(kInterrupted), and Error if memory or file descriptors ran out.
  [[nodiscard]] std::shared_ptr<LazySource> open(const ContainerFetcher::Announced& wanted,
                                                 const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel);
  /// Fetches what is missing of a container that a lazy mount has begun, and moves it into the cache. The mount may
  /// still be there: then each block is fetched by one of them. Tells `observer`, unless it is null. False if no part
  /// of the container is here, or if the rest can't be fetched: then it has to be downloaded anew; logs why. Throws as
  /// `open`.
  [[nodiscard]] bool complete(const ContainerFetcher::Announced& wanted, const std::shared_ptr<HttpClient>& client,
                              const CancelFlag& cancel, DownloadObserver* observer);
  /// The threads that fetch. Shared by all sources, which keep it alive.
  [[nodiscard]] const std::shared_ptr<BlockFetcher>& fetcher() const { return fetcher_; }

 private:
  /// Throws NotInParts if the container can't be read in parts, and Error.
  [[nodiscard]] RemoteFile remote_of(const ContainerFetcher::Announced& wanted) const;
  [[nodiscard]] std::shared_ptr<LazySource> source_of(std::shared_ptr<SparseFile> file, RemoteFile remote,
                                                      const Sha256& hash, AccessProfile profile, bool is_urgent) const;
  /// What earlier mounts recorded of the container, on this machine or as `wanted` has it. Empty if that can't be used.
  [[nodiscard]] AccessProfile profile_of(const ContainerFetcher::Announced& wanted, std::uint64_t size) const;
  [[nodiscard]] std::shared_ptr<SparseFile> file_of(const ContainerFetcher::Announced& wanted, const RemoteFile& remote,
                                                    HttpClient& client, const CancelFlag& cancel);

  Options options_;
  std::shared_ptr<ContainersByHash> packages_;
  std::shared_ptr<BlockFetcher> fetcher_;
};

}  // namespace pkgfs
