// SPDX-License-Identifier: MIT
#pragma once

#include <fmt/core.h>

#include <string_view>

/// Messages of the core beside its results. They go to spdlog's default logger, which the program configures
/// (daemon/cli/logging.h). `warn` tells a user of a problem, once; `info` explains a result; `debug` is for developers.
/// Thread-safe; not for the hot path. spdlog's header isn't included here, because each file takes seconds to compile
/// with it.
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
