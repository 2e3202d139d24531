// SPDX-License-Identifier: MIT
#include "daemon/cli/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <vector>

#include "daemon/cli/logging.h"
#include "daemon/cli/run_report.h"

namespace pkgfs {

namespace {

/// Opens each closed standard stream in a mode in which using it fails. Otherwise a later file, such as the mount's,
/// would get its number, and messages would be written into it.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) {
      (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest free number: this one
    }
  }
}

/// The open descriptors after the standard streams. Without /proc, those below the number that most shells stay under.
std::vector<int> open_descriptors() {
  constexpr int kUsual = 256;
  std::vector<int> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir("/proc/self/fd"), &::closedir);
  if (list == nullptr) {
    for (int fd = STDERR_FILENO + 1; fd < kUsual; ++fd) {
      if (::fcntl(fd, F_GETFD) >= 0) {
        found.push_back(fd);
      }
    }
    return found;
  }
  while (const dirent* const entry = ::readdir(list.get())) {  // NOLINT(concurrency-mt-unsafe): one thread
    const int fd = std::atoi(entry->d_name);                   // "." and "..": 0
    if (fd > STDERR_FILENO && fd != ::dirfd(list.get())) {
      found.push_back(fd);
    }
  }
  return found;
}

}  // namespace

Io Io::process() {
  occupy_closed_streams();
  // Exceeding the file size limit (ulimit -f) then fails the write, with a message and a clean-up, and doesn't kill
  // pkgfs.
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::ios::sync_with_stdio(false);
  Io io{&std::cout, &std::cerr,
        [](const char* name) -> std::optional<std::string> {
          const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing changes it
          return value == nullptr ? std::nullopt : std::optional<std::string>(value);
        },
        ::isatty(STDERR_FILENO) == 1};
  io.err_is_journal = is_journal(STDERR_FILENO, io.environment("JOURNAL_STREAM"));
  io.report_fd = find_report_fd(io.environment);
  io.inherited = open_descriptors();
  std::erase(io.inherited, io.report_fd);
  return io;
}

}  // namespace pkgfs
