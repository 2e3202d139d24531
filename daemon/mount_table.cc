// SPDX-License-Identifier: MIT
#include "daemon/mount_table.h"

#include <spawn.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/base/error.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr auto kProbeInterval = std::chrono::milliseconds(2);
constexpr int kDeadExit = 1;

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
  fields >> skipped >> skipped >> skipped >> skipped >> entry.mountpoint >> entry.options;
  while (fields >> skipped && skipped != "-") {
  }
  if (!(fields >> entry.type >> entry.source)) {
    return std::nullopt;
  }
  entry.mountpoint = unescape(entry.mountpoint);
  entry.source = unescape(entry.source);
  return entry;
}

/// Runs fusermount3 and says how it ended; -1 if there is none.
int run_fusermount(const std::string& mountpoint, bool lazy) {
  std::vector<std::string> words{"fusermount3", "-u", "-q"};
  if (lazy) {
    words.emplace_back("-z");
  }
  words.emplace_back("--");
  words.push_back(mountpoint);
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (::posix_spawnp(&child, "fusermount3", nullptr, nullptr, arguments.data(), environ) != 0) {
    return -1;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
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

MountState probe_mount(const std::string& path, std::chrono::milliseconds limit) {
  const pid_t child = ::fork();
  if (child < 0) {
    throw system_error("Unable to ask the mount at \"" + path + "\"", errno);
  }
  if (child == 0) {
    // statfs always asks the daemon; attributes the kernel may still know of a dead one.
    struct statvfs status{};
    const bool answered = ::statvfs(path.c_str(), &status) == 0 || errno != ENOTCONN;
    ::_exit(answered ? 0 : kDeadExit);
  }
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (true) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) {
      return WIFEXITED(status) && WEXITSTATUS(status) == kDeadExit ? MountState::kDead : MountState::kLive;
    }
    if (ended < 0 && errno != EINTR) {
      return MountState::kStuck;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      ::kill(child, SIGKILL);  // takes effect when the daemon answers, or goes
      return MountState::kStuck;
    }
    std::this_thread::sleep_for(kProbeInterval);
  }
}

std::string resolve_mountpoint(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path given = fs::absolute(path, error).lexically_normal();
  const fs::path trimmed = given.has_filename() ? given : given.parent_path();
  // The last component isn't looked at unless it is a link: a dead mount answers nothing.
  std::string parent(PATH_MAX, '\0');
  if (trimmed == trimmed.root_path()) {
    return "/";
  }
  if (::realpath(trimmed.parent_path().c_str(), parent.data()) == nullptr) {
    throw system_error("\"" + path + "\"", errno);
  }
  fs::path resolved = fs::path(parent.c_str()) / trimmed.filename();
  if (fs::is_symlink(fs::symlink_status(resolved, error))) {
    std::string target(PATH_MAX, '\0');
    if (::realpath(resolved.c_str(), target.data()) != nullptr) {
      resolved = target.c_str();
    }
  }
  return resolved.string();
}

void unmount(const std::string& mountpoint, bool lazy) {
  const auto refuse = [&](int error) {
    Error refused = system_error("Unable to unmount \"" + mountpoint + "\"", error);
    if (error == EBUSY) {
      refused = Error(ErrorCode::kBusy, {refused.message(),
                                         "something still uses it: a shell's directory, an open "
                                         "file (fuser -m shows which); --lazy detaches it now "
                                         "and ends it with the last use"});
    }
    throw refused;
  };
  if (::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) {
    return;
  }
  const int error = errno;
  if (error != EPERM) {
    refuse(error);
  }
  // Not allowed to: fusermount3 is, for mounts of this user.
  if (run_fusermount(mountpoint, lazy) != 0) {
    const std::optional<MountEntry> still = find_mount(mountpoint);
    if (still && still->type == kMountType) {
      refuse(lazy ? EPERM : EBUSY);
    }
  }
}

}  // namespace pkgfs
