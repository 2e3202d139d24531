// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "daemon/keeper/priority.h"

// The mounts that pkgfs-keeperd (keeperd.cc) holds. Only its one thread calls these functions.
namespace pkgfs::keeper {

/// Descriptors that this process owns.
struct Descriptors {
  int* all = nullptr;
  std::size_t count = 0;
  std::size_t expected = 0;

  [[nodiscard]] bool expect(std::size_t number) {
    all = static_cast<int*>(std::malloc(number * sizeof(int)));
    expected = all == nullptr ? 0 : number;
    return all != nullptr;
  }
  void clear() {
    for (std::size_t i = 0; i < count; ++i) {
      ::close(all[i]);
    }
    std::free(all);
    *this = {};
  }
};

/// A mount, or a connection whose mount isn't known yet.
struct Mount {
  Mount* next = nullptr;
  int connection = -1;     // -1: the daemon has gone
  Descriptors held;        // complete; empty: none was registered
  Descriptors coming;      // of a registration that isn't complete
  bool pending = false;    // that registration
  long long deadline = 0;  // for what `coming` lacks, or for a successor; 0: none
  pid_t started = 0;       // the keeper that this process has started; 0: none
  int starts = 0;
  bool orphaned = false;    // the keeper that the daemon named has ended
  Mount* before = nullptr;  // what is held is pending (registration.h), beside this mount; null: it isn't
};
extern Mount* mounts;
/// The path of the program pkgfs-keeper.
extern char keeper_program[4096];
/// Of this process from the out-of-memory killer. The keepers that it starts give it up.
extern Protection protection;

void end_connection(Mount& mount);
/// Closes all that is held of the mount, and of a pending registration beside it.
void forget(Mount& mount);
/// Whether `link`, in /proc/self/fd, begins with this text. Unlike fstat(2), it makes no request to a file system that
/// a client serves.
[[nodiscard]] bool is_named(int descriptor, const char* begin);
/// Whether this process can look at these descriptors without waiting for anything.
[[nodiscard]] bool are_safe(const Descriptors& held);
/// Two registrations of one mount: a successor has taken the place of the daemon before, or is about to.
[[nodiscard]] bool is_same(const Descriptors& one, const Descriptors& other);

/// Starts a keeper if the daemon and its keeper have ended. Returns whether it has to look again soon.
[[nodiscard]] bool look_after(Mount& mount);
/// Collects the keepers that have ended. Starts others in place of those that were killed.
void collect_children();

}  // namespace pkgfs::keeper
