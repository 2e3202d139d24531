// SPDX-License-Identifier: MIT
#include "core/base/log.h"

#include <spdlog/spdlog.h>

namespace pkgfs::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::warn;
}

}  // namespace

bool enabled(Level level) { return spdlog::should_log(to_spdlog(level)); }

void write(Level level, std::string_view message) { spdlog::log(to_spdlog(level), "{}", printable(message, true)); }

}  // namespace pkgfs::log
