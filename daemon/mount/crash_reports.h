// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// Tells the process that guards the mount (guarding.h) when this process crashes. The guarding process can't see a
/// crash by itself: while the kernel dumps core, all threads have stopped, but none has ended. Only the main thread may
/// call these functions.
class CrashReports {
 public:
  /// From now on, a thread that crashes notes that in the state of the mount (fuse::Servers::note_crash), although no
  /// process is told of it. For a mount that a service manager keeps.
  static void note_crashes();
  /// From now on, a crash of this process also writes its stack into a new file in `directory`, `pkgfs-PID.crash`.
  /// Throws Error if the directory can't be opened.
  static void write_stacks_to(const std::string& directory);

  CrashReports() = default;
  ~CrashReports() { stop(); }
  CrashReports(const CrashReports&) = delete;
  CrashReports& operator=(const CrashReports&) = delete;

  /// From now on, a signal handler writes keeper::kCrash and the signal to `channel`. A signal for which this process
  /// already has a handler keeps that handler. SIGBUS is left out: it means that a mapped package file has lost pages.
  void start(UniqueFd channel);
  /// Closes the channel. Gives the signals back their default action, unless `write_stacks_to` was called, or another
  /// object has called `start` since.
  void stop();

 private:
  UniqueFd channel_;
};

}  // namespace pkgfs
