// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
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
  static constexpr std::chrono::hours kLongestWait{1};
  /// Any number that changes while the holder of the lock makes progress, such as the size of the file that it writes.
  using Progress = std::function<std::uint64_t()>;

  /// Waits for the lock on the file `name`, and says so after a second. Throws Error naming its path, Error(kBusy)
  /// after `longest` without progress, and Error(kInterrupted) when cancelled.
  FileLock(PrivateDirectory directory, std::string name, const CancelFlag& cancel,
           std::chrono::milliseconds longest = kLongestWait, const Progress& progress = {});
  ~FileLock();
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = delete;

  /// The lock, if it is free now. Throws Error naming its path.
  [[nodiscard]] static std::optional<FileLock> take_if_free(PrivateDirectory directory, std::string name);
  /// Whether a process holds the lock on the file `name`. Makes no file.
  [[nodiscard]] static bool is_held(const PrivateDirectory& directory, const std::string& name);

 private:
  enum class Outcome {
    kTaken,
    kHeld,      // by another process or thread
    kReplaced,  // taken, but another process has removed the file meanwhile
  };

  FileLock(PrivateDirectory directory, std::string name);

  [[nodiscard]] Outcome attempt();
  /// Tells the user, once.
  void tell_of_wait(std::chrono::milliseconds longest, bool sees_progress) const;
  [[nodiscard]] std::string path() const { return directory_.path_of(name_); }

  PrivateDirectory directory_;
  std::string name_;
  UniqueFd fd_;  // none unless the lock is held
};

}  // namespace pkgfs
