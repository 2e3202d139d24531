// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#ifdef PKGFS_CALLGRIND
#include <valgrind/callgrind.h>
#endif

/// Controls callgrind from one thread: what it collects, and when it writes its counts to a file. Does nothing before
/// `start`.
namespace pkgfs::bench::profile {

inline bool collecting = false;

/// Throws where this isn't run by valgrind --tool=callgrind, or was built without its header.
inline void start() {
#ifdef PKGFS_CALLGRIND
  if (RUNNING_ON_VALGRIND == 0) {
    throw std::runtime_error("--profile is for valgrind --tool=callgrind");
  }
  CALLGRIND_START_INSTRUMENTATION;
#else
  throw std::runtime_error("--profile: built without valgrind/callgrind.h");
#endif
}

inline void collect(bool on) {
  if (std::exchange(collecting, on) != on) {
#ifdef PKGFS_CALLGRIND
    CALLGRIND_TOGGLE_COLLECT;
#endif
  }
}

/// Writes the counts since the last call to a file of their own, under this name.
inline void dump([[maybe_unused]] const std::string& name) {
#ifdef PKGFS_CALLGRIND
  CALLGRIND_DUMP_STATS_AT(name.c_str());
#endif
}

/// Nothing is collected while it lives.
class Pause {
 public:
  Pause() : was_(collecting) {
    if (was_) {
      collect(false);
    }
  }
  ~Pause() {
    if (was_) {
      collect(true);
    }
  }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

 private:
  bool was_;
};

}  // namespace pkgfs::bench::profile
