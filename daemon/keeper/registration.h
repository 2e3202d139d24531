// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/keeper/protocol.h"

// What a daemon and pkgfs-keeperd (keeperd.cc) agree on. pkgfs-keeperd holds what the keeper of a mount holds. If
// daemon and keeper are killed at once, it starts another keeper, which finds that the daemon has ended.
namespace pkgfs::keeper {

/// Raise it when a process of the version before would misunderstand a message. What it refuses can be added without
/// that: an older pkgfs-keeperd answers kWrong to kPending, and the daemon does without.
inline constexpr std::uint32_t kRegistrationVersion = 1;

/// The name of the program.
inline constexpr const char* kKeeperdName = "pkgfs-keeperd";
/// The environment variable with the path of its socket (SOCK_SEQPACKET). Without it, the path is kSystemSocket for
/// root, and kUserSocket in XDG_RUNTIME_DIR for other users.
inline constexpr const char* kSocketVariable = "PKGFS_KEEPERD";
inline constexpr const char* kSystemSocket = "/run/pkgfs-keeperd.sock";
inline constexpr const char* kUserSocket = "pkgfs-keeperd.sock";

/// The descriptors of a registration, in this order. The containers follow.
enum Registered : std::size_t {
  kHeldDevice,
  kHeldAbort,
  kHeldRecord,
  kHeldProgram,
  kHeldState,
  kHeldRequests,
  kHeldDaemon,      // its pidfd
  kHeldMainThread,  // its /proc/PID/task/PID/stat
  kHeldArguments,   // a sealed file in memory: texts that end with a NUL each, in the order that main() of keeperd.cc
                    // reads
  kHeldKeeper,      // the pidfd of the keeper
  kHeldContainers,
};
static_assert(kHeldMainThread == static_cast<std::size_t>(kMainThread - kDevice));

/// What a message of a daemon says.
enum Kind : std::uint32_t {
  kHolds,    // hold this mount, in place of all other registrations of it
  kEnds,     // the daemon ends because it was asked to; no descriptors come
  kPending,  // the daemon is about to replace a running one (kReplacedBy), whose registration this one follows
};

/// The messages of a daemon: this many descriptors come with each, until all have come. One registration follows
/// another when the daemon has another keeper.
///
/// A pending registration lies beside that of the daemon that is to be replaced. No keeper is started for it. If both
/// daemons and their keepers are killed, a keeper of the old one is started first. If that one finds that its daemon
/// was replaced, the pending registration takes the place of the other. Without the other one, it is refused or
/// dropped: no descriptor of the device may be left that nothing acts for.
struct Registration {
  std::uint32_t version = kRegistrationVersion;
  std::uint32_t kind = kHolds;    // of Kind
  std::uint32_t descriptors = 0;  // of all messages of the registration
};
inline constexpr std::size_t kDescriptorsAtOnce = 200;  // the kernel allows 253
inline constexpr std::size_t kMostContainers = 8192;
inline constexpr std::size_t kMostArguments = std::size_t{1} << 20U;

/// The reply to a registration, or to the end: kHeld, or a byte that says why not.
enum Reply : char {
  kHeld = 'h',
  kWrong = 'w',    // the message isn't of the expected form
  kTooMany = 'm',  // no more mounts or descriptors can be held
};

}  // namespace pkgfs::keeper
