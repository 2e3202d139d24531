// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "daemon/http/unix_listener.h"

namespace pkgfs {

/// The listening socket of `--metrics` (listen_address.h): a Unix socket or a TCP port. The constructor throws Error,
/// naming the address: kUsage, kBusy (in use), kPermission, kNotFound, kIo.
class MetricsListener {
 public:
  explicit MetricsListener(const std::string& address);

  [[nodiscard]] int fd() const { return unix_ ? unix_->fd() : port_.get(); }
  /// The address that a client uses: an absolute path, or the port that the kernel chose.
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  std::string address_;
  std::optional<UnixListener> unix_;
  UniqueFd port_;
};

}  // namespace pkgfs
