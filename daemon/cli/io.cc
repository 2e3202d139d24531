// SPDX-License-Identifier: MIT
#include "daemon/cli/io.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "daemon/cli/logging.h"
#include "daemon/cli/run_report.h"

namespace pkgfs {

namespace {

/// A standard stream that is closed is opened so that using it still fails: else its number would be that of a pipe or
/// of the mount, and what is printed would go there.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) {
      (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest free number: this one
    }
  }
}

}  // namespace

Io Io::process() {
  occupy_closed_streams();
  // A file that grows over the limit (ulimit -f) is a failed write with its message and its clean-up, not the end.
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::ios::sync_with_stdio(false);
  Io io{&std::cout, &std::cerr,
        [](const char* name) -> std::optional<std::string> {
          const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody changes the environment
          return value == nullptr ? std::nullopt : std::optional<std::string>(value);
        },
        ::isatty(STDERR_FILENO) == 1};
  io.err_is_journal = is_journal(STDERR_FILENO, io.environment("JOURNAL_STREAM"));
  io.report_fd = find_report_fd(io.environment);
  return io;
}

}  // namespace pkgfs
