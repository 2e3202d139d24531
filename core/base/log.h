// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "core/base/message.h"

/// Log messages of the core. They go to spdlog's default logger, which the program configures (daemon/cli/logging.h).
/// `warn` tells the user of a problem, `info` explains a result, and `debug` is for developers. Repeated messages
/// aren't removed: a caller that may repeat a warning limits it itself (repeated_warning.h). Thread-safe, but too slow
/// for the read path. Arguments are made printable (message.h). Pass an Error itself, not its `what()`, whose line
/// breaks would be escaped. This header doesn't include spdlog's, because each file that includes it takes seconds to
/// compile.
namespace pkgfs::log {

enum class Level { kDebug, kInfo, kWarn, kError };

[[nodiscard]] bool enabled(Level level);
/// Writes `message`. Its line breaks stay, so its parts from outside must be printable already.
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
