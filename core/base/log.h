// SPDX-License-Identifier: MIT
#pragma once

#include <fmt/core.h>

#include <string_view>

/// What the core has to say beside its results. It goes to spdlog's default logger; where that writes is the program's
/// choice (daemon/cli/logging.h) and a test's. `warn` is what a user should know of, once; `info` explains a result;
/// `debug` is the rest. Never on the hot path. spdlog's own header stays out of here: it costs every file seconds to
/// compile.
namespace pkgfs::log {

enum class Level { kDebug, kInfo, kWarn };

[[nodiscard]] bool enabled(Level level);
void write(Level level, std::string_view message);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) {
    write(Level::kDebug, fmt::vformat(format, fmt::make_format_args(args...)));
  }
}

template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) {
    write(Level::kInfo, fmt::vformat(format, fmt::make_format_args(args...)));
  }
}

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarn)) {
    write(Level::kWarn, fmt::vformat(format, fmt::make_format_args(args...)));
  }
}

}  // namespace pkgfs::log
