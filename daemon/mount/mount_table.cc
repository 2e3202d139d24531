// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_table.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/mount_words.h"

namespace pkgfs {
namespace {

constexpr const char* kMountTable = "/proc/self/mountinfo";
constexpr std::size_t kMostText = std::size_t{1} << 30U;  // the kernel allows 100,000 mounts in a namespace

/// Takes the next field from `line`. Empty: there is none.
std::string_view next_field(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view field = line.substr(0, line.find(' '));
  line.remove_prefix(field.size());
  return field;
}

/// The field of a line that names its mount point, as the kernel writes it.
std::string_view mountpoint_field(std::string_view line) {
  for (int before = 0; before < 4; ++before) {
    next_field(line);
  }
  return next_field(line);
}

/// Without a stream, which takes longer to make than the line to parse: there may be hundreds of lines.
std::optional<MountEntry> parse_line(std::string_view line) {
  MountEntry entry;
  // id, parent, major:minor, root, mount point, options, optional fields up to "-", type, source, options of the file
  // system
  next_field(line);
  next_field(line);
  entry.device = next_field(line);
  next_field(line);
  entry.mountpoint = unescape_mountinfo(next_field(line));
  entry.options = next_field(line);
  for (std::string_view field = next_field(line); !field.empty() && field != "-";) {
    field = next_field(line);
  }
  entry.type = next_field(line);
  const std::string_view source = next_field(line);
  if (source.empty()) {
    return std::nullopt;
  }
  entry.source = unescape_mountinfo(source);
  entry.super_options = next_field(line);
  return entry;
}

/// Calls `visit` with each line of a mount table.
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    visit(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
}

/// Whether the error is that of the files in /proc of a process that has ended, or that another user has.
bool is_gone_or_hidden(int error) {
  return error == ENOENT || error == ESRCH || error == EINVAL || error == EACCES || error == EPERM;
}

}  // namespace

std::string unescape_mountinfo(std::string_view text) {
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

std::string connection_of(const std::string& device) { return device.substr(device.find(':') + 1); }

std::uint64_t device_number(const std::string& device) {
  unsigned major = 0;
  unsigned minor = 0;
  // NOLINTNEXTLINE(cert-err34-c): of the kernel
  return std::sscanf(device.c_str(), "%u:%u", &major, &minor) == 2 ? ::makedev(major, minor) : 0;
}

namespace {

/// The number of an option of the file system, such as "user_id=".
std::optional<std::uint32_t> number_of(const MountEntry& mount, std::string_view option) {
  for (const std::string& word : split_mount_words(mount.super_options)) {
    if (std::uint32_t number = 0;
        word.starts_with(option) &&
        std::from_chars(word.data() + option.size(), word.data() + word.size(), number).ec == std::errc()) {
      return number;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<uid_t> user_of(const MountEntry& mount) { return number_of(mount, "user_id="); }

std::optional<gid_t> group_of(const MountEntry& mount) { return number_of(mount, "group_id="); }

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> entries;
  for_each_line(text, [&](std::string_view line) {
    if (std::optional<MountEntry> entry = parse_line(line)) {
      entries.push_back(std::move(*entry));
    }
  });
  return entries;
}

namespace {

std::string mount_table_text() {
  const std::string what = std::string("Unable to read ") + kMountTable;
  const UniqueFd file(::open(kMountTable, O_RDONLY | O_CLOEXEC));
  if (!file && (errno == ENOENT || errno == ENOTDIR)) {
    throw Error(ErrorCode::kIo, what + ": is /proc mounted?");
  }
  if (!file) {
    throw system_error(what, errno);
  }
  return read_to_end(file.get(), kMostText, what);
}

}  // namespace

std::vector<MountEntry> read_mount_table() { return parse_mountinfo(mount_table_text()); }

std::optional<MountEntry> find_mount(const std::string& path) {
  std::optional<MountEntry> found;
  for_each_line(mount_table_text(), [&](std::string_view line) {
    // Only the line that is looked for is parsed whole: a mount looks several times until it is ready.
    const std::string_view field = mountpoint_field(line);
    const bool is_escaped = field.find('\\') != std::string_view::npos;
    if (is_escaped ? unescape_mountinfo(field) != path : field != path) {
      return;
    }
    if (std::optional<MountEntry> entry = parse_line(line)) {
      found = std::move(entry);
    }
  });
  return found;
}

bool for_each_mount_table(const std::function<void(const std::string& mountinfo)>& visit, TablesOf whose) {
  namespace fs = std::filesystem;
  std::set<std::pair<ino_t, std::string>> seen;  // mount namespaces, and root directories in them
  struct stat own_users{};
  bool is_complete = whose == TablesOf::kAll || ::stat("/proc/self/ns/user", &own_users) == 0;
  std::error_code failed;
  for (fs::directory_iterator entry("/proc", failed), end; !failed && entry != end; entry.increment(failed)) {
    const std::string process = entry->path().filename();
    if (!std::ranges::all_of(process, [](unsigned char c) { return std::isdigit(c) != 0; })) {
      continue;
    }
    struct stat space{};
    struct stat users{};
    if ((whose == TablesOf::kOwnUserNamespace && ::stat((entry->path() / "ns/user").c_str(), &users) != 0) ||
        ::stat((entry->path() / "ns/mnt").c_str(), &space) != 0) {
      is_complete = is_complete && is_gone_or_hidden(errno);
      continue;
    }
    std::error_code hidden;
    if ((whose == TablesOf::kOwnUserNamespace && users.st_ino != own_users.st_ino) ||
        !seen.emplace(space.st_ino, fs::read_symlink(entry->path() / "root", hidden)).second) {
      continue;
    }
    const std::string path = entry->path() / "mountinfo";
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
      is_complete = is_complete && is_gone_or_hidden(errno);
      continue;
    }
    std::string text;
    try {
      text = read_to_end(file.get(), kMostText, "Unable to read \"" + path + "\"");
    } catch (const Error&) {
      is_complete = false;
      continue;
    }
    visit(text);
  }
  return is_complete && !failed;
}

}  // namespace pkgfs
