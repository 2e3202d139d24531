// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// A Unix socket that listens, for root only, at a path; removed with it if it's still the same one. Throws Error
/// naming the path: kBusy when somebody answers there, kUsage for what isn't a socket or for a path that is too long. A
/// socket that nobody answers any more is replaced.
class PluginSocket {
 public:
  explicit PluginSocket(const std::string& path);
  /// A socket that a service manager made and passed to us (sd_listen_fds(3)); nothing if there is none. It stays when
  /// we end. Throws Error(kUsage) when what was passed isn't one Unix socket that listens.
  [[nodiscard]] static std::optional<PluginSocket> passed(const Environment& environment);
  ~PluginSocket();
  PluginSocket(PluginSocket&&) = default;
  PluginSocket& operator=(PluginSocket&&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit PluginSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
  std::string path_;  // empty: not ours to remove
  std::uint64_t inode_ = 0;
};

}  // namespace pkgfs
