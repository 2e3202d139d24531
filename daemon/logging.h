// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <ostream>

#include "daemon/options.h"

namespace spdlog {
class logger;
}

namespace pkgfs {

/// While it lives, what the core logs goes to `err` as `pkgfs: warning: …`. Warnings and errors until `set_log_level`.
/// Afterwards the logger of before is back: a test that runs the program keeps its own.
class LogSession {
 public:
  explicit LogSession(std::ostream& err);
  ~LogSession();
  LogSession(const LogSession&) = delete;
  LogSession& operator=(const LogSession&) = delete;

 private:
  std::shared_ptr<spdlog::logger> before_;
};

/// Applies `--log-level` and `--quiet` to the default logger.
void set_log_level(const LogFlags& flags);

}  // namespace pkgfs
