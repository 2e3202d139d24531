// SPDX-License-Identifier: MIT
#include "daemon/volumes/own_command.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string_view>
#include <thread>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/run_report.h"
#include "daemon/mount/spawn_with.h"

extern char** environ;

namespace pkgfs {
namespace {

/// From SIGTERM to SIGKILL. Longer than `pkgfs mount` gives its own child.
constexpr auto kGrace = std::chrono::milliseconds(3500);
constexpr auto kStep = std::chrono::milliseconds(20);
constexpr auto kShortStep = std::chrono::milliseconds(2);
constexpr std::size_t kMostOutput = std::size_t{64} << 10U;
/// Where the report's descriptor goes while other descriptors move.
constexpr int kAboveUsed = 10;
constexpr int kReportFd = 3;
/// The exit code of a child that can't enter the network namespace; pkgfs has no such code.
constexpr int kNoNetwork = 119;

/// Variables that a service manager, or a pkgfs process, has set for this process and no other.
bool is_for_us_only(std::string_view variable) {
  constexpr std::array<std::string_view, 7> kNames{
      "LISTEN_PID=",   "LISTEN_FDS=",    "LISTEN_FDNAMES=", "NOTIFY_SOCKET=",
      "WATCHDOG_PID=", "WATCHDOG_USEC=", "PKGFS_REPORT="};
  return std::ranges::any_of(kNames, [&](std::string_view name) { return variable.starts_with(name); });
}

/// Whether one of `variables` ("NAME=value") has the name of `variable`.
bool names_one_of(std::string_view variable, const std::vector<std::string>& variables) {
  const std::string_view name = variable.substr(0, variable.find('=') + 1);
  return std::ranges::any_of(variables, [&](const std::string& one) { return one.starts_with(name); });
}

struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> envp;
  const char* directory;
  const char* program;
  std::vector<const char*> cgroups;
  int null;
  int output;
  int report;
  int network;  // -1: stays where it is
  pid_t parent;
  IfWeDie if_we_die;
};

/// Runs in the child of a process with threads: only async-signal-safe calls are allowed before execve().
[[noreturn]] void become(const Prepared& prepared) {
  ::setpgid(0, 0);
  for (const char* cgroup : prepared.cgroups) {
    if (const int file = ::open(cgroup, O_WRONLY | O_CLOEXEC); file >= 0) {
      (void)!::write(file, "0", 1);  // "0" is the writing process; where the kernel refuses, it stays in its cgroup
      ::close(file);
    }
  }
  if (prepared.if_we_die == IfWeDie::kEndsToo) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != prepared.parent) {
      ::_exit(1);
    }
  }
  if (prepared.network >= 0 && ::setns(prepared.network, CLONE_NEWNET) != 0) {
    ::_exit(kNoNetwork);
  }
  ::dup2(prepared.null, STDIN_FILENO);
  ::dup2(prepared.null, STDOUT_FILENO);
  ::dup2(prepared.output, STDERR_FILENO);
  ::dup2(prepared.report, kReportFd);
  ::close_range(kReportFd + 1, ~0U, 0);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    ::signal(signal, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);  // NOLINT(concurrency-mt-unsafe)
  if (::chdir(prepared.directory) == 0) {
    ::execve(prepared.program, prepared.argv.data(), prepared.envp.data());
  }
  ::_exit(1);
}

/// A child process that is waited for. The end of the descriptor shows its end; where the kernel or a filter of system
/// calls refuses one, this looks again and again.
class Child {
 public:
  explicit Child(pid_t process)
      : process_(process), descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, process, 0))) {}

  [[nodiscard]] bool ends_within(std::chrono::milliseconds limit) const {
    if (descriptor_) {
      pollfd watched{.fd = descriptor_.get(), .events = POLLIN, .revents = 0};
      return ::poll(&watched, 1, static_cast<int>(limit.count())) > 0;
    }
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!has_ended()) {
      if (std::chrono::steady_clock::now() >= deadline) {
        return false;
      }
      std::this_thread::sleep_for(kShortStep);
    }
    return true;
  }

 private:
  [[nodiscard]] bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
  }

  pid_t process_;
  UniqueFd descriptor_;
};

int collect(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string contents(const UniqueFd& file, std::size_t limit) {
  std::string text(limit, '\0');
  const ssize_t length = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  return text;
}

/// For a process that did not report why it failed.
Error unreported(int status) {
  if (WIFSIGNALED(status)) {
    return {ErrorCode::kInternal, "pkgfs was killed by signal " + std::to_string(WTERMSIG(status))};
  }
  const int exit_code = WEXITSTATUS(status);
  if (exit_code == kNoNetwork) {
    return {ErrorCode::kPermission, "Unable to start pkgfs in the network namespace of the host"};
  }
  const bool was_stopped = exit_code == to_exit_code(ErrorCode::kInterrupted);
  return {was_stopped ? ErrorCode::kInterrupted : ErrorCode::kInternal,
          "pkgfs ended with exit code " + std::to_string(exit_code)};
}

/// A place among `places`, until the end of the scope.
class Place {
 public:
  Place(std::shared_ptr<std::counting_semaphore<>> places, const CancelFlag& cancel) : places_(std::move(places)) {
    while (places_ != nullptr && !places_->try_acquire_for(kStep)) {
      if (cancel.is_cancelled()) {
        throw Error(ErrorCode::kInterrupted, "stopped");
      }
    }
  }
  ~Place() {
    if (places_ != nullptr) {
      places_->release();
    }
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::shared_ptr<std::counting_semaphore<>> places_;
};

/// A memory file that several processes append to: `pkgfs mount`, and the daemon that it leaves in the background.
UniqueFd new_file(const char* name) {
  const UniqueFd file(::memfd_create(name, MFD_CLOEXEC));
  UniqueFd above(::fcntl(file.get(), F_DUPFD_CLOEXEC, kAboveUsed));
  if (!above || ::fcntl(above.get(), F_SETFL, O_APPEND) != 0) {
    throw system_error("Unable to start pkgfs", errno);
  }
  return above;
}

}  // namespace

CommandResult run_own_command(const std::vector<std::string>& arguments, const std::string& directory,
                              IfWeDie if_we_die, const CancelFlag& cancel, const OwnProgram& program,
                              const std::vector<std::string>& more_variables) {
  const Place place(if_we_die == IfWeDie::kEndsToo ? program.places : nullptr, cancel);
  std::vector<std::string> words{"pkgfs"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) {
    throw system_error("Unable to start pkgfs", errno);
  }
  const UniqueFd output = new_file("stderr");
  const UniqueFd report = new_file("report");
  std::vector<std::string> variables{std::string(kReportVariable) + "=" + report_variable(kReportFd)};
  variables.insert(variables.end(), more_variables.begin(), more_variables.end());
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!is_for_us_only(*variable) && !names_one_of(*variable, more_variables)) {
      variables.emplace_back(*variable);
    }
  }
  Prepared prepared{.argv = pointers_to(words),
                    .envp = pointers_to(variables),
                    .directory = directory.c_str(),
                    .program = program.path.c_str(),
                    .cgroups = {},
                    .null = null.get(),
                    .output = output.get(),
                    .report = report.get(),
                    .network = program.network ? program.network->get() : -1,
                    .parent = ::getpid(),
                    .if_we_die = if_we_die};
  for (const std::string& cgroup : program.cgroups) {
    if (if_we_die == IfWeDie::kGoesOn) {
      prepared.cgroups.push_back(cgroup.c_str());
    }
  }
  const pid_t child = ::fork();
  if (child < 0) {
    throw start_error("Unable to start pkgfs", errno);
  }
  if (child == 0) {
    become(prepared);
  }
  const Child process(child);
  while (!process.ends_within(kStep)) {
    if (cancel.is_cancelled()) {
      ::kill(child, SIGTERM);
      if (!process.ends_within(kGrace)) {
        ::kill(-child, SIGKILL);
      }
      (void)collect(child);
      throw Error(ErrorCode::kInterrupted, "stopped");
    }
  }
  const int status = collect(child);
  CommandResult result{.report = parse_run_report(contents(report, kMostReportBytes)),
                       .output = contents(output, kMostOutput)};
  if (WIFEXITED(status) && WEXITSTATUS(status) == kExitOk) {
    result.report.error.reset();
  } else if (!result.report.error) {
    result.report.error = unreported(status);
  }
  return result;
}

}  // namespace pkgfs
