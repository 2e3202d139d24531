// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <initializer_list>
#include <optional>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// Delivers signals through a file descriptor in place of their default action. The signals are blocked in the thread
/// that creates it, and in threads that this thread starts afterwards, until `restore` or the destructor.
class SignalFd {
 public:
  /// Whether a signal that the process ignores (as nohup(1) makes it ignore SIGHUP) comes through the descriptor, too.
  enum class Ignored { kDelivered, kStaysIgnored };

  /// Throws Error.
  SignalFd(std::initializer_list<int> signals, Ignored ignored);
  ~SignalFd() { restore(); }
  SignalFd(const SignalFd&) = delete;
  SignalFd& operator=(const SignalFd&) = delete;

  /// Readable while a signal is pending.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes a pending signal, so that it is no longer pending, and returns its number. Waits for a signal if none is
  /// pending. Nothing if that fails.
  [[nodiscard]] std::optional<int> take() const;
  /// Closes the descriptor and restores the signal mask of this thread.
  void restore();

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

}  // namespace pkgfs
