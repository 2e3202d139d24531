// SPDX-License-Identifier: MIT
#include "daemon/cli/option_values.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace pkgfs {
namespace {

/// `value` as a number; nothing if it has any other character.
std::optional<std::uint32_t> whole_number(std::string_view value, int base = 10) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number, base);
  return error == std::errc() && end == value.data() + value.size() ? std::optional(number) : std::nullopt;
}

/// For an account of the system's database; a group's members are part of it.
constexpr std::size_t kAccountBytes = 1U << 20U;

std::optional<std::uint32_t> numeric_id(std::string_view value) {
  const auto id = whole_number(value);
  return id && *id != ~0U ? id : std::nullopt;  // ~0 means "don't change" in the kernel's interfaces
}

}  // namespace

void bad_value(std::string_view option, std::string_view value, std::string_view wanted) {
  throw Error(ErrorCode::kUsage,
              "option '" + std::string(option) + "': \"" + std::string(value) + "\" isn't " + std::string(wanted));
}

std::uint32_t parse_user(std::string_view option, std::string_view value) {
  const auto id = numeric_id(value);
  if (id) {
    return *id;
  }
  std::vector<char> buffer(kAccountBytes);
  passwd account{};
  passwd* found = nullptr;
  if (::getpwnam_r(std::string(value).c_str(), &account, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    bad_value(option, value, "a numeric id or the name of a user");
  }
  return account.pw_uid;
}

std::uint32_t parse_group(std::string_view option, std::string_view value) {
  const auto id = numeric_id(value);
  if (id) {
    return *id;
  }
  std::vector<char> buffer(kAccountBytes);
  group account{};
  group* found = nullptr;
  if (::getgrnam_r(std::string(value).c_str(), &account, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    bad_value(option, value, "a numeric id or the name of a group");
  }
  return account.gr_gid;
}

std::uint32_t parse_kib(std::string_view option, std::string_view value) {
  constexpr std::uint32_t kMost = 1U << 20U;
  const auto kib = whole_number(value);
  if (!kib || *kib > kMost) {
    bad_value(option, value, "a number of KiB, at most " + std::to_string(kMost));
  }
  return *kib;
}

unsigned parse_threads(std::string_view option, std::string_view value) {
  constexpr unsigned kMost = 16;
  const auto threads = whole_number(value);
  if (!threads || *threads < 1 || *threads > kMost) {
    bad_value(option, value, "a number from 1 to " + std::to_string(kMost));
  }
  return *threads;
}

std::uint16_t parse_mask(std::string_view option, std::string_view value) {
  constexpr int kOctal = 8;
  const auto mask = whole_number(value, kOctal);
  if (!mask || *mask > 0777) {
    bad_value(option, value, "an octal number of at most 777");
  }
  return static_cast<std::uint16_t>(*mask);
}

std::string parse_path(std::string_view option, std::string_view value) {
  if (value.empty()) {
    bad_value(option, value, "a path");
  }
  return std::filesystem::absolute(value).lexically_normal();
}

double parse_seconds(std::string_view option, std::string_view value) {
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), seconds, std::chars_format::fixed);
  constexpr double kYear = 366.0 * 86400;
  if (error != std::errc() || end != value.data() + value.size() || !(seconds >= 0 && seconds <= kYear)) {
    bad_value(option, value, "a number of seconds");
  }
  return seconds;
}

std::uint32_t parse_timeout(std::string_view option, std::string_view value) {
  constexpr std::uint32_t kYear = 366 * 86400;
  const auto seconds = whole_number(value);
  if (!seconds || *seconds == 0 || *seconds > kYear) {
    bad_value(option, value, "a whole number of seconds, at least 1");
  }
  return *seconds;
}

bool parse_auto(std::string_view option, std::string_view value) {
  static constexpr Choices<bool, 2> kChoices{{{"auto", true}, {"off", false}}};
  return parse_choice(option, value, kChoices);
}

bool parse_on(std::string_view option, std::string_view value) {
  static constexpr Choices<bool, 2> kChoices{{{"on", true}, {"off", false}}};
  return parse_choice(option, value, kChoices);
}

KeeperChoice parse_keeper(std::string_view option, std::string_view value) {
  using enum KeeperChoice;
  static constexpr Choices<KeeperChoice, 4> kChoices{
      {{"auto", kAuto}, {"on", kOn}, {"off", kOff}, {"external", kExternal}}};
  return parse_choice(option, value, kChoices);
}

std::optional<bool> parse_auto_on_off(std::string_view option, std::string_view value) {
  static constexpr Choices<std::optional<bool>, 3> kChoices{{{"auto", std::nullopt}, {"on", true}, {"off", false}}};
  return parse_choice(option, value, kChoices);
}

std::uint64_t parse_size(std::string_view option, std::string_view value) {
  constexpr std::string_view kUnits = "KMGT";
  constexpr unsigned kBits = 10;
  double number = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number, std::chars_format::fixed);
  std::string_view unit = value.substr(static_cast<std::size_t>(end - value.data()));
  unsigned shift = 0;
  if (!unit.empty()) {
    if (const auto at = kUnits.find(unit.front()); at != std::string_view::npos) {
      shift = (static_cast<unsigned>(at) + 1) * kBits;
      unit.remove_prefix(1);
    }
  }
  const double bytes = number * static_cast<double>(std::uint64_t{1} << shift);
  constexpr double kMost = 9e18;
  if (error != std::errc() || !(unit.empty() || unit == "B" || unit == "iB") || !(bytes >= 0 && bytes <= kMost)) {
    bad_value(option, value, "a size (\"500M\", \"2G\")");
  }
  return static_cast<std::uint64_t>(bytes);
}

std::optional<std::uint64_t> parse_memory(std::string_view option, std::string_view value) {
  constexpr std::uint64_t kLeast = std::uint64_t{1} << 20U;
  if (value == "auto") {
    return std::nullopt;
  }
  const std::uint64_t bytes = parse_size(option, value);
  if (bytes < kLeast) {
    bad_value(option, value, "\"auto\", or a size of at least 1M");
  }
  return bytes;
}

std::chrono::seconds parse_interval(std::string_view option, std::string_view value) {
  constexpr std::string_view kWanted = "a time from a second to 365 days (\"30s\", \"10m\", \"12h\")";
  constexpr std::chrono::seconds kMost = std::chrono::days(365);  // clocks count nanoseconds
  const auto seconds = whole_number(value);
  if (seconds == 0U || (seconds && std::chrono::seconds(*seconds) > kMost)) {
    bad_value(option, value, kWanted);
  }
  if (seconds) {
    return std::chrono::seconds(*seconds);
  }
  const std::chrono::seconds interval = parse_age(option, value);
  if (interval < std::chrono::seconds(1) || interval > kMost) {
    bad_value(option, value, kWanted);
  }
  return interval;
}

unsigned parse_number(std::string_view option, std::string_view value, unsigned most) {
  const auto number = whole_number(value);
  if (!number || *number > most) {
    bad_value(option, value, "a number, at most " + std::to_string(most));
  }
  return *number;
}

std::chrono::seconds parse_age(std::string_view option, std::string_view value) {
  long number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const std::string_view unit = value.substr(static_cast<std::size_t>(end - value.data()));
  constexpr std::array<std::pair<std::string_view, long>, 5> kUnits{
      {{"", 86400}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}};
  const auto found = std::ranges::find(kUnits, unit, &std::pair<std::string_view, long>::first);
  constexpr long kMost = 1'000'000;
  if (error != std::errc() || number < 0 || number > kMost || found == kUnits.end()) {
    bad_value(option, value, "an age (\"30d\", \"12h\", \"10m\", \"45s\")");
  }
  return std::chrono::seconds(number * found->second);
}

}  // namespace pkgfs
