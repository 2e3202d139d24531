// SPDX-License-Identifier: MIT
#include "daemon/mount/background.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
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

namespace pkgfs {
namespace {

/// The child's verdict: one byte, the exit code; 0 is "ready". No byte: it died.
constexpr std::size_t kVerdictBytes = 1;
/// For the child's own clean-up, before it is killed.
constexpr auto kGrace = std::chrono::seconds(2);
constexpr auto kWaitStep = std::chrono::milliseconds(5);

void leave_terminal() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) {
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
    ::dup2(null.get(), STDERR_FILENO);
  }
  (void)!::chdir("/");
  log_to_syslog();
}

void send_verdict(int pipe, int exit_code) {
  const auto byte = static_cast<unsigned char>(exit_code);
  while (::write(pipe, &byte, kVerdictBytes) < 0 && errno == EINTR) {
  }
}

/// Takes the signals that ask the parent to stop out of a descriptor, for as long as it waits for the child. Those that
/// are ignored (nohup) stay so.
class StopSignals {
 public:
  StopSignals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction action{};
      if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
        sigaddset(&signals, signal);
      }
    }
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
    fd_.reset(::signalfd(-1, &signals, SFD_CLOEXEC));
  }
  ~StopSignals() { end(); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// For the child: signals do again what they did before.
  void end() {
    fd_.reset();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

[[noreturn]] void run_child(const Io& io, UniqueFd pipe, Leave leave, const std::function<int(Readiness&)>& daemon) {
  const int verdict_fd = ::fcntl(pipe.get(), F_DUPFD_CLOEXEC, 3);
  if (leave == Leave::kAtOnce) {
    ::setsid();
  }
  Readiness readiness(std::move(pipe), leave == Leave::kAtOnce);
  int exit_code = to_exit_code(ErrorCode::kInternal);
  try {
    exit_code = daemon(readiness);
  } catch (const Error& error) {
    *io.err << error_lines(io, error.what()) << std::flush;
    exit_code = to_exit_code(error.code());
  } catch (const std::exception& error) {
    *io.err << error_lines(io, error.what()) << std::flush;
  }
  send_verdict(verdict_fd, exit_code);
  // Not exit(): what the parent registered or buffered before the fork is the parent's.
  std::_Exit(exit_code);
}

enum class Waited { kVerdict, kSignal, kNothing };

Waited wait_for_verdict(int verdict, int signals, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::array<pollfd, 2> waiting{
      {{.fd = signals, .events = POLLIN, .revents = 0}, {.fd = verdict, .events = POLLIN, .revents = 0}}};
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return Waited::kNothing;
    }
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) <= 0) {
      continue;
    }
    signalfd_siginfo taken{};  // else it would still end this process
    const bool is_signal = waiting[0].revents != 0 && ::read(signals, &taken, sizeof(taken)) == sizeof(taken);
    return is_signal ? Waited::kSignal : Waited::kVerdict;
  }
}

/// Whether the child ended, and was collected, within the grace.
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
    ::kill(-child, SIGKILL);  // a fusermount3 that it waits for, too
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
    leave_terminal();
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
  StopSignals signals;
  const pid_t child = ::fork();
  if (child < 0) {
    throw system_error("Unable to start the daemon", errno);
  }
  if (child == 0) {
    signals.end();
    verdict.reset();
    run_child(io, std::move(report), leave, daemon);
  }
  report.reset();
  const Waited waited = wait_for_verdict(verdict.get(), signals.fd(), limit);
  if (waited != Waited::kVerdict) {
    end_child(child);
    undo();
    if (waited == Waited::kSignal) {
      throw Error(ErrorCode::kInterrupted, "stopped by a signal before the mount answered; it was ended");
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
                                          : std::string("The daemon ended without a word"));
  }
  return exit_code;
}

}  // namespace pkgfs
