// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pkgfs {

/// What options take as values. Pure functions; each throws Error(kUsage) that names the option (without dashes), the
/// value and what is wanted.
[[noreturn]] void bad_value(std::string_view option, std::string_view value, std::string_view wanted);

[[nodiscard]] std::uint32_t parse_id(std::string_view option, std::string_view value);
/// At most 1 GiB.
[[nodiscard]] std::uint32_t parse_kib(std::string_view option, std::string_view value);
/// Octal, at most 0777.
[[nodiscard]] std::uint16_t parse_mask(std::string_view option, std::string_view value);
/// Absolute and normal; relative ones are below the working directory.
[[nodiscard]] std::string parse_path(std::string_view option, std::string_view value);
[[nodiscard]] double parse_seconds(std::string_view option, std::string_view value);
/// Whole seconds, at least 1: curl measures silence in them.
[[nodiscard]] std::uint32_t parse_timeout(std::string_view option, std::string_view value);
/// Whether it is "auto", for what is otherwise "off".
[[nodiscard]] bool parse_auto(std::string_view option, std::string_view value);
/// Whether it is "on", for what is otherwise "off".
[[nodiscard]] bool parse_on(std::string_view option, std::string_view value);
/// 1 to 16.
[[nodiscard]] unsigned parse_threads(std::string_view option, std::string_view value);
/// "auto" (nothing), "on" or "off".
[[nodiscard]] std::optional<bool> parse_auto_on_off(std::string_view option, std::string_view value);
/// Bytes: `10M`, `1.5G`, powers of 1024.
[[nodiscard]] std::uint64_t parse_size(std::string_view option, std::string_view value);
/// `30d`, `12h`, `10m`, `45s`; days without a unit.
[[nodiscard]] std::chrono::seconds parse_age(std::string_view option, std::string_view value);

}  // namespace pkgfs
