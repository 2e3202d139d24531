// SPDX-License-Identifier: MIT
#include "daemon/guardian.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <span>
#include <sstream>
#include <system_error>

#include "core/base/unique_fd.h"

namespace pkgfs {
namespace {

/// For the daemon's threads to end by themselves once the first has.
constexpr int kGraceMs = 200;
constexpr int kToldSignal = SIGUSR1;

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

/// In the child, where only this thread is left: nothing but system calls.
[[noreturn]] void guard(pid_t daemon, int ended, int abort_file, std::span<char> line, const std::string& title) {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  ::prctl(PR_SET_PDEATHSIG, kToldSignal);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface
  ::prctl(PR_SET_NAME, "pkgfs-guardian");  // NOLINT(cppcoreguidelines-pro-type-vararg)
  std::memset(line.data(), 0, line.size());
  if (!line.empty()) {
    std::memcpy(line.data(), title.data(), std::min(title.size(), line.size() - 1));
  }
  // Nobody is to wait for us: neither who reads the daemon's output, nor who unmounts its working directory.
  (void)!::chdir("/");
  constexpr int kAbort = 0;
  constexpr int kEnded = 1;
  if (::dup2(abort_file, kAbort) < 0 || ::dup2(ended, kEnded) < 0 || ::close_range(kEnded + 1, ~0U, 0) != 0) {
    ::_exit(EXIT_FAILURE);
  }
  sigset_t told;
  sigemptyset(&told);
  sigaddset(&told, kToldSignal);
  // The signal comes when the daemon's main thread ends; as long as any other is left, it stays our parent.
  if (::getppid() == daemon) {
    while (::sigwaitinfo(&told, nullptr) < 0 && errno == EINTR) {
    }
  }
  pollfd waiting{.fd = kEnded, .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kGraceMs) != 1) {
    (void)!::write(kAbort, "1", 1);
  }
  ::_exit(EXIT_SUCCESS);
}

}  // namespace

Guardian::~Guardian() {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    (void)::waitpid(child_, nullptr, 0);
  }
}

std::string Guardian::start(const std::string& connection) {
  const pid_t daemon = ::getpid();
  const UniqueFd abort_file = open_abort_file(connection);
  if (!abort_file) {
    return std::string("FUSE connections can't be aborted: ") + std::generic_category().message(errno);
  }
  // Above the two numbers that the child uses.
  const UniqueFd high(::fcntl(abort_file.get(), F_DUPFD_CLOEXEC, 3));
  const UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, daemon, 0)));
  if (!high || !ended) {
    return std::string("no descriptor for the daemon: ") + std::generic_category().message(errno);
  }
  const std::span<char> line = command_line();
  const std::string title = "pkgfs: guards " + std::to_string(daemon);
  child_ = ::fork();
  if (child_ == 0) {
    guard(daemon, ended.get(), high.get(), line, title);
  }
  return child_ < 0 ? std::string("no process for it: ") + std::generic_category().message(errno) : std::string();
}

}  // namespace pkgfs
