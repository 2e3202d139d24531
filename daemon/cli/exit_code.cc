// SPDX-License-Identifier: MIT
#include "daemon/cli/exit_code.h"

#include <array>

namespace pkgfs {

namespace {

constexpr int kIo = 1;
constexpr int kUsage = 2;
constexpr int kNotFound = 3;
constexpr int kCorrupt = 4;
constexpr int kUnsupported = 5;
constexpr int kResolve = 6;
constexpr int kLoad = 7;
constexpr int kPermission = 8;
constexpr int kBusy = 9;
constexpr int kMount = 10;
constexpr int kNetwork = 11;
constexpr int kInternal = 70;      // EX_SOFTWARE
constexpr int kInterrupted = 130;  // the number that a shell gives for SIGINT

constexpr std::array kExitCodes{
    ExitCode{kExitOk, "success"},
    ExitCode{kIo, "reading or writing failed; for \"pkgfs diff\": something differs"},
    ExitCode{kUsage, "the command line or an option is wrong; for \"pkgfs diff\", also: reading or writing failed"},
    ExitCode{kNotFound, "a package, version, file, volume or mount point doesn't exist"},
    ExitCode{kCorrupt, "a package is damaged"},
    ExitCode{kUnsupported, "the request isn't supported"},
    ExitCode{kResolve, "the dependencies can't be resolved"},
    ExitCode{kLoad, "the packages can't be merged, or a command is broken"},
    ExitCode{kPermission, "the operating system refused"},
    ExitCode{kBusy, "the mount point, or a lock of the cache, is in use"},
    ExitCode{kMount, "the kernel or fusermount3 refused the mount, or a mount keeps its daemon (upgrade-mounts)"},
    ExitCode{kNetwork, "a registry or a server can't be reached, or its reply can't be used"},
    ExitCode{kExitTimeOver, "the mount isn't complete, and the time to wait for it is over"},
    ExitCode{kInternal, "a bug in pkgfs"},
    ExitCode{kInterrupted, "a signal stopped pkgfs before it was done"},
};

}  // namespace

std::span<const ExitCode> exit_codes() { return kExitCodes; }

int to_exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return kUsage;
    case ErrorCode::kNotFound:
      return kNotFound;
    case ErrorCode::kCorrupt:
      return kCorrupt;
    case ErrorCode::kUnsupported:
      return kUnsupported;
    case ErrorCode::kResolve:
      return kResolve;
    case ErrorCode::kLoad:
      return kLoad;
    case ErrorCode::kPermission:
      return kPermission;
    case ErrorCode::kBusy:
      return kBusy;
    case ErrorCode::kIo:
    case ErrorCode::kFull:
      return kIo;
    case ErrorCode::kMount:
      return kMount;
    case ErrorCode::kNetwork:
      return kNetwork;
    case ErrorCode::kInterrupted:
      return kInterrupted;
    case ErrorCode::kInternal:
      return kInternal;
  }
  return kInternal;
}

int to_mount_exit_code(int exit_code) {
  switch (exit_code) {
    case kExitOk:
      return 0;
    case kUsage:
    case kPermission:
      return 1;
    case kIo:
      return 2;
    case kInternal:
      return 4;
    case kInterrupted:
      return 8;
    default:
      return 32;
  }
}

}  // namespace pkgfs
