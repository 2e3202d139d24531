// SPDX-License-Identifier: MIT
//
// pkgfs-keeper: a child process of the daemon. It keeps the mount alive when the daemon is killed.
//
// It holds a duplicate of the mount's device, so that the kernel keeps the connection. Another daemon also needs the
// containers, the executable, a record of the mount, and the memory that outlives a daemon. The keeper holds these,
// too. It starts that other daemon, the successor, when the daemon's main thread has ended, or when the daemon tells it
// of a crash. The successor starts a keeper of its own; then this one ends. If no successor can be started, this
// process aborts the connection, so that no reader waits for ever.
//
// A daemon that was killed may not be able to end. One of its threads may wait in the kernel for a page that another of
// its threads was about to fill (fuse::ContentPrefetcher, fuse::ChangeNotifier). The successor fills that page.
//
// It links nothing but the C library, and allocates nothing while it waits: it must not be the cause of a failure.

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
#include <ctime>
#include <utility>

#include "daemon/keeper/description.h"
#include "daemon/keeper/priority.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/successions.h"
#include "daemon/keeper/upgrade_requests.h"

namespace {

using namespace pkgfs::keeper;

/// So many successors may fail to start, and so many may be killed or crash before they have a keeper.
constexpr int kMostFailures = 3;
constexpr int kMostDeaths = 20;
/// Between successors that fail to start: the shortage of a moment, of memory or processes, may be over. Readers of a
/// mount that can't go on wait less than a second.
constexpr int kFailurePauseMs = 200;
/// For a process that was killed, to end. If one of its threads waits in the kernel for longer, it never runs again,
/// but can't be collected.
constexpr int kKilledMs = 5000;
/// How often this process looks at a successor that an upgrade has started.
constexpr int kLookMs = 20;

char** arguments;  // of the daemon
int containers;
const char* connection;
const char* mountpoint;
pid_t upgrade = 0;            // the successor that an upgrade has started; 0: there is none
int upgrade_end = -1;         // its pidfd
int upgrade_main = -1;        // its /proc/PID/task/PID/stat
long long upgrade_ended = 0;  // when this process first saw that its main thread had ended, but not the process
int upgrader = -1;            // the connection of the process that asked for the upgrade; -1: that process has ended
Protection protection;        // from the kernel's out-of-memory killer: it is to choose the daemon
Haste haste;
Successions successions;
UpgradeRequests requests;

/// In the child process. `program`: the executable.
[[noreturn]] void become_successor(int control, int program) {
  ::dup2(control, kControl);
  ::close(kMainThread);
  protection.restore();
  std::signal(kWakeSignal, SIG_DFL);  // NOLINT(cert-err33-c)
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(program, kProgram);
  ::execveat(kProgram, "", arguments, environ, AT_EMPTY_PATH);
  ::_exit(127);
}

/// `ended`: of the daemon, in nanoseconds; 0: it runs.
void set_variable(int signal, long long ended) {
  char value[64];
  std::snprintf(value, sizeof(value), "%d:%d:%d:%lld:%d", kVersion, containers, signal, ended, ended == 0 ? 1 : 0);
  ::setenv(kVariable, value, 1);
}

/// Starts another executable as a successor, if the process that was accepted asks for that.
void serve_upgrade() {
  int descriptors[2]{-1, -1};
  const int socket = requests.receive(descriptors);
  if (socket < 0) {
    return;
  }
  set_variable(0, 0);
  upgrade = ::fork();
  if (upgrade == 0) {
    haste.end();  // the old daemon still serves
    become_successor(descriptors[1], descriptors[0]);
  }
  upgrade = upgrade < 0 ? 0 : upgrade;
  upgrade_end = upgrade > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, upgrade, 0)) : -1;
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", upgrade, upgrade);
  upgrade_main = upgrade > 0 ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
  upgrade_ended = 0;
  ::close(descriptors[0]);
  ::close(descriptors[1]);
  close_if_open(upgrader);
  upgrader = socket;
}

/// The daemon was stopped for an upgrade, or is about to be stopped. Nothing else may be left that lets it go on.
void let_daemon_go_on() { (void)::syscall(SYS_pidfd_send_signal, kEnded, SIGCONT, nullptr, 0); }

/// Whether the daemon was stopped, or is about to be: a thread that waits for a disk stops later.
bool may_be_stopped() {
  const char state = thread_state(kMainThread);
  return state == 'T' || state == 't' || state == 'D';
}

/// Whether the successor that an upgrade has started never runs again, although it can't end: one of its threads waits
/// in the kernel. The other ones have had the time to end, also on a busy machine: they may have taken requests.
bool upgrade_lingers() {
  constexpr int kLingerMs = 1000;
  if (upgrade_main < 0 || !has_ended(upgrade_main)) {
    return false;
  }
  if (upgrade_ended == 0) {
    upgrade_ended = now_ms();
  }
  return now_ms() - upgrade_ended > kLingerMs;
}

/// Collects the successor that an upgrade has started, if it has ended. If it had replaced the daemon, its own keeper
/// starts another one. If it may have taken requests, this process ends: the daemon starts another keeper, and takes
/// the requests back (MountWatch).
void collect_upgrade() {
  if (upgrade == 0) {
    return;
  }
  if (::waitpid(upgrade, nullptr, WNOHANG) == 0) {
    if (!upgrade_lingers() || !(Successions::is_replaced() || may_be_stopped())) {
      return;
    }
  }
  const pid_t process = std::exchange(upgrade, 0);
  close_if_open(upgrade_end);
  close_if_open(upgrade_main);
  if (Successions::is_replaced()) {
    (void)::syscall(SYS_pidfd_send_signal, kEnded, SIGKILL, nullptr, 0);
    (void)ends_within(kEnded, kGraceMs);  // upgrade-mounts looks at it when this process has ended
    ::_exit(0);
  }
  const bool has_taken = may_be_stopped() || Successions::has_taken(process);
  let_daemon_go_on();
  if (has_taken) {
    ::_exit(0);
  }
}

/// The process that asked for the upgrade has ended. It may have stopped the daemon after the successor had ended.
void upgrader_ended() {
  close_if_open(upgrader);
  if (upgrade == 0) {
    let_daemon_go_on();
  }
}

/// How the daemon ended.
struct End {
  bool asked = false;  // it ends because it was asked to
  int signal = 0;      // of a crash; 0: unknown
};

/// The next message of the daemon, or nothing.
End receive_end() {
  char message[kMessageBytes]{};
  // A daemon that ended before it read a message of this process leaves ECONNRESET before its own messages.
  const bool told = ::recv(kControl, message, sizeof(message), MSG_DONTWAIT) > 0 ||
                    (errno == ECONNRESET && ::recv(kControl, message, sizeof(message), MSG_DONTWAIT) > 0);
  return {.asked = told && message[0] == kEnding, .signal = told && message[0] == kCrash ? message[1] : 0};
}

/// Waits until the daemon's main thread has ended, or until a message says that the daemon ends. Serves upgrades
/// meanwhile, if `upgrades`.
End wait_for_end(bool upgrades) {
  constexpr timespec kAgain{.tv_sec = 1, .tv_nsec = 0};
  constexpr timespec kLook{.tv_sec = 0, .tv_nsec = kLookMs * 1'000'000L};
  sigset_t all_but_one;
  sigfillset(&all_but_one);
  sigdelset(&all_but_one, kWakeSignal);
  while (!has_ended(kMainThread)) {
    successions.look();
    if (upgrades && requests.listener() < 0) {
      requests.listen(connection);
    }
    pollfd waiting[]{{.fd = kEnded, .events = POLLIN, .revents = 0},
                     {.fd = kControl, .events = POLLIN, .revents = 0},
                     {.fd = requests.listener(), .events = POLLIN, .revents = 0},
                     {.fd = upgrade_end, .events = POLLIN, .revents = 0},
                     {.fd = upgrader, .events = 0, .revents = 0},
                     {.fd = requests.asking(), .events = POLLIN, .revents = 0}};
    const timespec* const limit = upgrade > 0 ? &kLook : upgrades && requests.listener() < 0 ? &kAgain : nullptr;
    if (::ppoll(waiting, 6, limit, &all_but_one) <= 0) {
      collect_upgrade();
      continue;
    }
    if (waiting[0].revents != 0 || (waiting[1].revents & POLLIN) != 0) {
      break;
    }
    collect_upgrade();
    if (waiting[4].revents != 0) {
      upgrader_ended();
    }
    if (waiting[5].revents != 0) {
      serve_upgrade();
    } else if (waiting[2].revents != 0) {
      requests.accept(upgrade == 0);
    }
  }
  requests.close();
  close_if_open(upgrader);
  if (upgrade > 0 && !Successions::is_replaced()) {  // only one daemon may go on
    ::kill(upgrade, SIGKILL);
    const long long killed = now_ms();
    while (::waitpid(upgrade, nullptr, WNOHANG) == 0 && !upgrade_lingers() && now_ms() - killed < kKilledMs) {
      (void)ends_within(upgrade_end, kLookMs);
    }
  }
  return receive_end();
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
  (void)wait_for_end(false);
  if (!ends_within(kEnded, kGraceMs)) {
    abort_connection();
  }
}

enum class Start { kDone, kFailed, kDied };

/// Collects a child process that ends, or was killed. False: it doesn't end within kKilledMs.
bool collect(pid_t child, int& status) {
  int process = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));  // -1: this process looks now and then
  const long long begin = now_ms();
  bool ended = false;
  while (!(ended = ::waitpid(child, &status, WNOHANG) == child) && now_ms() - begin < kKilledMs) {
    (void)ends_within(process, kLookMs);
  }
  close_if_open(process);
  return ended;
}

/// Waits until the successor has a keeper, or ends. If it crashes, sets `signal`.
Start wait_for_successor(int control, pid_t child, int& signal) {
  pollfd waiting{.fd = control, .events = POLLIN, .revents = 0};
  char message[kMessageBytes]{};
  int status = 0;
  // The socket ends with the successor.
  const bool came = ::poll(&waiting, 1, kStartMs) == 1;
  while (came && ::recv(control, message, sizeof(message), 0) > 0) {
    if (message[0] == kReplaced) {
      return Start::kDone;
    }
    if (message[0] == kCrash) {
      ::kill(child, SIGKILL);  // it may write a core file for long
      (void)collect(child, status);
      signal = message[1];
      return Start::kDied;
    }
  }
  if (!came) {
    ::kill(child, SIGKILL);
  }
  if (!collect(child, status)) {
    ::kill(child, SIGKILL);  // it has closed the socket, but may still run
    (void)collect(child, status);
    return Start::kFailed;
  }
  if (!came || !WIFSIGNALED(status)) {
    return Start::kFailed;
  }
  signal = WTERMSIG(status) == SIGKILL ? 0 : WTERMSIG(status);
  return Start::kDied;
}

/// `ended`: when the daemon ended, in nanoseconds.
Start start_successor(End& end, long long ended) {
  set_variable(end.signal, ended);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return Start::kFailed;
  }
  const pid_t keeper = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    if (successions.is_backed()) {  // pkgfs-keeperd starts another one if this process is killed, too
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    if (!successions.is_backed() || ::getppid() == keeper) {
      become_successor(ends[1], kProgram);
    }
    ::_exit(127);
  }
  ::close(ends[1]);
  const Start start = child > 0 ? wait_for_successor(ends[0], child, end.signal) : Start::kFailed;
  ::close(ends[0]);
  return start;
}

void prepare() {
  watch_parent();
  std::signal(SIGCHLD, SIG_DFL);                             // NOLINT(cert-err33-c): waitpid() needs it
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);  // other processes may wait for the end of the output
  for (int stream = 0; stream < kControl; ++stream) {
    ::dup2(null, stream);
  }
  ::close(null);
}

}  // namespace

int main(int argc, char** argv) {
  const Told told = read_command_line(argc, argv, containers);
  if (told == Told::kNothing) {
    std::fputs("pkgfs-keeper: \"pkgfs mount\" starts this program; it isn't for use by hand\n", stderr);
    return 2;
  }
  connection = argv[3];
  mountpoint = argv[4];
  arguments = argv + 5;
  prepare();
  if (told == Told::kLater) {
    Successions::forget_variables();  // they aren't of this keeper's daemon
    if (!receive_description(argv, containers)) {
      return 0;  // the daemon has ended before it had a mount
    }
  }
  protection.ask();
  haste.begin();  // not earlier: this process would take the CPU from the daemon that makes the mount
  successions.map(containers);
  requests.listen(connection);  // first: a process that sees this keeper may ask at once
  const char ready[kMessageBytes]{kReady, 0};
  (void)::send(kControl, ready, sizeof(ready), MSG_NOSIGNAL);
  End how = wait_for_end(true);
  if (how.asked) {
    guard_the_end();
    return 0;
  }
  for (int failures = 0, deaths = 0; failures < kMostFailures && deaths < kMostDeaths && !is_unmounted();) {
    if (!successions.claim()) {
      return Successions::is_replaced() ? 1 : 0;  // 1: pkgfs-keeperd doesn't go on to hold what it has of the mount
    }
    const Start start = start_successor(how, now_ns());
    if (start == Start::kDone) {
      return 0;
    }
    if (start == Start::kFailed && ++failures < kMostFailures) {
      (void)ends_within(-1, kFailurePauseMs);
    }
    deaths += start == Start::kDied ? 1 : 0;
  }
  if (!is_unmounted()) {
    ::openlog("pkgfs", LOG_PID, LOG_DAEMON);
    ::syslog(LOG_ERR, "the mount of \"%s\" ends: its daemon was killed, and no other one could be started", mountpoint);
  }
  abort_connection();
  return 1;
}
