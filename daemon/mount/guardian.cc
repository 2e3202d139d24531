// SPDX-License-Identifier: MIT
#include "daemon/mount/guardian.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <span>
#include <sstream>

#include "core/base/error.h"

namespace pkgfs {
namespace {

/// For the daemon's threads to end by themselves once the first has.
constexpr int kGraceMs = 200;
constexpr int kStartMs = 2000;
constexpr int kWakeSignal = SIGUSR1;

/// Where a crash is told; -1: nowhere.
volatile std::sig_atomic_t crash_pipe = -1;

/// When a process dumps core, or would if it were allowed to, its threads stop before any of them has ended.
void on_crash(int signal) {
  (void)!::write(crash_pipe, "c", 1);
  (void)::raise(signal);  // SA_RESETHAND: as if this handler weren't there, once it returns
}

/// Without SIGBUS, for which there is what lost pages of a mapping need.
constexpr std::array kCrashes{SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGQUIT, SIGSYS, SIGTRAP};

void tell_of_crashes(int pipe) {
  crash_pipe = pipe;
  for (const int signal : kCrashes) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
      action.sa_handler = on_crash;
      action.sa_flags = static_cast<int>(SA_RESETHAND);
      sigfillset(&action.sa_mask);
      ::sigaction(signal, &action, nullptr);
    }
  }
}

void tell_of_crashes_no_more() {
  for (const int signal : kCrashes) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == on_crash) {
      action.sa_handler = SIG_DFL;
      ::sigaction(signal, &action, nullptr);
    }
  }
}

/// A file of the kernel's own that aborts the connection when something is written to it; invalid if we may not.
UniqueFd open_abort_file(const std::string& connection) {
  const std::string name = connection + "/abort";
  UniqueFd file(::open(("/sys/fs/fuse/connections/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  if (file) {
    return file;
  }
  // Nobody has mounted fusectl, as in most containers: root needs no place for it.
  const UniqueFd control(::fsopen("fusectl", FSOPEN_CLOEXEC));
  if (!control || ::fsconfig(control.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return {};
  }
  const UniqueFd root(::fsmount(control.get(), FSMOUNT_CLOEXEC, 0));
  return root ? UniqueFd(::openat(root.get(), name.c_str(), O_WRONLY | O_CLOEXEC)) : UniqueFd();
}

UniqueFd open_process(pid_t process) { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0))); }

/// Where the kernel keeps the command line that ps(1) shows (arg_start and arg_end of proc_pid_stat(5)).
std::span<char> command_line() {
  constexpr int kArgStart = 48;
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The second field, the name, may have spaces.
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string skipped;
  for (int field = 3; field < kArgStart; ++field) {
    fields >> skipped;
  }
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  fields >> begin >> end;
  if (!fields || begin >= end) {
    return {};
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): that is how the kernel names it
  return {reinterpret_cast<char*>(begin), end - begin};
}

// What follows runs in the child, where only the thread that forked is left: nothing but system calls.

/// The child's descriptors, by number.
enum : int { kAbort, kEnded, kCrash, kStat, kReady, kDescriptors };

/// Whether a thread has ended, by its file `stat`.
bool has_ended(int stat) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(stat, text.data(), text.size(), 0);
  if (size <= 0) {
    return true;
  }
  const auto end = text.begin() + size;
  const auto name_ends = std::find(std::make_reverse_iterator(end), text.rend(), ')').base();  // behind the bracket
  return end - name_ends < 2 || *(name_ends + 1) == 'Z' || *(name_ends + 1) == 'X';
}

void wait_for_the_end() {
  sigset_t all_but_one;
  sigfillset(&all_but_one);
  sigdelset(&all_but_one, kWakeSignal);
  std::array<pollfd, 2> waiting{
      {{.fd = kEnded, .events = POLLIN, .revents = 0}, {.fd = kCrash, .events = POLLIN, .revents = 0}}};
  // The signal only wakes: anybody may send it.
  while (!has_ended(kStat)) {
    if (::ppoll(waiting.data(), waiting.size(), nullptr, &all_but_one) > 0) {
      return;
    }
  }
}

[[noreturn]] void guard(const std::array<int, kDescriptors>& descriptors, std::span<char> line,
                        std::string_view title) {
  ::setsid();  // who kills the daemon's process group doesn't mean us
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  struct sigaction wake{};
  wake.sa_handler = [](int) {};
  ::sigaction(kWakeSignal, &wake, nullptr);
  ::prctl(PR_SET_PDEATHSIG, kWakeSignal);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface
  ::prctl(PR_SET_NAME, "fuse-guardian");   // NOLINT(cppcoreguidelines-pro-type-vararg)
  std::memset(line.data(), 0, line.size());
  if (!line.empty()) {
    std::memcpy(line.data(), title.data(), std::min(title.size(), line.size() - 1));
  }
  // Nobody is to wait for us: neither who reads the daemon's output, nor who unmounts its working directory.
  (void)!::chdir("/");
  for (int number = 0; number < kDescriptors; ++number) {
    if (::dup2(descriptors[static_cast<std::size_t>(number)], number) < 0) {
      ::_exit(EXIT_FAILURE);
    }
  }
  if (::syscall(SYS_close_range, kDescriptors, ~0U, 0) != 0) {
    ::_exit(EXIT_FAILURE);  // whatever we hold would outlive its use
  }
  (void)!::write(kReady, "r", 1);
  ::close(kReady);
  wait_for_the_end();
  pollfd ended{.fd = kEnded, .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, kGraceMs) != 1) {
    (void)!::write(kAbort, "1", 1);
  }
  ::_exit(EXIT_SUCCESS);
}

}  // namespace

Guardian::~Guardian() {
  if (child_) {
    tell_of_crashes_no_more();
    ::syscall(SYS_pidfd_send_signal, child_.get(), SIGKILL, nullptr, 0);
    siginfo_t info{};
    (void)::waitid(P_PIDFD, static_cast<id_t>(child_.get()), &info, WEXITED);
    ::close(crash_pipe);
    crash_pipe = -1;
  }
}

std::string Guardian::start(const std::string& connection) {
  const pid_t daemon = ::getpid();
  const UniqueFd abort_file = open_abort_file(connection);
  if (!abort_file) {
    return system_error("FUSE connections can't be aborted", errno).message();
  }
  const UniqueFd ended = open_process(daemon);
  const std::string task = std::to_string(daemon);
  const UniqueFd stat(::open(("/proc/" + task + "/task/" + task + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<int, 2> crash{};
  std::array<int, 2> ready{};
  if (!ended || !stat || ::pipe2(crash.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return system_error("the daemon can't be watched", errno).message();
  }
  const UniqueFd crash_told(crash[0]);
  UniqueFd crash_tell(crash[1]);
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) {
    return system_error("the daemon can't be watched", errno).message();
  }
  const UniqueFd ready_told(ready[0]);
  UniqueFd ready_tell(ready[1]);
  // Above the numbers that the child uses.
  std::array<UniqueFd, kDescriptors> high;
  std::array<int, kDescriptors> numbers{abort_file.get(), ended.get(), crash_told.get(), stat.get(), ready_tell.get()};
  for (std::size_t i = 0; i < high.size(); ++i) {
    high[i].reset(::fcntl(numbers[i], F_DUPFD_CLOEXEC, static_cast<int>(kDescriptors)));
    numbers[i] = high[i].get();
    if (!high[i]) {
      return system_error("the daemon can't be watched", errno).message();
    }
  }
  const std::span<char> line = command_line();
  const std::string title = "fuse-guardian of " + task;
  // Who ignores it, as we may have inherited, collects nobody.
  std::signal(SIGCHLD, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
  const pid_t child = ::fork();
  if (child == 0) {
    guard(numbers, line, title);
  }
  if (child < 0) {
    return system_error("there is no process for a guardian", errno).message();
  }
  ready_tell.reset();
  high[kReady].reset();
  child_ = open_process(child);
  pollfd waiting{.fd = ready_told.get(), .events = POLLIN, .revents = 0};
  char byte = 0;
  if (!child_ || ::poll(&waiting, 1, kStartMs) != 1 || ::read(ready_told.get(), &byte, 1) != 1) {
    ::kill(child, SIGKILL);  // not collected yet: the number is still its own
    (void)::waitpid(child, nullptr, 0);
    child_.reset();
    return "the guardian doesn't start";
  }
  tell_of_crashes(crash_tell.release());
  return {};
}

}  // namespace pkgfs
