// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>
#include <algorithm>
#include <array>
#include <cstddef>

// What a daemon and its keeper (main.cc) agree on. Only constants and functions that make system calls and nothing
// else, because a signal handler and a process with few pages use them, too.
namespace pkgfs::keeper {

/// Raise it when anything in this file changes: daemon, keeper and successor may be of different versions.
inline constexpr int kVersion = 1;

/// The descriptors of a keeper, by number. Its successor daemon gets the same, but for kMainThread.
enum Descriptor : int {
  kControl = 3,  // a socket to the daemon (SOCK_SEQPACKET)
  kDevice,       // /dev/fuse of the mount
  kAbort,        // the file that aborts the connection; /dev/null if this process may not do that
  kRecord,       // daemon/mount/mount_record.h
  kProgram,      // the executable of the daemon
  kState,        // fuse::SharedState
  kRequests,     // fuse::RequestStore; /dev/null if the kernel sends requests again
  kEnded,        // a pidfd of the daemon; for a successor, of the daemon before
  kMainThread,   // /proc/PID/task/PID/stat of the daemon
  kContainers,   // the first of the kept containers
};

/// The first byte of each message.
enum Message : char {
  kReady = 'r',     // the keeper watches the daemon
  kCrash = 'c',     // the daemon crashes; the second byte is the signal
  kEnding = 'e',    // the daemon ends because it was asked to: no successor follows
  kLetGo = 'l',     // the keeper's answer to that: it has closed its descriptors of the mount
  kReplaced = 'k',  // from a successor: it has a keeper of its own
  kUpgrade = 'u',   // to the socket of a keeper
  // Between a successor and the process that replaces a daemon that runs (daemon/mount/upgrade.h):
  kPrepared = 'p',  // from the successor: it can go on with the mount
  kGo = 'g',        // the daemon before has stopped
  kServing = 's',   // from the successor: it answers requests
  kChecked = 'q'    // the mount answers: the daemon before isn't needed any more
};
inline constexpr std::size_t kMessageBytes = 2;

/// The environment variable by which a successor is told what it is: kVersion, the number of containers, the signal of
/// the crash (0: none), the nanoseconds of CLOCK_MONOTONIC at which the daemon ended, and 1 if it still runs, separated
/// by ":".
inline constexpr const char* kVariable = "PKGFS_TAKEOVER";
/// The command line of a keeper: its name, kVersion, the number of containers, the number of the FUSE connection
/// ("53"), the mount point, and the command line of the daemon.
inline constexpr const char* kName = "pkgfs-keeper";
/// A keeper listens at the abstract Unix socket "pkgfs-keeper-53". Root, and the user of the keeper, may send it one
/// message over a connection (SOCK_SEQPACKET): kUpgrade, with two descriptors, an executable and a control socket. The
/// keeper starts that executable as a successor while the daemon still runs.
inline constexpr const char* kAddress = "pkgfs-keeper-";

/// The longest time from the start of a successor to kReplaced, or to kPrepared. Lazy packages may wait for a server.
inline constexpr int kStartMs = 30'000;
/// From the end of the main thread to an abort: other threads of a daemon that ends normally end within it.
inline constexpr int kGraceMs = 200;

/// Whether a thread has ended. `stat`: its file in /proc.
inline bool has_ended(int stat) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(stat, text.data(), text.size(), 0);
  if (size <= 0) {
    return true;
  }
  const auto end = text.begin() + size;
  const auto name_ends = std::find(std::make_reverse_iterator(end), text.rend(), ')').base();
  return end - name_ends < 2 || *(name_ends + 1) == 'Z' || *(name_ends + 1) == 'X';
}

}  // namespace pkgfs::keeper
