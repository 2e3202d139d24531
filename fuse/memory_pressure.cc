// SPDX-License-Identifier: MIT
#include "fuse/memory_pressure.h"

#include <charconv>
#include <optional>
#include <string>

#include "core/base/files.h"

namespace pkgfs::fuse {
namespace {

constexpr double kShortPercent = 5;

std::string pressure_file() {
  constexpr std::string_view kUnified = "0::";
  if (const auto cgroups = read_kernel_file("/proc/self/cgroup"); cgroups && cgroups->starts_with(kUnified)) {
    return "/sys/fs/cgroup" + cgroups->substr(kUnified.size(), cgroups->find('\n') - kUnified.size()) +
           "/memory.pressure";
  }
  return {};
}

}  // namespace

std::optional<double> parse_pressure(std::string_view text) {
  constexpr std::string_view kBegin = "some avg10=";
  if (!text.starts_with(kBegin)) {
    return std::nullopt;
  }
  double percent = 0;
  const auto [end, error] = std::from_chars(text.data() + kBegin.size(), text.data() + text.size(), percent);
  return error == std::errc() ? std::optional(percent) : std::nullopt;
}

bool is_memory_short() {
  for (const std::string& path : {pressure_file(), std::string("/proc/pressure/memory")}) {
    if (const auto text = path.empty() ? std::nullopt : read_kernel_file(path)) {
      if (const auto percent = parse_pressure(*text)) {
        return *percent > kShortPercent;
      }
    }
  }
  return false;
}

}  // namespace pkgfs::fuse
