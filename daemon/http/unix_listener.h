// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A non-blocking Unix socket that listens at a path. If a process was killed and left its socket there, the
/// constructor replaces that socket. The destructor removes the path, unless another process has put its own socket
/// there meanwhile.
class UnixListener {
 public:
  enum class Access {
    kUmask,      // the socket gets the mode that the process's umask leaves
    kOwnerOnly,  // mode 0600
  };

  /// `path` becomes absolute. Throws Error with `what` ("Unable to listen at …") and the reason. kUsage: the path is
  /// too long, or leads to a file that is not a socket. kBusy: another process listens there. Any other code is that of
  /// the errno (system_error). With kOwnerOnly, the umask of the process changes for a moment, so no other thread may
  /// create files then.
  UnixListener(const std::string& path, const std::string& what, Access access);
  ~UnixListener();
  UnixListener(UnixListener&&) = default;
  UnixListener& operator=(UnixListener&&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace pkgfs
