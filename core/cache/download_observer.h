// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pkgfs {

/// Is told of all downloads of a command (core/cache/container_fetcher.h), to show them. Sizes are in bytes. The
/// methods are called from several threads at once, but for one name by one thread at a time. They must not throw.
/// `started` and `received` must not block either: all transfers share the thread that calls them.
class DownloadObserver {
 public:
  virtual ~DownloadObserver() = default;
  /// `have`: what an earlier, interrupted download left. `total`: none if the server doesn't say. Called again for each
  /// attempt; never if no attempt got as far as a body.
  virtual void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) = 0;
  virtual void received(std::string_view name, std::uint64_t have) = 0;
  /// Called once for each download. `success`: the content was checked and is in the cache.
  virtual void finished(std::string_view name, std::uint64_t have, bool success) = 0;
};

}  // namespace pkgfs
