// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pkgfs {

/// Shows the progress of all downloads of a command of pkgfs; ContainerFetcher calls it. Sizes are in bytes. Several
/// threads call the methods at once, but only one thread at a time for one name. The methods must not throw. `started`
/// and `received` must not block either: all transfers share the thread that calls them.
class DownloadObserver {
 public:
  virtual ~DownloadObserver() = default;
  /// `have`: the bytes that an earlier, interrupted download left. `total`: none if the server doesn't say. Called at
  /// the beginning of each response body, so possibly several times or never.
  virtual void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) = 0;
  /// `have`: the bytes that are in the file now.
  virtual void received(std::string_view name, std::uint64_t have) = 0;
  /// Called once for each download, unless the server says that the cached file is still current. `have`: the size of
  /// the whole file, or 0 if it isn't complete. `success`: the file is in the cache.
  virtual void finished(std::string_view name, std::uint64_t have, bool success) = 0;
};

}  // namespace pkgfs
