// SPDX-License-Identifier: MIT
#include "daemon/mount/background.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ostream>
#include <string>
#include <thread>

#include "core/base/error.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/run_report.h"
#include "daemon/mount/signal_fd.h"

namespace pkgfs {
namespace {

/// The child writes one byte into a pipe: its exit code, or 0 when it is ready. End of file: a signal killed it.
constexpr std::size_t kVerdictBytes = 1;
/// From SIGTERM to SIGKILL, for the child's own clean-up.
constexpr auto kGrace = std::chrono::seconds(2);
constexpr auto kWaitStep = std::chrono::milliseconds(5);

void leave_caller(const Io& io) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) {
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
    ::dup2(null.get(), STDERR_FILENO);
    if (io.report_fd >= 0) {
      ::dup3(null.get(), io.report_fd, O_CLOEXEC);
    }
  }
  for (const int fd : io.inherited) {
    ::close(fd);
  }
  (void)!::chdir("/");
  log_to_syslog();
}

void send_verdict(int pipe, int exit_code) {
  const auto byte = static_cast<unsigned char>(exit_code);
  while (::write(pipe, &byte, kVerdictBytes) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void run_child(const Io& io, UniqueFd pipe, Leave leave, const std::function<int(Readiness&)>& daemon) {
  const int verdict_fd = ::fcntl(pipe.get(), F_DUPFD_CLOEXEC, 3);
  if (leave == Leave::kAtOnce) {
    ::setsid();
  }
  for (const int fd : io.inherited) {  // with --auto-unmount, fusermount3 lives as long as the mount
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  Readiness readiness(std::move(pipe), leave == Leave::kAtOnce, io);
  int exit_code = to_exit_code(ErrorCode::kInternal);
  try {
    exit_code = daemon(readiness);
  } catch (...) {
    exit_code = report_failure(io, current_error());
  }
  send_verdict(verdict_fd, exit_code);
  // Not exit(): it would run the exit handlers and flush the buffers that the parent had before the fork.
  std::_Exit(exit_code);
}

enum class Waited { kVerdict, kSignal, kNothing };

/// A signal that comes is taken from `signals`, so that it does not end this process later.
Waited wait_for_verdict(int verdict, const SignalFd& signals, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::array<pollfd, 2> waiting{
      {{.fd = signals.fd(), .events = POLLIN, .revents = 0}, {.fd = verdict, .events = POLLIN, .revents = 0}}};
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return Waited::kNothing;
    }
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) > 0) {
      return waiting[0].revents != 0 && signals.take() ? Waited::kSignal : Waited::kVerdict;
    }
  }
}

/// Waits for the child's end. False: it still runs after the grace.
bool collect(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kGrace;
  while (::waitpid(child, nullptr, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(kWaitStep);
  }
  return true;
}

void end_child(pid_t child) {
  ::kill(child, SIGTERM);
  if (!collect(child)) {
    ::kill(-child, SIGKILL);  // with a fusermount3 that the child waits for
    ::kill(child, SIGKILL);
    (void)collect(child);
  }
}

}  // namespace

void Readiness::ready() {
  if (pipe_) {
    if (!has_session_) {
      ::setsid();
    }
    leave_caller(io_);
    send_verdict(pipe_.get(), kExitOk);
    pipe_.reset();
  }
}

int run_in_background(const Io& io, std::chrono::milliseconds limit, Leave leave,
                      const std::function<int(Readiness&)>& daemon, const std::function<void()>& undo) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw system_error("Unable to start the daemon", errno);
  }
  UniqueFd verdict(ends[0]);
  UniqueFd report(ends[1]);
  io.out->flush();
  io.err->flush();
  SignalFd signals({SIGINT, SIGTERM, SIGHUP}, SignalFd::Ignored::kStaysIgnored);
  const pid_t child = ::fork();
  if (child < 0) {
    throw start_error("Unable to start the daemon", errno);
  }
  if (child == 0) {
    signals.restore();
    verdict.reset();
    run_child(io, std::move(report), leave, daemon);
  }
  report.reset();
  const Waited waited = wait_for_verdict(verdict.get(), signals, limit);
  if (waited != Waited::kVerdict) {
    end_child(child);
    undo();
    if (waited == Waited::kSignal) {
      throw Error(ErrorCode::kInterrupted, "stopped by a signal before the mount answered; the mount was ended");
    }
    throw Error(ErrorCode::kMount,
                "The mount didn't answer within " + std::to_string(limit.count() / 1000) + " s; it was ended");
  }
  unsigned char exit_code = 0;
  if (::read(verdict.get(), &exit_code, kVerdictBytes) != static_cast<ssize_t>(kVerdictBytes)) {
    int status = 0;
    (void)::waitpid(child, &status, 0);
    undo();
    throw Error(ErrorCode::kInternal, WIFSIGNALED(status)
                                          ? "The daemon was killed by signal " + std::to_string(WTERMSIG(status))
                                          : std::string("The daemon ended without reporting why"));
  }
  return exit_code;
}

}  // namespace pkgfs
