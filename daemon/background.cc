// SPDX-License-Identifier: MIT
#include "daemon/background.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ostream>
#include <string>

#include "core/base/error.h"
#include "daemon/exit_code.h"
#include "daemon/text_output.h"

namespace pkgfs {
namespace {

/// The child's verdict: one byte, the exit code; 0 is "ready". No byte: it died.
constexpr std::size_t kVerdictBytes = 1;

void leave_terminal() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) {
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
    ::dup2(null.get(), STDERR_FILENO);
  }
  (void)!::chdir("/");
  const auto level = spdlog::default_logger()->level();
  auto system_log = std::make_shared<spdlog::logger>(
      "pkgfs", std::make_shared<spdlog::sinks::syslog_sink_mt>("pkgfs", LOG_PID, LOG_DAEMON, true));
  system_log->set_level(level);
  spdlog::set_default_logger(std::move(system_log));
}

void send_verdict(int pipe, int exit_code) {
  const auto byte = static_cast<unsigned char>(exit_code);
  while (::write(pipe, &byte, kVerdictBytes) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void run_child(const Io& io, UniqueFd pipe, const std::function<int(Readiness&)>& daemon) {
  ::setsid();
  const int verdict_fd = ::fcntl(pipe.get(), F_DUPFD_CLOEXEC, 3);
  Readiness readiness(std::move(pipe));
  int exit_code = to_exit_code(ErrorCode::kInternal);
  try {
    exit_code = daemon(readiness);
  } catch (const Error& error) {
    *io.err << error_text(error.what()) << std::flush;
    exit_code = to_exit_code(error.code());
  } catch (const std::exception& error) {
    *io.err << error_text(error.what()) << std::flush;
  }
  send_verdict(verdict_fd, exit_code);
  // Not exit(): what the parent registered or buffered before the fork is the parent's.
  std::_Exit(exit_code);
}

}  // namespace

void Readiness::ready() {
  if (pipe_) {
    leave_terminal();
    send_verdict(pipe_.get(), kExitOk);
    pipe_.reset();
  }
}

int run_in_background(const Io& io, std::chrono::milliseconds limit, const std::function<int(Readiness&)>& daemon) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw system_error("Unable to start the daemon", errno);
  }
  UniqueFd verdict(ends[0]);
  UniqueFd report(ends[1]);
  io.out->flush();
  io.err->flush();
  const pid_t child = ::fork();
  if (child < 0) {
    throw system_error("Unable to start the daemon", errno);
  }
  if (child == 0) {
    verdict.reset();
    run_child(io, std::move(report), daemon);
  }
  report.reset();
  pollfd waiting{.fd = verdict.get(), .events = POLLIN, .revents = 0};
  int answered = 0;
  do {
    answered = ::poll(&waiting, 1, static_cast<int>(limit.count()));
  } while (answered < 0 && errno == EINTR);
  if (answered == 0) {
    ::kill(child, SIGKILL);
    throw Error(ErrorCode::kMount,
                "The mount didn't answer within " + std::to_string(limit.count() / 1000) + " s; it was ended");
  }
  unsigned char exit_code = 0;
  if (::read(verdict.get(), &exit_code, kVerdictBytes) != static_cast<ssize_t>(kVerdictBytes)) {
    int status = 0;
    (void)::waitpid(child, &status, 0);
    throw Error(ErrorCode::kInternal, WIFSIGNALED(status)
                                          ? "The daemon was killed by signal " + std::to_string(WTERMSIG(status))
                                          : std::string("The daemon ended without a word"));
  }
  return exit_code;
}

}  // namespace pkgfs
