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

/// An exclusive lock between processes, and between the threads of one process: flock(2) on a file. The destructor
/// removes the file and releases the lock. If a process that holds the lock is killed, the kernel releases the lock,
/// but the file stays.
class FileLock {
 public:
  static constexpr std::chrono::hours kLongestWait{1};
  /// Returns a number that changes while the holder of the lock makes progress, such as the size of the file that it
  /// writes.
  using Progress = std::function<std::uint64_t()>;

  /// Waits for the lock on the file `name` of `directory`, and makes the file if there is none. Tries at least once,
  /// and warns after a second. `longest` limits the time without a change of `progress`, or the whole wait if there is
  /// no `progress`. Throws Error(kBusy) after that time, Error(kInterrupted) when cancelled, and Error naming the file
  /// if it can't be opened.
  FileLock(PrivateDirectory directory, std::string name, const CancelFlag& cancel,
           std::chrono::milliseconds longest = kLongestWait, const Progress& progress = {});
  ~FileLock();
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = delete;

  /// The lock on the file `name`, if it is free now; else nothing. Throws Error naming the file.
  [[nodiscard]] static std::optional<FileLock> take_if_free(PrivateDirectory directory, std::string name);
  /// Whether a process holds the lock on the file `name`. Makes no file. False if the file can't be opened.
  [[nodiscard]] static bool is_held(const PrivateDirectory& directory, const std::string& name);

 private:
  enum class Outcome {
    kTaken,
    kHeld,      // another process or thread has the lock
    kReplaced,  // locked, but in vain: another process has removed or replaced the file meanwhile
  };

  FileLock(PrivateDirectory directory, std::string name);

  [[nodiscard]] Outcome attempt();
  /// Warns that another process holds the lock, and says how long the wait may take.
  void tell_of_wait(std::chrono::milliseconds longest, bool sees_progress) const;
  [[nodiscard]] std::string path() const { return directory_.path_of(name_); }

  PrivateDirectory directory_;
  std::string name_;
  UniqueFd fd_;  // none unless the lock is held
};

}  // namespace pkgfs
