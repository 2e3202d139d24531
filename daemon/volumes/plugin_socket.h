// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"
#include "daemon/http/unix_listener.h"

namespace pkgfs {

/// The listening socket of the volume plugin. The plugin makes it itself, for its own user only, or a service manager
/// passes it.
class PluginSocket {
 public:
  /// Makes the socket at `path`, and the directories above it. Throws Error as UnixListener does.
  explicit PluginSocket(const std::string& path);
  /// The socket that a service manager passed (sd_listen_fds(3)); nothing if it passed none. The socket stays in the
  /// file system when this process ends. Throws Error(kUsage) unless it is one Unix socket that listens.
  [[nodiscard]] static std::optional<PluginSocket> passed(const Environment& environment);

  [[nodiscard]] int fd() const { return own_ ? own_->fd() : passed_.get(); }

 private:
  explicit PluginSocket(UniqueFd passed) : passed_(std::move(passed)) {}

  std::optional<UnixListener> own_;
  UniqueFd passed_;
};

}  // namespace pkgfs
