// SPDX-License-Identifier: MIT
#pragma once

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <iterator>

// What a daemon and its keeper (main.cc) agree on. Here are only constants, and functions that do nothing but make
// system calls. A signal handler uses them, and so does the keeper, which must stay small.
namespace pkgfs::keeper {

/// Raise it when a process of the version before would misunderstand a message, a descriptor, a command line or a
/// variable: daemon, keeper and successor may be of different versions, and they refuse another number. What another
/// version refuses or doesn't look at can be added without that.
inline constexpr int kVersion = 1;

/// The descriptors of a keeper, by number. Its successor gets them under the same numbers, but without kMainThread.
enum Descriptor : int {
  kControl = 3,  // a socket to the daemon (SOCK_SEQPACKET); for a successor, to the keeper, or to upgrade-mounts
  kDevice,       // /dev/fuse of the mount
  kAbort,        // the file that aborts the connection; /dev/null if this process may not do that
  kRecord,       // daemon/mount/mount_record.h
  kProgram,      // the executable of the daemon
  kState,        // fuse::SharedState
  kRequests,     // fuse::RequestStore; /dev/null if the kernel can send unanswered requests again
  kEnded,        // a pidfd of the daemon; for a successor, of the daemon before
  kMainThread,   // /proc/PID/task/PID/stat of the daemon
  kContainers,   // the first of the kept containers
};

/// The first byte of each message.
enum Message : char {
  kDescription = 'd',  // to a keeper that was started before there was a mount (description.h)
  kReady = 'r',        // the keeper watches the daemon
  kCrash = 'c',        // the daemon crashes; the second byte is the signal
  kEnding = 'e',       // the daemon ends because it was asked to: no successor follows
  kLetGo = 'l',        // the keeper's answer to kEnding: it has closed its descriptors of the mount
  kReplaced = 'k',     // from a successor: it serves, and has its own keeper if one could be started
  kUpgrade = 'u',      // to the socket of a keeper
  // Between a successor and `pkgfs upgrade-mounts`, which replaces a running daemon (daemon/mount/upgrade.h):
  kPrepared = 'p',  // from the successor: it can go on with the mount; with kState of the daemon before
  kGo = 'g',        // the daemon before was stopped (SIGSTOP); with a pidfd of its keeper
  kServing = 's',   // from the successor: it answers requests
  kChecked = 'q'    // the mount answers: the daemon before isn't needed any more
};
inline constexpr std::size_t kMessageBytes = 2;

/// The environment variable that tells a successor what it needs to know. It has five numbers, separated by ":". These
/// are kVersion, the number of containers, and the signal of the crash (0: none). Then come the nanoseconds of
/// CLOCK_MONOTONIC at which the daemon before ended, and 1 if that daemon still runs, else 0.
inline constexpr const char* kVariable = "PKGFS_TAKEOVER";
/// The environment variable of a successor that has a higher priority than its mount's daemons had: their nice value
/// (nice(2)), which it must take before it serves.
inline constexpr const char* kNiceVariable = "PKGFS_NICE";
/// The environment variable of a daemon whose mount pkgfs-keeperd holds, and of its keepers: the number of successors
/// when the daemon began.
inline constexpr const char* kBackedVariable = "PKGFS_BACKED";
/// The environment variable of a keeper: the number of successors when its daemon started it. If the daemon is killed
/// before this keeper looks, an older keeper may have raised the number already.
inline constexpr const char* kSuccessionsVariable = "PKGFS_SUCCESSIONS";
/// The environment variable of the first keeper of a daemon that replaces a running one (daemon/mount/upgrade.h): the
/// process id of that daemon. Behind the containers, this keeper has three more descriptors: kState of the daemon that
/// is to be replaced, its pidfd, and the pidfd of its keeper. If the new daemon ends before it has written its id there
/// (kReplacedBy), the old one goes on: this keeper sends it SIGCONT and ends. Otherwise it kills these two.
inline constexpr const char* kBeforeVariable = "PKGFS_BEFORE";
/// The name of the program. Its command line begins with this name, kVersion, the number of containers, the number of
/// the FUSE connection ("53") and the mount point. Then comes the command line of the daemon. A keeper that is started
/// before its mount writes the two numbers later; then further NULs follow them.
inline constexpr const char* kName = "pkgfs-keeper";
/// A keeper listens at the abstract Unix socket "pkgfs-keeper-53". Root, and the user of the keeper, may send it one
/// message over a connection (SOCK_SEQPACKET): kUpgrade, with two descriptors, an executable and a control socket. The
/// keeper starts that executable as a successor while the daemon still runs.
inline constexpr const char* kAddress = "pkgfs-keeper-";

/// How long a keeper waits for the first message of a successor that it started: kReplaced or kCrash. Lazy packages may
/// wait for a server. For kPrepared, daemon/mount/upgrade.cc has a limit of its own.
inline constexpr int kStartMs = 30'000;
/// Where in the file of kState the number of successors is (32 bits). Two keepers may see the end of the same daemon,
/// if it was killed before it could tell the older keeper of the newer one. The keeper that raises the number starts a
/// successor.
inline constexpr std::size_t kSuccessions = 32;
/// Where in that file the number of the successor is that has last told its keeper that it serves (32 bits).
inline constexpr std::size_t kHanded = 36;
/// Where in that file the process id of the daemon is that has replaced the running one (32 bits); 0: none has. Once it
/// is written there, the daemon before never goes on, and no keeper of it starts a successor. So at every moment,
/// exactly one of the two daemons has the mount, whichever processes are killed.
inline constexpr std::size_t kReplacedBy = 1104;
/// Where in that file the process id of the last daemon is that may have taken requests although this one wasn't
/// replaced (32 bits); 0: there is none, or this daemon has taken the requests back.
inline constexpr std::size_t kTaking = 1108;
/// How long the keeper waits between the end of the main thread and an abort. The other threads of a daemon that ends
/// normally end within this time.
inline constexpr int kGraceMs = 200;

/// Wakes a process that watches its parent. Any process may send it, so it is only a reason to look.
inline constexpr int kWakeSignal = SIGUSR1;

/// Lets this process, a child of a daemon's main thread, outlive signals to the daemon's process group, and wakes it
/// when that thread ends. Blocks all signals. Leaves the daemon's working directory, because other processes may wait
/// until that is free.
inline void watch_parent() {
  ::setsid();
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  struct sigaction wake{};
  wake.sa_handler = [](int) {};
  ::sigaction(kWakeSignal, &wake, nullptr);
  ::prctl(PR_SET_PDEATHSIG, kWakeSignal);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface
  (void)!::chdir("/");
}

/// The state of a thread, as proc_pid_stat(5) names it: "R", "S", "T" and so on. `stat`: its file in /proc. "X" if the
/// thread has ended.
inline char thread_state(int stat) {
  constexpr char kEndedState = 'X';
  std::array<char, 256> text{};
  const ssize_t size = ::pread(stat, text.data(), text.size(), 0);
  if (size <= 0) {
    return kEndedState;
  }
  const auto end = text.begin() + size;
  const auto name_ends = std::find(std::make_reverse_iterator(end), text.rend(), ')').base();
  return end - name_ends < 2 ? kEndedState : *(name_ends + 1);
}

/// Whether a thread has ended. `stat`: its file in /proc.
inline bool has_ended(int stat) {
  const char state = thread_state(stat);
  return state == 'Z' || state == 'X';
}

/// One of the numbers in the file of kState, such as kReplacedBy; 0 if it can't be read.
inline std::uint32_t number_at(int state, std::size_t place) {
  std::uint32_t number = 0;
  return ::pread(state, &number, sizeof(number), static_cast<off_t>(place)) == sizeof(number) ? number : 0;
}

/// Nanoseconds and milliseconds of CLOCK_MONOTONIC.
inline long long now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}
inline long long now_ms() { return now_ns() / 1'000'000; }

/// Whether the process of a pidfd ends within `milliseconds`.
inline bool ends_within(int process, int milliseconds) {
  pollfd ended{.fd = process, .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, milliseconds) == 1;
}

}  // namespace pkgfs::keeper
