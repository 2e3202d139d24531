// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/cache/download_observer.h"
#include "daemon/cli/options.h"

// What a daemon needs to open packages again later, in another working directory and without a terminal.
namespace pkgfs {

/// `path` as an absolute path, if `directory` is the working directory in which it was given. `path` itself if that
/// isn't known.
[[nodiscard]] std::string absolute_from(const std::string& directory, const std::string& path);
/// `flags`, which were given in `directory`, for a process with another working directory.
[[nodiscard]] TreeFlags flags_from(const std::string& directory, TreeFlags flags);

/// For a daemon, which has no terminal that could show a download.
class NoProgress final : public DownloadObserver {
 public:
  void started(std::string_view /*name*/, std::uint64_t /*have*/, std::optional<std::uint64_t> /*total*/) override {}
  void received(std::string_view /*name*/, std::uint64_t /*have*/) override {}
  void finished(std::string_view /*name*/, std::uint64_t /*have*/, bool /*success*/) override {}
};

}  // namespace pkgfs
