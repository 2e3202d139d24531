// SPDX-License-Identifier: MIT
#include "daemon/packages/memory_budget.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <string_view>

#include "core/base/files.h"
#include "core/vfs/merge.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kShare = 16;  // one sixteenth of a limit for each use
constexpr std::uint64_t kLeast = std::uint64_t{1} << 20U;

/// The lowest number in the files `name` of `group` and of the groups above it, up to `mount`.
void lower(std::optional<std::uint64_t>& limit, const std::string& mount, std::string_view group, const char* name) {
  std::string directory = mount;
  directory.append(group.substr(0, group.find_last_not_of('/') + 1));  // "/": the topmost group
  for (std::size_t levels = 0; levels < 64; ++levels) {
    const std::string text = read_kernel_file(directory + "/" + name).value_or("");  // "max": no limit
    std::uint64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc()) {
      limit = std::min(limit.value_or(value), value);
    }
    if (directory.size() <= mount.size()) {
      return;
    }
    directory.resize(std::max(directory.rfind('/'), mount.size()));
  }
}

}  // namespace

std::optional<std::uint64_t> control_group_limit(const std::filesystem::path& root) {
  const std::string groups = read_kernel_file(root / "proc/self/cgroup").value_or("");
  const std::string mount = root / "sys/fs/cgroup";
  std::optional<std::uint64_t> limit;
  for (std::string_view rest = groups; !rest.empty();) {  // lines "ID:CONTROLLERS:GROUP"
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) {
      continue;
    }
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) {
      lower(limit, mount, line.substr(second + 1), "memory.max");
      lower(limit, mount, line.substr(second + 1), "memory.high");
    } else if (controllers == "memory") {
      lower(limit, mount + "/memory", line.substr(second + 1), "memory.limit_in_bytes");
      lower(limit, mount + "/memory", line.substr(second + 1), "memory.soft_limit_in_bytes");
    }
  }
  return limit;
}

std::optional<std::uint64_t> control_group_limit() {
  static const std::optional<std::uint64_t> limit = control_group_limit("/");
  return limit;
}

std::uint64_t page_cache_ahead(std::optional<std::uint64_t> limit) {
  return limit ? std::max(*limit / kShare, kLeast) : std::numeric_limits<std::uint64_t>::max();
}

std::size_t directory_memory(std::optional<std::uint64_t> asked, std::optional<std::uint64_t> limit) {
  constexpr std::uint64_t kMost = vfs::OverlayOptions{}.memory;
  if (asked) {
    return static_cast<std::size_t>(*asked);
  }
  return static_cast<std::size_t>(limit ? std::clamp(*limit / kShare, kLeast, kMost) : kMost);
}

}  // namespace pkgfs
