// SPDX-License-Identifier: MIT
#include "daemon/mount/unmount.h"

#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/writable_run.h"

extern char** environ;

namespace pkgfs {
namespace {

// A program that only looks at a mount, such as df(1) or a file manager, keeps it busy for a moment.
constexpr int kBusyTries = 10;
constexpr auto kBusyPause = std::chrono::milliseconds(20);

/// How a run of fusermount3 ended.
struct Fusermount {
  int error = 0;  // why it did not start: an errno number
  bool done = false;
  std::string said;  // on standard error
};

Fusermount run_fusermount(const std::string& mountpoint, bool lazy) {
  std::vector<std::string> words{"fusermount3", "-u"};
  if (lazy) {
    words.emplace_back("-z");
  }
  words.emplace_back("--");
  words.push_back(mountpoint);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  const UniqueFd messages(::memfd_create("fusermount3", MFD_CLOEXEC));
  posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  if (messages) {
    ::posix_spawn_file_actions_adddup2(&actions, messages.get(), STDERR_FILENO);
  }
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, "fusermount3", &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return {.error = error, .done = false, .said = {}};
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::array<char, 1024> text{};
  const ssize_t length = messages ? ::pread(messages.get(), text.data(), text.size(), 0) : 0;
  Fusermount ended{.error = 0,
                   .done = WIFEXITED(status) && WEXITSTATUS(status) == 0,
                   .said = std::string(text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)))};
  while (ended.said.ends_with('\n')) {
    ended.said.pop_back();
  }
  return ended;
}

/// Throws the error of umount2().
[[noreturn]] void refuse(const std::string& what, int error) {
  Error refused = system_error(what, error);
  if (error == EBUSY) {
    throw Error(ErrorCode::kBusy, {refused.message(),
                                   "a process still uses it, as its working directory or by an open file (fuser -m "
                                   "shows which); --lazy detaches it now and ends it with its last use"});
  }
  throw refused;
}

/// Returns an errno number, or 0.
int try_unmount(const std::string& mountpoint, bool lazy) {
  const auto attempt = [&] {
    return ::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0 ? 0 : errno;
  };
  int error = attempt();
  for (int tries = 0; error == EBUSY && tries < kBusyTries; ++tries) {
    std::this_thread::sleep_for(kBusyPause);
    error = attempt();
  }
  return error;
}

}  // namespace

void unmount(const std::string& mountpoint, bool lazy) {
  const std::string what = "Unable to unmount \"" + mountpoint + "\"";
  const int error = try_unmount(mountpoint, lazy);
  if (error == 0 || (error == EINVAL && !find_mount(mountpoint))) {  // another process was faster
    return;
  }
  if (error != EPERM) {
    refuse(what, error);
  }
  // fusermount3 is setuid root, and unmounts what this user has mounted.
  const Fusermount helper = run_fusermount(mountpoint, lazy);
  if (helper.error != 0) {
    throw Error(ErrorCode::kPermission, {system_error(what, EPERM).message(),
                                         "a user who is not root needs fusermount3 (of the package fuse3), which can't "
                                         "be run: " +
                                             start_text(helper.error)});
  }
  const std::optional<MountEntry> still = helper.done ? std::nullopt : find_mount(mountpoint);
  if (still && (still->type == kMountType || still->type == kFuseOverlayType)) {
    if (helper.said.find(std::generic_category().message(EBUSY)) != std::string::npos) {
      refuse(what, EBUSY);
    }
    throw Error(ErrorCode::kPermission, {system_error(what, EPERM).message(), helper.said});
  }
}

}  // namespace pkgfs
