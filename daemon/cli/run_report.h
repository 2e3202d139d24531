// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// The way in which a pkgfs process reports to the pkgfs process that started it. It writes JSON objects, one on a
/// line, to a file descriptor. They replace the text for people on standard error.
///
///     {"event":"message","level":"warning","text":"…"}         a log message
///     {"event":"error","code":"network","chain":["…","…"]}     why it failed, outermost message first; the last line
///
/// An environment variable names the descriptor and the process that reads it. A process further down inherits the
/// variable, but not the descriptor. It sees that the named process isn't its parent. So it doesn't write to a file of
/// its own that has the same number.
struct RunReport {
  struct Message {
    bool is_warning = false;
    std::string text;
  };
  std::vector<Message> messages;
  std::optional<Error> error;
};

/// A writer keeps a report below this size. It cuts a text at 4,096 bytes, each of which takes at most six as JSON, and
/// leaves out messages after the first hundred.
inline constexpr std::size_t kMostReportBytes = std::size_t{8} << 20U;

inline constexpr const char* kReportVariable = "PKGFS_REPORT";
/// The value of that variable for a child of this process.
[[nodiscard]] std::string report_variable(int fd);
/// The descriptor that the environment names; it is not passed on to programs that this process runs. -1: none.
[[nodiscard]] int find_report_fd(const Environment& environment);

void report_message(int fd, const RunReport::Message& message);
/// Reads a report. Lines that are not of its form are left out.
[[nodiscard]] RunReport parse_run_report(std::string_view text);

/// Tells why the program fails: to the process that started it, if that reads a report, else on `io.err`. Returns the
/// exit code.
int report_failure(const Io& io, const Error& error);

}  // namespace pkgfs
