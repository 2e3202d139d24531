// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigfillset
#include <spawn.h>

namespace pkgfs {

/// Attributes of posix_spawn(3): the child process blocks and ignores no signal. This process may.
class SpawnAttributes {
 public:
  enum class Group { kOfThisProcess, kOwn };
  /// `group`: with a process group of its own, the child and what it has started can be killed at once.
  explicit SpawnAttributes(Group group = Group::kOfThisProcess) {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none{};
    ::sigemptyset(&none);
    sigset_t all{};
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    const int own_group = group == Group::kOwn ? POSIX_SPAWN_SETPGROUP : 0;
    ::posix_spawnattr_setflags(&attributes_,
                               static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | own_group));
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  [[nodiscard]] const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

}  // namespace pkgfs
