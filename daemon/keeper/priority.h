// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>

// Which process the kernel's out-of-memory killer chooses (oom_score_adj of proc(5)).
namespace pkgfs::keeper {

/// Lets it choose other processes, not this one, as far as this process may ask for that. A child process that runs a
/// daemon calls `restore`.
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

}  // namespace pkgfs::keeper
