// SPDX-License-Identifier: MIT
#include "daemon/mount/guardian.h"

#include <fcntl.h>
#include <poll.h>
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
#include <utility>

#include "core/base/error.h"
#include "daemon/keeper/protocol.h"

namespace pkgfs {
namespace {

constexpr int kStartMs = 2000;

/// The memory of the command line that ps(1) shows (arg_start and arg_end of proc_pid_stat(5)).
std::span<char> command_line() {
  constexpr int kArgStart = 48;
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The second field, the name in brackets, may contain spaces.
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
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel gives the address as a number
  return {reinterpret_cast<char*>(begin), end - begin};
}

// The following functions run in the child process, which has only the thread that forked. They may make system calls
// and nothing else: a lock that another thread held at the fork stays locked.

/// The child's file descriptors, by number.
enum : int { kAbort, kEnded, kCrash, kStat, kReady, kDescriptors };

void wait_for_the_end() {
  sigset_t all_but_one;
  sigfillset(&all_but_one);
  sigdelset(&all_but_one, keeper::kWakeSignal);
  std::array<pollfd, 2> waiting{
      {{.fd = kEnded, .events = POLLIN, .revents = 0}, {.fd = kCrash, .events = POLLIN, .revents = 0}}};
  // Any process may send the signal that the kernel sends at the daemon's end, so it is only a reason to look.
  while (!keeper::has_ended(kStat)) {
    if (::ppoll(waiting.data(), waiting.size(), nullptr, &all_but_one) > 0) {
      return;
    }
  }
}

[[noreturn]] void guard(const std::array<int, kDescriptors>& descriptors, std::span<char> line,
                        std::string_view title) {
  keeper::watch_parent();
  ::prctl(PR_SET_NAME, "fuse-guardian");  // NOLINT(cppcoreguidelines-pro-type-vararg)
  std::memset(line.data(), 0, line.size());
  if (!line.empty()) {
    std::memcpy(line.data(), title.data(), std::min(title.size(), line.size() - 1));
  }
  // Other processes may wait until the daemon's output is closed. They must not wait for the guardian.
  for (int number = 0; number < kDescriptors; ++number) {
    if (::dup2(descriptors[static_cast<std::size_t>(number)], number) < 0) {
      ::_exit(EXIT_FAILURE);
    }
  }
  if (::syscall(SYS_close_range, kDescriptors, ~0U, 0) != 0) {
    ::_exit(EXIT_FAILURE);  // with the daemon's other descriptors, it would keep files and the device open
  }
  (void)!::write(kReady, "r", 1);
  ::close(kReady);
  wait_for_the_end();
  if (!keeper::ends_within(kEnded, keeper::kGraceMs)) {
    (void)!::write(kAbort, "1", 1);
  }
  ::_exit(EXIT_SUCCESS);
}

}  // namespace

Guardian::~Guardian() { end(); }

void Guardian::end() {
  if (!child_) {
    return;
  }
  crashes_.stop();
  end_child_process(child_.get(), child_id_);
  child_.reset();
}

std::string Guardian::replace() {
  constexpr int kMost = 5;
  constexpr auto kWithin = std::chrono::minutes(1);
  end();
  const auto now = std::chrono::steady_clock::now();
  if (now - counted_since_ > kWithin) {
    counted_since_ = now;
    replaced_ = 0;
  }
  return ++replaced_ > kMost ? "the guardian process ends again and again" : start(connection_);
}

std::string Guardian::start(const std::string& connection) {
  connection_ = connection;
  const pid_t daemon = ::getpid();
  const UniqueFd abort_file = open_abort_file(connection);
  if (!abort_file) {
    return system_error("this process may not abort FUSE connections", errno).message();
  }
  const UniqueFd ended = open_process(daemon);
  const std::string task = std::to_string(daemon);
  const UniqueFd stat = open_main_thread(daemon);
  std::array<int, 2> crash{};
  std::array<int, 2> ready{};
  if (!ended || !stat || ::pipe2(crash.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return system_error("the guardian can't watch the daemon", errno).message();
  }
  const UniqueFd crash_read(crash[0]);
  UniqueFd crash_write(crash[1]);
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) {
    return system_error("the guardian can't watch the daemon", errno).message();
  }
  const UniqueFd ready_read(ready[0]);
  UniqueFd ready_write(ready[1]);
  // Copies with numbers above those that the child process uses.
  std::array<UniqueFd, kDescriptors> high;
  std::array<int, kDescriptors> numbers{abort_file.get(), ended.get(), crash_read.get(), stat.get(), ready_write.get()};
  for (std::size_t i = 0; i < high.size(); ++i) {
    high[i].reset(::fcntl(numbers[i], F_DUPFD_CLOEXEC, static_cast<int>(kDescriptors)));
    numbers[i] = high[i].get();
    if (!high[i]) {
      return system_error("the guardian can't watch the daemon", errno).message();
    }
  }
  const std::span<char> line = command_line();
  const std::string title = "fuse-guardian of " + task;
  // A process that ignores SIGCHLD, which is inherited, can't wait for its children.
  std::signal(SIGCHLD, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
  const pid_t child = ::fork();
  if (child == 0) {
    guard(numbers, line, title);
  }
  if (child < 0) {
    return start_error("no process can be started", errno).message();
  }
  ready_write.reset();
  high[kReady].reset();
  child_ = open_process(child);
  child_id_ = child;
  pollfd waiting{.fd = ready_read.get(), .events = POLLIN, .revents = 0};
  char byte = 0;
  if (!child_ || ::poll(&waiting, 1, kStartMs) != 1 || ::read(ready_read.get(), &byte, 1) != 1) {
    ::kill(child, SIGKILL);  // its process id can't be another process's before waitpid()
    (void)::waitpid(child, nullptr, 0);
    child_.reset();
    return "the guardian process does not start";
  }
  crashes_.start(std::move(crash_write));
  return {};
}

}  // namespace pkgfs
