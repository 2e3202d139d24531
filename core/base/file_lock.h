// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// An exclusive lock between processes and between the threads of one: flock(2) on a file. The file exists while a
/// process holds the lock or waits for it. The kernel releases the lock when its process dies.
class FileLock {
 public:
  /// Waits for the lock on the file `name`. Throws Error naming its path, and Error(kInterrupted) when cancelled.
  FileLock(PrivateDirectory directory, std::string name, const CancelFlag& cancel);
  ~FileLock();
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = delete;

 private:
  [[nodiscard]] bool is_in_place() const;

  PrivateDirectory directory_;
  std::string name_;
  UniqueFd fd_;
};

}  // namespace pkgfs
