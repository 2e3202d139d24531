// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace spdlog {
class logger;
}

namespace pkgfs {

/// Sends log messages to `io.err` as long as this object lives, in the form `pkgfs: warning: …`. For the journal, a
/// message is one line that begins with its priority (`<4>…`): the journal adds time, name and process. If another
/// pkgfs process reads a report (`Io::report_fd`), the messages go there instead. The level is "warning" until
/// `set_log_level`. The destructor restores the earlier logger, so that a test that runs the program keeps its own.
class LogSession {
 public:
  explicit LogSession(const Io& io);
  ~LogSession();
  LogSession(const LogSession&) = delete;
  LogSession& operator=(const LogSession&) = delete;

 private:
  std::shared_ptr<spdlog::logger> before_;
};

/// Sends all further messages to syslog, one line for each message, at the same level. During a LogSession, other
/// threads may log meanwhile.
void log_to_syslog();

/// The text of an error for `io.err`: `pkgfs: error: …` with a line for each cause, or one line for the journal.
[[nodiscard]] std::string error_lines(const Io& io, const Error& error);

/// Whether `fd` is the stream that JOURNAL_STREAM (`device:inode`) names.
[[nodiscard]] bool is_journal(int fd, const std::optional<std::string>& journal_stream);

/// Switches to the level `debug`, or back to the level before; SIGUSR2 does this. Returns the name of the new level.
/// Only one thread may call it.
std::string toggle_debug();

/// Applies `--log-level` and `--quiet` to the default logger.
void set_log_level(const LogFlags& flags);

}  // namespace pkgfs
