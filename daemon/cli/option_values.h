// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pkgfs {

/// Throws Error(kUsage) that names the option (without dashes), the value, and `wanted`: the values that the option
/// accepts. All parsers below refuse a wrong value like this.
[[noreturn]] void bad_value(std::string_view option, std::string_view value, std::string_view wanted);

/// The words that an option accepts, each with its meaning.
template <typename Meaning, std::size_t N>
using Choices = std::array<std::pair<std::string_view, Meaning>, N>;

/// The meaning of `value`.
template <typename Meaning, std::size_t N>
[[nodiscard]] Meaning parse_choice(std::string_view option, std::string_view value,
                                   const Choices<Meaning, N>& choices) {
  std::string wanted;
  for (std::size_t i = 0; i < N; ++i) {
    if (choices[i].first == value) {
      return choices[i].second;
    }
    wanted += (i == 0 ? "" : i + 1 == N ? " or " : ", ") + std::string(choices[i].first);
  }
  bad_value(option, value, wanted);
}

/// A numeric id, or the name of a user or group that this machine knows.
[[nodiscard]] std::uint32_t parse_user(std::string_view option, std::string_view value);
[[nodiscard]] std::uint32_t parse_group(std::string_view option, std::string_view value);
/// A number of KiB, at most 1 GiB.
[[nodiscard]] std::uint32_t parse_kib(std::string_view option, std::string_view value);
/// Permission bits in octal, at most 0777.
[[nodiscard]] std::uint16_t parse_mask(std::string_view option, std::string_view value);
/// A path, made absolute and normal; a relative one starts at the working directory.
[[nodiscard]] std::string parse_path(std::string_view option, std::string_view value);
/// A number of seconds, at most a year; fractions are allowed.
[[nodiscard]] double parse_seconds(std::string_view option, std::string_view value);
/// Whole seconds, at least 1: libcurl measures the silence of a server in whole seconds.
[[nodiscard]] std::uint32_t parse_timeout(std::string_view option, std::string_view value);
/// "auto" (true) or "off".
[[nodiscard]] bool parse_auto(std::string_view option, std::string_view value);
/// "on" (true) or "off".
[[nodiscard]] bool parse_on(std::string_view option, std::string_view value);
/// A number from 1 to 16.
[[nodiscard]] unsigned parse_threads(std::string_view option, std::string_view value);
/// "auto" (nothing), "on" or "off".
enum class KeeperChoice { kAuto, kOn, kOff, kExternal };
[[nodiscard]] KeeperChoice parse_keeper(std::string_view option, std::string_view value);
[[nodiscard]] std::optional<bool> parse_auto_on_off(std::string_view option, std::string_view value);
/// A size in bytes: `10M`, `1.5G`; the units are powers of 1024.
[[nodiscard]] std::uint64_t parse_size(std::string_view option, std::string_view value);
/// "auto" (nothing), or a size of at least 1M, below which directories would be merged anew for nearly every request.
[[nodiscard]] std::optional<std::uint64_t> parse_memory(std::string_view option, std::string_view value);
/// `30s`, `10m`, `12h`, `1d`; a number without a unit is in seconds. At least a second.
[[nodiscard]] std::chrono::seconds parse_interval(std::string_view option, std::string_view value);
/// A number, at most `most`.
[[nodiscard]] unsigned parse_number(std::string_view option, std::string_view value, unsigned most);
/// `30d`, `12h`, `10m`, `45s`; a number without a unit is in days.
[[nodiscard]] std::chrono::seconds parse_age(std::string_view option, std::string_view value);

}  // namespace pkgfs
