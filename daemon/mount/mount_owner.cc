// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_owner.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

/// These processes have the device open as well: the helper of --auto-unmount, and the keeper.
constexpr std::array<std::string_view, 2> kHelpers{"fusermount3\n", "pkgfs-keeper\n"};
constexpr std::string_view kDevice = "/dev/fuse";

std::string read_file(const stdfs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The contents of /proc/PID/fdinfo/N for each N that is the open device.
std::vector<std::string> device_infos(const stdfs::path& process) {
  std::vector<std::string> infos;
  std::error_code error;
  for (stdfs::directory_iterator file(process / "fd", error), end; !error && file != end; file.increment(error)) {
    std::error_code gone;
    if (stdfs::read_symlink(file->path(), gone) == kDevice && !gone) {
      infos.push_back(read_file(process / "fdinfo" / file->path().filename()));
    }
  }
  return infos;
}

/// Whether one word of the process's command line is `mountpoint`.
bool names_mountpoint(const stdfs::path& process, const std::string& mountpoint) {
  std::vector<std::string> words;
  std::istringstream line(read_file(process / "cmdline"));
  for (std::string word; std::getline(line, word, '\0');) {
    words.push_back(word);
  }
  return std::ranges::find(words, mountpoint) != words.end();
}

bool serves(const stdfs::path& process, const MountEntry& mount) {
  const std::vector<std::string> infos = device_infos(process);
  const std::string number = connection_of(mount.device);
  constexpr std::string_view kField = "fuse_connection:";
  bool numbered = false;
  for (const std::string& info : infos) {
    if (const std::size_t at = info.find(kField); at != std::string::npos) {
      numbered = true;
      std::istringstream field(info.substr(at + kField.size()));
      if (std::string found; field >> found && found == number) {
        return true;
      }
    }
  }
  return !infos.empty() && !numbered && names_mountpoint(process, mount.mountpoint);
}

/// When the process started, in seconds since the epoch: field 22 of /proc/PID/stat, which counts ticks since the boot.
std::int64_t start_of(const stdfs::path& process) {
  const std::string text = read_file(process / "stat");
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 2, text.size())));
  constexpr int kSkipped = 19;  // fields 3 to 21; the name is field 2
  std::string skipped;
  for (int i = 0; i < kSkipped; ++i) {
    fields >> skipped;
  }
  std::int64_t ticks = 0;
  fields >> ticks;
  const std::string system = read_file("/proc/stat");
  constexpr std::string_view kBoot = "\nbtime ";
  const std::size_t at = system.find(kBoot);
  std::int64_t boot = 0;
  if (at != std::string::npos) {
    std::istringstream(system.substr(at + kBoot.size())) >> boot;
  }
  return boot + ticks / std::max(::sysconf(_SC_CLK_TCK), 1L);
}

}  // namespace

std::optional<MountOwner> find_owner(const MountEntry& mount) {
  std::error_code error;
  for (stdfs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    pid_t pid = 0;
    const auto [last, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    const bool is_process = wrong == std::errc() && last == name.data() + name.size();
    if (is_process && serves(entry->path(), mount) &&
        std::ranges::find(kHelpers, read_file(entry->path() / "comm")) == kHelpers.end()) {
      return MountOwner{pid, start_of(entry->path())};
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs
