// SPDX-License-Identifier: MIT
#include "daemon/doctor/check_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>

#include "core/base/error.h"
#include "core/base/libcrypto.h"
#include "core/base/printable.h"
#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "core/load/libarchive.h"
#include "core/load/zlib.h"
#include "core/net/version.h"
#include "daemon/mount/keeper.h"
#include "daemon/mount/keeperd.h"
#include "daemon/mount/run_bounded.h"
#include "fuse/kernel_features.h"

namespace pkgfs::doctor {
namespace {

constexpr const char* kDevice = "/dev/fuse";
constexpr const char* kConfiguration = "/etc/fuse.conf";
constexpr unsigned kDeviceMajor = 10;
constexpr unsigned kDeviceMinor = 229;
constexpr mode_t kPermissionBits = 07777;
constexpr auto kKernelLimit = std::chrono::seconds(2);

bool is_root() { return ::geteuid() == 0; }

void check_device(Findings& findings) {
  Finding found{.check = "device", .level = Level::kProblem, .said = {}, .advice = {}};
  struct stat status{};
  if (::stat(kDevice, &status) != 0) {
    found.said = fmt::format("{}: {}", kDevice, errno_text(errno));
    found.advice = "load the module (modprobe fuse), or give the container the device (--device /dev/fuse)";
  } else if (!S_ISCHR(status.st_mode) || major(status.st_rdev) != kDeviceMajor ||
             minor(status.st_rdev) != kDeviceMinor) {
    found.said = fmt::format("{} isn't the FUSE device", kDevice);
    found.advice = "make it again: mknod /dev/fuse c 10 229";
  } else if (const UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC)); !device) {
    const int error = errno;
    found.said = fmt::format("{} can't be opened: {} (mode {:04o})", kDevice, errno_text(error),
                             status.st_mode & kPermissionBits);
    found.advice = error == EACCES   ? "as root: chmod 666 /dev/fuse"
                   : error == EMFILE ? kRaiseLimit
                                     : "load the module (modprobe fuse)";
  } else {
    found.level = Level::kOk;
    found.said = fmt::format("{} can be opened (mode {:04o})", kDevice, status.st_mode & kPermissionBits);
  }
  findings.push_back(std::move(found));
}

/// The path of the first program of that name in PATH; empty if there is none.
std::string find_program(const std::string& name) {
  const char* const path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): the environment does not change
  std::istringstream directories(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return {};
}

void check_fusermount(Findings& findings) {
  const std::string program = find_program("fusermount3");
  Finding found{
      .check = "fusermount3", .level = is_root() ? Level::kWarning : Level::kProblem, .said = {}, .advice = {}};
  struct stat status{};
  struct statvfs place{};
  if (program.empty() || ::stat(program.c_str(), &status) != 0) {
    found.said = "fusermount3 isn't in PATH: only root can mount, and not with --auto-unmount";
    found.advice = "install it: apt install fuse3";
  } else if ((status.st_mode & S_ISUID) == 0 || status.st_uid != 0) {
    found.said = program + " isn't setuid root: only root can mount";
    found.advice = fmt::format("as root: chown root {0} && chmod u+s {0}", program);
  } else if (::statvfs(program.c_str(), &place) == 0 && (place.f_flag & ST_NOSUID) != 0) {
    found.said = program + " is on a file system that is mounted nosuid: only root can mount";
    found.advice = "put it on one without that option";
  } else {
    found.level = Level::kOk;
    found.said = program + " is setuid root";
  }
  findings.push_back(std::move(found));
}

void check_keeper(Findings& findings) {
  const std::string program = keeper_program();
  if (!program.empty()) {
    std::string why;
    const std::string socket = keeperd_socket();
    findings.push_back({"keeper", Level::kOk,
                        program + " lets another daemon go on with a mount" +
                            (connect_to_keeperd(socket, why) ? "; pkgfs-keeperd listens at \"" + socket + "\"" : ""),
                        ""});
    return;
  }
  findings.push_back({"keeper", Level::kWarning,
                      "there is no program \"pkgfs-keeper\": if a daemon is killed, its mount is dead",
                      "install it into the directory of pkgfs, or into ../libexec/pkgfs from there"});
}

void check_configuration(Findings& findings) {
  std::ifstream file(kConfiguration);
  bool allowed = false;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    allowed = allowed || (words >> word && word == "user_allow_other");
  }
  if (allowed || is_root()) {
    findings.push_back({"fuse.conf", Level::kOk,
                        allowed ? "user_allow_other is set: every user may mount with allow_other"
                                : "user_allow_other isn't set: only root may mount with allow_other",
                        ""});
    return;
  }
  findings.push_back({"fuse.conf", Level::kWarning,
                      "user_allow_other isn't set: no other user, not even root, sees your mounts",
                      "as root: echo user_allow_other >>/etc/fuse.conf"});
}

/// Asks in a child process, which may hang. It returns the answer through shared memory.
fuse::KernelAnswer ask_kernel_aside() {
  void* const place =
      ::mmap(nullptr, sizeof(fuse::KernelAnswer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) {
    return {.error = errno};
  }
  auto* const answer = new (place) fuse::KernelAnswer;
  const auto ended = run_bounded(
      1,
      [answer](std::size_t) {
        fuse::ask_kernel(*answer);
        return 0;
      },
      kKernelLimit);
  fuse::KernelAnswer copy = *answer;
  ::munmap(place, sizeof(fuse::KernelAnswer));
  if (!ended.front()) {
    copy = {.failed = fuse::KernelAnswer::Stage::kInit, .error = ETIMEDOUT};
  }
  return copy;
}

std::string joined(const std::vector<std::string_view>& words) { return fmt::format("{}", fmt::join(words, ", ")); }

void check_kernel(Findings& findings) {
  utsname system{};
  ::uname(&system);
  const std::string name = fmt::format("{} {}", system.sysname, system.release);
  fuse::KernelAnswer answer;
  try {
    answer = ask_kernel_aside();
  } catch (const Error& error) {
    findings.push_back(
        {"kernel", Level::kProblem, name + "; a mount can't be tried: " + printable(error.message()), kRaiseLimit});
    return;
  }
  using Stage = fuse::KernelAnswer::Stage;
  if (answer.failed == Stage::kDone && !(answer.as_user && is_root())) {
    const auto missing = missing_features(answer);
    const std::string version = fmt::format("{}, FUSE {}.{}", name, answer.major, answer.minor);
    if (missing.empty()) {
      findings.push_back({"kernel", Level::kOk, version + ", with all features that save requests", ""});
    } else {
      findings.push_back({"kernel", Level::kWarning, version + ", without " + joined(missing),
                          "everything works, with more requests; a newer kernel has these features"});
    }
    return;
  }
  const std::string why = errno_text(answer.failed == Stage::kDone ? EPERM : answer.error);
  if (!is_root() && answer.failed != Stage::kInit) {
    findings.push_back({"kernel", Level::kOk, name + "; this user can't try a mount without fusermount3", ""});
  } else if (answer.failed == Stage::kDevice) {
    findings.push_back({"kernel", Level::kOk, name + "; a mount can't be tried without the device", ""});
  } else if (answer.failed == Stage::kNamespace && answer.error == EINVAL && !answer.as_user) {
    findings.push_back(
        {"kernel", Level::kOk, name + "; in a chroot, a mount can't be tried without other processes seeing it", ""});
  } else if (answer.failed == Stage::kNamespace || answer.as_user || answer.error == EPERM) {
    findings.push_back({"kernel", Level::kProblem, name + ": this process may not mount: " + why,
                        "run it with CAP_SYS_ADMIN (--cap-add SYS_ADMIN), or as a user with fusermount3"});
  } else {
    findings.push_back({"kernel", Level::kProblem, name + ": a FUSE mount was tried and failed: " + why,
                        answer.error == ENODEV ? "load the module: modprobe fuse" : "see dmesg"});
  }
}

void check_libraries(Findings& findings) {
  const auto cannot_load = [&findings](Level level, const std::string& what, const Error& why,
                                       const std::string& debian_package) {
    findings.push_back({"libraries", level, what + ": " + why.chain().back(),
                        why.is_of_machine() ? std::string(kRaiseLimit)
                                            : "apt install " + debian_package + ", and look at LD_LIBRARY_PATH"});
  };
  std::string http;
  try {
    http = http_library_version();
  } catch (const Error& error) {
    cannot_load(Level::kProblem, "libcurl can't be loaded: nothing can be downloaded", error, "libcurl4");
  }
  const fuse::LibraryVersion fuse_library = fuse::library_version();
  // The first two words name libcurl and its TLS library; the rest of the line is long.
  const std::string said =
      fmt::format("libfuse {}, {}", fuse_library.text, http.substr(0, http.find(' ', http.find(' ') + 1)));
  if (fuse_library.older_than_built) {
    findings.push_back({"libraries", Level::kProblem, said + ": libfuse is older than the one pkgfs was built with",
                        "install the libfuse3-3 that your system ships, and look at LD_LIBRARY_PATH"});
  } else if (!http.empty()) {
    findings.push_back({"libraries", Level::kOk, said, ""});
  }
  const auto check = [&](Level level, const std::string& what, const std::string& debian_package, const auto& load) {
    try {
      (void)load();
    } catch (const Error& error) {
      cannot_load(level, what, error, debian_package);
    }
  };
  check(Level::kWarning, "libarchive can't be loaded: tarballs can't be read", "libarchive13", libarchive);
  check(Level::kWarning, "zlib can't be loaded: tarballs can't be read", "zlib1g", zlib);
  check(Level::kProblem, "libcrypto can't be loaded: nothing can be downloaded or verified, and no directory mounted",
        "libssl3", libcrypto);
}

void check_clock(Findings& findings) {
  constexpr std::time_t kEarliest = 1735689600;  // 2025
  const std::time_t now = std::time(nullptr);
  std::array<char, 32> text{};
  std::tm parts{};
  (void)std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", ::gmtime_r(&now, &parts));
  if (now < kEarliest) {
    findings.push_back({"clock", Level::kProblem, fmt::format("it is {}: no certificate is valid then", text.data()),
                        "set the clock: timedatectl set-ntp true"});
  } else {
    findings.push_back({"clock", Level::kOk, text.data(), ""});
  }
}

/// How many directories of the host this user may watch; mounts of live directories take half of them at most.
void check_watches(Findings& findings) {
  constexpr std::uint64_t kFewWatches = 8192;
  constexpr std::uint64_t kFewInstances = 16;
  std::uint64_t watches = 0;
  std::uint64_t instances = 0;
  if (!(std::ifstream("/proc/sys/fs/inotify/max_user_watches") >> watches) ||
      !(std::ifstream("/proc/sys/fs/inotify/max_user_instances") >> instances)) {
    findings.push_back({"watches", Level::kWarning,
                        "this kernel has no inotify: edits of live directories show after --live-timeout", ""});
    return;
  }
  const bool few = watches < kFewWatches || instances < kFewInstances;
  findings.push_back(
      {"watches", few ? Level::kWarning : Level::kOk,
       fmt::format("a user may watch {} directories (a mount takes half at most) with {} inotify instances", watches,
                   instances),
       few ? "edits in further live directories show after --live-timeout; as root: sysctl "
             "fs.inotify.max_user_watches=65536 fs.inotify.max_user_instances=128"
           : ""});
}

}  // namespace

void check_system(Findings& findings) {
  check_device(findings);
  check_fusermount(findings);
  check_keeper(findings);
  check_configuration(findings);
  check_kernel(findings);
  check_libraries(findings);
  check_clock(findings);
  check_watches(findings);
}

}  // namespace pkgfs::doctor
