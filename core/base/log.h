// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "core/base/message.h"

/// Messages of the core beside its results. They go to spdlog's default logger, which the program configures
/// (daemon/cli/logging.h). `warn` tells a user of a problem, once; `info` explains a result; `debug` is for developers.
/// Thread-safe; not for the hot path. Arguments are made printable (message.h): pass an Error itself, not its `what()`,
/// whose line breaks would be escaped. spdlog's header isn't included here, because each file takes seconds to compile
/// with it.
namespace pkgfs::log {

enum class Level { kDebug, kInfo, kWarn };

[[nodiscard]] bool enabled(Level level);
/// Writes a message whose parts are printable. Its line breaks stay.
void write(Level level, std::string_view message);

template <typename... Args>
void debug(MessageFormat<Args...> format, const Args&... args) {
  if (enabled(Level::kDebug)) {
    write(Level::kDebug, format_message<Args...>(format, args...));
  }
}

template <typename... Args>
void info(MessageFormat<Args...> format, const Args&... args) {
  if (enabled(Level::kInfo)) {
    write(Level::kInfo, format_message<Args...>(format, args...));
  }
}

template <typename... Args>
void warn(MessageFormat<Args...> format, const Args&... args) {
  if (enabled(Level::kWarn)) {
    write(Level::kWarn, format_message<Args...>(format, args...));
  }
}

}  // namespace pkgfs::log
