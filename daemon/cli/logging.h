// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace spdlog {
class logger;
}

namespace pkgfs {

/// While it lives, what the core logs goes to `io.err` as `pkgfs: warning: …`; to the journal as one line with its
/// priority in front (`<4>…`), since it knows time, name and process itself. Warnings and errors until `set_log_level`.
/// Afterwards the logger of before is back: a test that runs the program keeps its own.
class LogSession {
 public:
  explicit LogSession(const Io& io);
  ~LogSession();
  LogSession(const LogSession&) = delete;
  LogSession& operator=(const LogSession&) = delete;

 private:
  std::shared_ptr<spdlog::logger> before_;
};

/// From now on to the system's log (syslog), one line for each message, at the same level.
void log_to_syslog();

/// An error for `io.err`: `pkgfs: error: …` with a line for each cause, or one line for the journal.
[[nodiscard]] std::string error_lines(const Io& io, std::string_view what);

/// Whether standard error is the stream that `JOURNAL_STREAM` (`device:inode`) names.
[[nodiscard]] bool is_journal(int fd, const std::optional<std::string>& journal_stream);

/// Switches between the level that was set and `debug`; for SIGUSR2. Returns the name of the new one.
std::string toggle_debug();

/// Applies `--log-level` and `--quiet` to the default logger.
void set_log_level(const LogFlags& flags);

}  // namespace pkgfs
