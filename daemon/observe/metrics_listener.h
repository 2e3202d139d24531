// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A socket that listens where `--metrics` says (metrics_server.h). Removes its name from the file system at its end,
/// if it's still its own. Errors are those of MetricsServer.
class MetricsListener {
 public:
  explicit MetricsListener(const std::string& address);
  ~MetricsListener();
  MetricsListener(const MetricsListener&) = delete;
  MetricsListener& operator=(const MetricsListener&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// AF_UNIX, AF_INET or AF_INET6.
  [[nodiscard]] int family() const { return family_; }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void listen_at_path(const std::string& path);
  void listen_at_port(const std::string& host, const std::string& port);

  std::string address_;
  int family_ = 0;
  UniqueFd fd_;
  std::string path_;  // of a Unix socket; empty: nothing to remove
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace pkgfs
