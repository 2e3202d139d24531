// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_table.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>
#include <thread>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/run_bounded.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr int kDeadExit = 1;
constexpr const char* kQuestion = "user.pkgfs.alive";  // no such attribute: the answer is "no"
constexpr int kMostLinks = 40;                         // as the kernel
/// Who just looks (df, a file manager) has a mount in use for a moment, too.
constexpr int kBusyTries = 10;
constexpr auto kBusyPause = std::chrono::milliseconds(20);

/// mountinfo writes blanks, tabs, newlines and backslashes as `\` and three octal digits.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      int value = 0;
      for (std::size_t digit = i + 1; digit <= i + 3; ++digit) {
        value = value * 8 + (text[digit] - '0');
      }
      result += static_cast<char>(value);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::optional<MountEntry> parse_line(const std::string& line) {
  std::istringstream fields(line);
  std::string skipped;
  MountEntry entry;
  // id, parent, major:minor, root, mountpoint, options, optional fields up to "-", type, source
  fields >> skipped >> skipped >> entry.device >> skipped >> entry.mountpoint >> entry.options;
  while (fields >> skipped && skipped != "-") {
  }
  if (!(fields >> entry.type >> entry.source)) {
    return std::nullopt;
  }
  entry.mountpoint = unescape(entry.mountpoint);
  entry.source = unescape(entry.source);
  return entry;
}

/// How a run of fusermount3 ended.
struct Fusermount {
  int error = 0;  // why it couldn't be started
  bool done = false;
  std::string said;
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

/// In a child of its own.
int ask_mount(const char* mountpoint) {
  const char* const path = enter_copy(mountpoint);
  int error = ::getxattr(path, kQuestion, nullptr, 0) < 0 ? errno : 0;
  if (error == EOPNOTSUPP || error == EACCES) {  // of another kind, or of another user: the daemon wasn't asked
    struct statvfs status{};
    error = ::statvfs(path, &status) == 0 ? 0 : errno;
  }
  // ECONNABORTED: it ended while it was asked.
  return error == ENOTCONN || error == ECONNABORTED ? kDeadExit : 0;
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) {
    throw system_error("\"" + path + "\"", errno);
  }
  return resolved.get();
}

/// Without slashes, and "." components, at the end: they change nothing for a directory.
std::string trimmed(std::string path) {
  while (path.size() > 1 && (path.ends_with('/') || path.ends_with("/."))) {
    path.pop_back();
  }
  return path;
}

std::string resolve(const std::string& given, int links_left) {
  const std::string path = trimmed(given);
  if (path == "/" || path == "." || path == ".." || path.ends_with("/..")) {
    return real_path(path);
  }
  const std::size_t slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  const std::string parent = real_path(above);
  std::string resolved = parent + (parent == "/" ? "" : "/") + path.substr(slash + 1);  // npos + 1 is 0
  if (find_mount(resolved)) {
    return resolved;
  }
  std::array<char, PATH_MAX> text{};
  const ssize_t length = ::readlink(resolved.c_str(), text.data(), text.size());
  if (length <= 0) {
    return resolved;
  }
  if (links_left == 0) {
    throw system_error("\"" + given + "\"", ELOOP);
  }
  // The link's target may be a mount as well.
  const std::string target(text.data(), static_cast<std::size_t>(length));
  return resolve(target.starts_with('/') ? target : parent + "/" + target, links_left - 1);
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> entries;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (std::optional<MountEntry> entry = parse_line(line)) {
      entries.push_back(std::move(*entry));
    }
  }
  return entries;
}

std::vector<MountEntry> read_mount_table() {
  std::ifstream file("/proc/self/mountinfo");
  if (!file) {
    throw Error(ErrorCode::kIo, "Unable to read /proc/self/mountinfo: is /proc mounted?");
  }
  std::ostringstream text;
  text << file.rdbuf();
  return parse_mountinfo(text.str());
}

std::optional<MountEntry> find_mount(const std::string& path) {
  std::optional<MountEntry> found;
  for (MountEntry& entry : read_mount_table()) {
    if (entry.mountpoint == path) {
      found = std::move(entry);
    }
  }
  return found;
}

std::string_view to_string(MountState state) {
  switch (state) {
    case MountState::kLive:
      return "live";
    case MountState::kDead:
      return "dead";
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

std::string resolve_mountpoint(const std::string& path) {
  const std::string what = "The mountpoint \"" + path + "\" can't be used";
  if (path.empty()) {
    throw Error(ErrorCode::kUsage, {what, "it is empty"});
  }
  try {
    return resolve(path, kMostLinks);
  } catch (Error& error) {
    throw std::move(error).context(what);
  }
}

void unmount(const std::string& mountpoint, bool lazy) {
  const std::string what = "Unable to unmount \"" + mountpoint + "\"";
  const auto refuse = [&](int error) {
    Error refused = system_error(what, error);
    if (error == EBUSY) {
      refused = Error(ErrorCode::kBusy, {refused.message(),
                                         "something still uses it: a shell's directory, an open "
                                         "file (fuser -m shows which); --lazy detaches it now "
                                         "and ends it with the last use"});
    }
    throw refused;
  };
  const auto attempt = [&] {
    return ::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0 ? 0 : errno;
  };
  int error = attempt();
  for (int tries = 0; error == EBUSY && tries < kBusyTries; ++tries) {
    std::this_thread::sleep_for(kBusyPause);
    error = attempt();
  }
  if (error == 0 || (error == EINVAL && !find_mount(mountpoint))) {  // others may have been faster
    return;
  }
  if (error != EPERM) {
    refuse(error);
  }
  // Not allowed to: fusermount3 is, for mounts of this user.
  const Fusermount helper = run_fusermount(mountpoint, lazy);
  if (helper.error != 0) {
    throw Error(ErrorCode::kPermission, {system_error(what, EPERM).message(),
                                         "only root can without fusermount3 (of the package fuse3), and "
                                         "that can't be run: " +
                                             std::generic_category().message(helper.error)});
  }
  const std::optional<MountEntry> still = helper.done ? std::nullopt : find_mount(mountpoint);
  if (still && still->type == kMountType) {
    if (helper.said.find(std::generic_category().message(EBUSY)) != std::string::npos) {
      refuse(EBUSY);
    }
    throw Error(ErrorCode::kPermission, {system_error(what, EPERM).message(), helper.said});
  }
}

}  // namespace pkgfs
