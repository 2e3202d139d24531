// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_probe.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "core/base/unique_fd.h"
#include "daemon/mount/run_bounded.h"

namespace pkgfs {
namespace {

constexpr int kDeadExit = 1;
constexpr const char* kQuestion = "user.pkgfs.alive";  // no mount has this attribute; the daemon answers ENODATA

/// Runs in a child process.
int ask_mount(const char* mountpoint) {
  const char* const path = enter_copy(mountpoint);
  int error = ::getxattr(path, kQuestion, nullptr, 0) < 0 ? errno : 0;
  if (error == EOPNOTSUPP || error == EACCES) {  // the kernel answered: another file system, or another user's mount
    struct statvfs status{};
    error = ::statvfs(path, &status) == 0 ? 0 : errno;
  }
  // ECONNABORTED: the daemon ended before it answered.
  return error == ENOTCONN || error == ECONNABORTED ? kDeadExit : 0;
}

}  // namespace

std::string_view to_string(MountState state) {
  switch (state) {
    case MountState::kLive:
      return "live";
    case MountState::kDead:
      return "dead";
    case MountState::kChanged:
      return "changed";
    case MountState::kTampered:
      return "tampered";
    case MountState::kStuck:
      return "stuck";
  }
  return "";
}

const char* enter_copy(const char* path) {
  const UniqueFd copy(::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT));
  return copy && ::fchdir(copy.get()) == 0 ? "." : path;
}

std::vector<MountState> probe_mounts(const std::vector<std::string>& paths, std::chrono::milliseconds limit) {
  const auto ask = [&paths](std::size_t i) { return ask_mount(paths[i].c_str()); };
  std::vector<MountState> states;
  for (const std::optional<int>& answer : run_bounded(paths.size(), ask, limit)) {
    states.push_back(!answer ? MountState::kStuck : *answer == kDeadExit ? MountState::kDead : MountState::kLive);
  }
  return states;
}

MountState probe_mount(const std::string& path, std::chrono::milliseconds limit) {
  return probe_mounts({path}, limit).front();
}

}  // namespace pkgfs
