// SPDX-License-Identifier: MIT
//
// pkgfs-keeper: the child process of a daemon that keeps the mount when the daemon is killed.
//
// It holds a duplicate of the mount's device, so that the kernel keeps the connection, and what another daemon needs to
// go on: the containers, the executable and a record of the mount. It starts that daemon, the successor, when the
// daemon's main thread has ended, or when the daemon tells it of a crash. The successor starts a keeper of its own;
// then this one ends. If no successor can be started, this process aborts the connection, so that no reader waits for
// ever.
//
// A daemon that was killed may not be able to end: a thread of it may wait in the kernel for a page that another of its
// threads was about to fill (fuse::ContentPrefetcher, fuse::ChangeNotifier). The successor fills that page.
//
// It is a program of its own, which links nothing but the C library: it must be small, and must not be the cause of a
// failure. It allocates nothing while it waits.

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "daemon/keeper/protocol.h"

namespace {

using namespace pkgfs::keeper;

constexpr int kWakeSignal = SIGUSR1;
constexpr int kMostStarts = 2;
/// From the start of a successor to its message kReplaced.
constexpr int kStartMs = 10'000;
constexpr const char* kOwnPriority = "/proc/self/oom_score_adj";

char** arguments;  // of the daemon
int containers;
char daemons_priority[16];  // its oom_score_adj

/// Lets the kernel's out-of-memory killer choose the daemon, not this process, if this process may ask for that.
void ask_for_protection() {
  const int file = ::open(kOwnPriority, O_RDWR | O_CLOEXEC);
  if (file < 0) {
    return;
  }
  (void)!::read(file, daemons_priority, sizeof(daemons_priority) - 1);
  (void)!::write(file, "-900", 4);
  ::close(file);
}

void restore_priority() {
  const int file = ::open(kOwnPriority, O_WRONLY | O_CLOEXEC);
  if (file >= 0) {
    (void)!::write(file, daemons_priority, std::strlen(daemons_priority));
    ::close(file);
  }
}

/// How the daemon ended.
struct End {
  bool asked = false;  // it ends because it was asked to
  int signal = 0;      // of a crash; 0: unknown
};

/// Waits until the daemon's main thread has ended, or until a message says that the daemon ends.
End wait_for_end() {
  sigset_t all_but_one;
  sigfillset(&all_but_one);
  sigdelset(&all_but_one, kWakeSignal);
  pollfd waiting[]{{.fd = kEnded, .events = POLLIN, .revents = 0}, {.fd = kControl, .events = POLLIN, .revents = 0}};
  // Any process may send the signal that the kernel sends at the daemon's end, so it is only a reason to look.
  while (!has_ended(kMainThread)) {
    if (::ppoll(waiting, 2, nullptr, &all_but_one) <= 0) {
      continue;
    }
    char message[kMessageBytes]{};
    if (::recv(kControl, message, sizeof(message), MSG_DONTWAIT) > 0) {
      if (message[0] == kEnding) {
        return {.asked = true};
      }
      if (message[0] == kCrash) {
        return {.signal = message[1]};
      }
    } else {
      return {};
    }
  }
  // A crash that was told at the last moment.
  char message[kMessageBytes]{};
  const bool told = ::recv(kControl, message, sizeof(message), MSG_DONTWAIT) > 0;
  return {.asked = told && message[0] == kEnding, .signal = told && message[0] == kCrash ? message[1] : 0};
}

bool ends_within(int process, int milliseconds) {
  pollfd ended{.fd = process, .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, milliseconds) == 1;
}

bool is_unmounted() {
  pollfd device{.fd = kDevice, .events = 0, .revents = 0};
  return ::poll(&device, 1, 0) == 1 && (device.revents & POLLERR) != 0;
}

void abort_connection() { (void)!::write(kAbort, "1", 1); }

/// The daemon unmounts by itself. As long as it can't end, readers may wait for it.
void guard_the_end() {
  ::close(kDevice);
  (void)::close_range(kContainers, ~0U, 0);
  const char message[kMessageBytes]{kLetGo, 0};
  (void)::send(kControl, message, sizeof(message), MSG_NOSIGNAL);
  (void)wait_for_end();
  if (!ends_within(kEnded, kGraceMs)) {
    abort_connection();
  }
}

/// Runs in the child process.
[[noreturn]] void become_successor(int control) {
  ::dup2(control, kControl);
  ::close(kMainThread);
  restore_priority();
  std::signal(kWakeSignal, SIG_DFL);  // NOLINT(cert-err33-c)
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execveat(kProgram, "", arguments, environ, AT_EMPTY_PATH);
  ::_exit(127);
}

/// Waits until the successor has a keeper. False: it has ended, or takes too long.
bool wait_for_successor(int control, pid_t child) {
  pollfd waiting{.fd = control, .events = POLLIN, .revents = 0};
  char message[kMessageBytes]{};
  // The socket ends with the successor.
  if (::poll(&waiting, 1, kStartMs) == 1 && ::recv(control, message, sizeof(message), 0) > 0 &&
      message[0] == kReplaced) {
    return true;
  }
  ::kill(child, SIGKILL);
  (void)::waitpid(child, nullptr, 0);
  return false;
}

bool start_successor(const End& end, const timespec& ended) {
  char value[64];
  std::snprintf(value, sizeof(value), "%d:%d:%lld:0", containers, end.signal,
                static_cast<long long>(ended.tv_sec) * 1'000'000'000 + ended.tv_nsec);
  ::setenv(kVariable, value, 1);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return false;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    become_successor(ends[1]);
  }
  ::close(ends[1]);
  const bool started = child > 0 && wait_for_successor(ends[0], child);
  ::close(ends[0]);
  return started;
}

void prepare() {
  ::setsid();  // a signal to the daemon's process group must not end this process
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  struct sigaction wake{};
  wake.sa_handler = [](int) {};
  ::sigaction(kWakeSignal, &wake, nullptr);
  std::signal(SIGCHLD, SIG_DFL);  // NOLINT(cert-err33-c): waitpid() needs it
  ::prctl(PR_SET_PDEATHSIG, kWakeSignal);
  // Other processes may wait until the daemon's output is closed, or its working directory free. They must not wait for
  // this one.
  (void)!::chdir("/");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int stream = 0; stream < kControl; ++stream) {
    ::dup2(null, stream);
  }
  ::close(null);
  ask_for_protection();
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  containers = argc < 3 ? -1 : static_cast<int>(std::strtol(argv[1], &end, 10));
  if (containers < 0 || *end != '\0' || ::fcntl(kContainers - 1, F_GETFD) < 0) {
    std::fputs("pkgfs-keeper: \"pkgfs mount\" starts this program; it isn't for use by hand\n", stderr);
    return 2;
  }
  arguments = argv + 2;
  prepare();
  const char ready[kMessageBytes]{kReady, 0};
  (void)::send(kControl, ready, sizeof(ready), MSG_NOSIGNAL);
  const End how = wait_for_end();
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (how.asked) {
    guard_the_end();
    return 0;
  }
  for (int starts = 0; starts < kMostStarts && !is_unmounted(); ++starts) {
    if (start_successor(how, now)) {
      return 0;
    }
  }
  if (!is_unmounted()) {
    ::openlog("pkgfs", LOG_PID, LOG_DAEMON);
    ::syslog(LOG_ERR, "the mount of \"%s\" ends: its daemon was killed, and no other one could be started",
             arguments[0] == nullptr ? "" : arguments[argc - 3]);
  }
  abort_connection();
  return 1;
}
