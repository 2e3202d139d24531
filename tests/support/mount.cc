// SPDX-License-Identifier: MIT
#include "tests/support/mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>

namespace fs = std::filesystem;

namespace pkgfs::test {

namespace {

/// /proc/self/mounts writes space, tab, newline and backslash as three octal digits.
std::string unescape(const std::string& text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 3 < text.size()) {
      plain.push_back(static_cast<char>(std::stoi(text.substr(at + 1, 3), nullptr, 8)));
      at += 3;
    } else {
      plain.push_back(text[at]);
    }
  }
  return plain;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    parts.push_back(part);
  }
  return parts;
}

}  // namespace

std::string fuse_missing() {
  static const std::string why = [] {
    const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device) {
      return std::string("/dev/fuse can't be opened: ") + std::strerror(errno);
    }
    if (::geteuid() != 0 && !have_program("fusermount3")) {
      return std::string("not root and no fusermount3");
    }
    return std::string();
  }();
  return why;
}

bool MountLine::has(const std::string& option) const {
  return std::find(options.begin(), options.end(), option) != options.end();
}

std::optional<MountLine> find_mount(const fs::path& mountpoint) {
  std::ifstream mounts("/proc/self/mounts");
  std::optional<MountLine> found;  // the last one is on top
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    if (fields.size() >= 4 && unescape(fields[1]) == mountpoint) {
      found = MountLine{unescape(fields[0]), fields[2], split(fields[3], ',')};
    }
  }
  return found;
}

namespace {

std::string read_proc(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::string process_status(const fs::path& directory) {
  const std::string text = read_proc(directory / "stat");
  const std::size_t name_ends = text.rfind(") ");  // it may have any characters
  return name_ends == std::string::npos ? std::string() : text.substr(name_ends + 2);
}

bool is_running(pid_t process) {
  std::error_code gone;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(process) + "/task", gone)) {
    const std::string status = process_status(task.path());
    if (!status.empty() && status[0] != 'Z' && status[0] != 'X') {
      return true;
    }
  }
  return false;
}

std::vector<pid_t> processes_with(const std::string& argument) {
  std::map<pid_t, pid_t> found;  // and their parents
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size() || pid == ::getpid()) {
      continue;
    }
    const std::vector<std::string> words = split(read_proc(entry.path() / "cmdline"), '\0');
    std::error_code gone;
    // A process of umount(8) doesn't serve the mount: sandboxes of other tests unmount the mounts that they inherited.
    const bool ends = fs::read_symlink(entry.path() / "exe", gone).filename() == "umount";
    if (!ends && std::find(words.begin(), words.end(), argument) != words.end()) {
      const std::string status = process_status(entry.path());
      found[pid] = status.empty() ? 0 : std::atoi(status.c_str() + 2);
    }
  }
  // A child has its parent's command line until it begins to do something else.
  std::vector<pid_t> pids;
  for (const auto& [pid, parent] : found) {
    if (!found.contains(parent)) {
      pids.push_back(pid);
    }
  }
  return pids;
}

namespace {

void kill_all_with(const std::string& argument) {
  for (const pid_t pid : processes_with(argument)) {
    ::kill(pid, SIGCONT);
    ::kill(pid, SIGKILL);
  }
}

}  // namespace

void force_unmount(const fs::path& mountpoint) {
  kill_all_with(mountpoint);
  if (find_mount(mountpoint).has_value()) {
    ::umount2(mountpoint.c_str(), MNT_FORCE);  // fails what waits for a daemon, be it that daemon itself
  }
  for (int tries = 0; tries < 4 && find_mount(mountpoint).has_value(); ++tries) {
    if (::umount2(mountpoint.c_str(), MNT_DETACH) != 0) {
      static_cast<void>(run({"fusermount3", "-uz", mountpoint}));
    }
  }
}

MountGuard::~MountGuard() {
  if (!word_.empty()) {
    kill_all_with(word_);
  }
  force_unmount(mountpoint_);
}

namespace {

Arguments options_of_every_mount() {
  const char* const text = std::getenv("PKGFS_TEST_MOUNT_OPTIONS");
  std::istringstream words(text == nullptr ? "" : text);
  return {std::istream_iterator<std::string>(words), {}};
}

}  // namespace

bool every_mount_has(const std::string& option) {
  const Arguments options = options_of_every_mount();
  return std::find(options.begin(), options.end(), option) != options.end();
}

MountedPackage::MountedPackage(std::string binary, const std::string& package, const Arguments& options,
                               ProcessOptions process)
    : binary_(std::move(binary)), path_(parent_.path() / "mnt") {
  fs::create_directory(path_);
  const bool is_served = package == kServed;
  Arguments arguments{binary_, is_served ? "serve" : "mount"};
  const Arguments more = is_served ? Arguments{} : options_of_every_mount();
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.insert(arguments.end(), options.begin(), options.end());
  if (!is_served) {
    arguments.push_back(package);
  }
  arguments.push_back(path_);
  result_ = run(arguments, process);
}

MountedPackage::~MountedPackage() {
  if (find_mount(path_).has_value()) {
    const ProcessResult ended = unmount();
    EXPECT_TRUE(ended.ok()) << "pkgfs unmount " << path_ << ": " << ended.describe();
  }
  // Patient: where others copy mount namespaces, the mount lives until they have let go of theirs.
  const bool gone = eventually([&] { return processes_with(path_).empty(); }, std::chrono::seconds(15));
  EXPECT_TRUE(gone) << "the daemon of " << path_ << " doesn't end";
  EXPECT_FALSE(find_mount(path_).has_value()) << path_ << " is still mounted";
  force_unmount(path_);
}

pid_t MountedPackage::daemon() const {
  const std::vector<pid_t> pids = processes_with(path_);
  if (pids.size() != 1) {
    throw std::runtime_error(std::to_string(pids.size()) + " processes serve " + path_.string());
  }
  return pids.front();
}

ProcessResult MountedPackage::unmount() {
  ProcessResult result = run({binary_, "unmount", path_}, {.timeout = std::chrono::seconds(15)});
  static_cast<void>(eventually([&] { return processes_with(path_).empty(); }));
  return result;
}

}  // namespace pkgfs::test
