// SPDX-License-Identifier: MIT
#include "daemon/volumes/own_command.h"

#include <fcntl.h>
#include <poll.h>
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
#include <sstream>
#include <string_view>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/exit_code.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr const char* kSelf = "/proc/self/exe";
/// More than `pkgfs mount` gives its own child.
constexpr auto kGrace = std::chrono::milliseconds(3500);
constexpr auto kStep = std::chrono::milliseconds(20);
constexpr std::string_view kErrorPrefix = "pkgfs: error: ";
constexpr std::string_view kCausePrefix = "  caused by: ";
constexpr std::size_t kMostOutput = 64U << 10U;

/// What a service manager said to the plugin, and to no one else.
bool is_for_us_only(std::string_view variable) {
  constexpr std::array<std::string_view, 6> kNames{
      "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC="};
  return std::ranges::any_of(kNames, [&](std::string_view name) { return variable.starts_with(name); });
}

struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> envp;
  const char* directory;
  int null;
  int errors;
  pid_t parent;
  IfWeDie if_we_die;
};

/// Between fork and exec, in a program with threads: async-signal-safe calls only.
[[noreturn]] void become(const Prepared& prepared) {
  ::setpgid(0, 0);
  if (prepared.if_we_die == IfWeDie::kEndsToo) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != prepared.parent) {
      ::_exit(1);
    }
  }
  ::dup2(prepared.null, STDIN_FILENO);
  ::dup2(prepared.null, STDOUT_FILENO);
  ::dup2(prepared.errors, STDERR_FILENO);
  ::close_range(STDERR_FILENO + 1, ~0U, 0);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    ::signal(signal, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);  // NOLINT(concurrency-mt-unsafe)
  if (::chdir(prepared.directory) == 0) {
    ::execve(kSelf, prepared.argv.data(), prepared.envp.data());
  }
  ::_exit(1);
}

/// False when it still runs after `limit`.
bool ends_within(const UniqueFd& process, std::chrono::milliseconds limit) {
  pollfd watched{.fd = process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, static_cast<int>(limit.count())) > 0;
}

int collect(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

CommandResult read_result(int status, const UniqueFd& errors) {
  CommandResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : to_exit_code(ErrorCode::kInternal);
  std::string text(kMostOutput, '\0');
  const ssize_t length = ::pread(errors.get(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kErrorPrefix)) {
      result.problem = line.substr(kErrorPrefix.size());
    } else if (line.starts_with(kCausePrefix) && !result.problem.empty()) {
      result.problem += ": " + line.substr(kCausePrefix.size());
    } else if (!line.empty()) {
      result.remarks += line + "\n";
    }
  }
  if (result.exit_code == kExitOk) {
    result.problem.clear();
  } else if (result.problem.empty()) {
    result.problem = WIFSIGNALED(status) ? "pkgfs was killed by signal " + std::to_string(WTERMSIG(status))
                                         : "pkgfs ended with exit code " + std::to_string(result.exit_code);
  }
  return result;
}

}  // namespace

CommandResult run_own_command(const std::vector<std::string>& arguments, const std::string& directory,
                              IfWeDie if_we_die, const CancelFlag& cancel) {
  std::vector<std::string> words{"pkgfs"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd errors(::memfd_create("stderr", MFD_CLOEXEC));
  if (!null || !errors) {
    throw system_error("Unable to start pkgfs", errno);
  }
  ::fcntl(errors.get(), F_SETFL, O_APPEND);  // a mount's process and the one that it leaves both write
  Prepared prepared{{}, {}, directory.c_str(), null.get(), errors.get(), ::getpid(), if_we_die};
  for (std::string& word : words) {
    prepared.argv.push_back(word.data());
  }
  prepared.argv.push_back(nullptr);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!is_for_us_only(*variable)) {
      prepared.envp.push_back(*variable);
    }
  }
  prepared.envp.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) {
    throw system_error("Unable to start pkgfs", errno);
  }
  if (child == 0) {
    become(prepared);
  }
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  while (process && !ends_within(process, kStep)) {
    if (cancel.is_cancelled()) {
      ::kill(child, SIGTERM);
      if (!ends_within(process, kGrace)) {
        ::kill(-child, SIGKILL);
      }
      (void)collect(child);
      throw Error(ErrorCode::kInterrupted, "stopped");
    }
  }
  return read_result(collect(child), errors);
}

}  // namespace pkgfs
