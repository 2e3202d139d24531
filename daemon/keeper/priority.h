// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "daemon/keeper/protocol.h"

// How the kernel prefers this process to others.
namespace pkgfs::keeper {

/// Lets the kernel's out-of-memory killer choose other processes, not this one (oom_score_adj of proc(5)), as far as
/// this process may ask for that. A child process that runs a daemon calls `restore`.
class Protection {
 public:
  void ask() {
    const int file = ::open(kFile, O_RDWR | O_CLOEXEC);
    if (file < 0) {
      return;
    }
    (void)!::read(file, before_.data(), before_.size() - 1);
    (void)!::write(file, "-900", 4);
    ::close(file);
  }
  void restore() const {
    const int file = ::open(kFile, O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
      (void)!::write(file, before_.data(), std::strlen(before_.data()));
      ::close(file);
    }
  }

 private:
  static constexpr const char* kFile = "/proc/self/oom_score_adj";
  std::array<char, 16> before_{};
};

/// Lets the scheduler prefer this process, as far as it may ask for that: while a mount has no daemon, its readers
/// wait, and other programs may need all CPUs. A child process inherits that, and with it the variable that says what
/// was before.
class Haste {
 public:
  void begin() {
    constexpr int kMost = -20;
    errno = 0;
    before_ = ::getpriority(PRIO_PROCESS, 0);
    if (errno == 0 && before_ > kMost && ::setpriority(PRIO_PROCESS, 0, kMost) == 0) {
      std::array<char, 8> text{};
      std::snprintf(text.data(), text.size(), "%d", before_);
      ::setenv(kNiceVariable, text.data(), 1);
      is_on_ = true;
    }
  }
  /// Call it in a child process that no reader waits for.
  void end() const {
    if (is_on_) {
      ::setpriority(PRIO_PROCESS, 0, before_);
      ::unsetenv(kNiceVariable);
    }
  }

 private:
  int before_ = 0;
  bool is_on_ = false;
};

}  // namespace pkgfs::keeper
