// SPDX-License-Identifier: MIT
#pragma once

#include <spdlog/spdlog.h>

/// What the core has to say beside its results goes to spdlog's default logger; where that writes is the program's
/// choice (daemon/logging.h) and a test's. Levels: `warn` for what a user should know of, once; `info` for what explains
/// a result; `debug` for the rest. Never on the hot path.
namespace pkgfs::log {

using spdlog::debug;
using spdlog::info;
using spdlog::warn;

}  // namespace pkgfs::log
