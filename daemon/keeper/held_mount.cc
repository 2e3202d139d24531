// SPDX-License-Identifier: MIT
#include "daemon/keeper/held_mount.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <syslog.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "daemon/keeper/protocol.h"
#include "daemon/keeper/registration.h"

namespace pkgfs::keeper {

Mount* mounts = nullptr;
char keeper_program[4096];
Protection protection;

namespace {

/// How long a mount is held after its keeper has ended well: a successor registers meanwhile.
constexpr long long kHandedMs = 10'000;
constexpr int kMostStarts = 3;

}  // namespace

void end_connection(Mount& mount) {
  if (mount.connection >= 0) {
    ::close(mount.connection);
    mount.connection = -1;
  }
  mount.coming.clear();
}

void forget(Mount& mount) {
  mount.held.clear();
  mount.started = 0;
  mount.starts = 0;
  mount.deadline = 0;
  mount.orphaned = false;
  mount.before = nullptr;
  for (Mount* each = mounts; each != nullptr; each = each->next) {
    if (each->before == &mount) {
      forget(*each);
      end_connection(*each);
    }
  }
}

bool is_named(int descriptor, const char* begin) {
  char link[64];
  char text[256];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t size = ::readlink(link, text, sizeof(text));
  return size >= static_cast<ssize_t>(std::strlen(begin)) && std::memcmp(text, begin, std::strlen(begin)) == 0;
}

namespace {

bool is_process(int descriptor) { return is_named(descriptor, "anon_inode:[pidfd]") || is_named(descriptor, "pidfd:"); }

std::uint64_t file_system_of(int directory, const char* path, int flags) {
  struct statx status{};
  return ::statx(directory, path, flags | AT_STATX_DONT_SYNC, STATX_TYPE, &status) == 0
             ? ::makedev(status.stx_dev_major, status.stx_dev_minor)
             : 0;
}

}  // namespace

bool are_safe(const Descriptors& held) {
  constexpr unsigned kMisc = 10;
  constexpr unsigned kFuse = 229;
  struct statx device{};
  const std::uint64_t proc = file_system_of(AT_FDCWD, "/proc", 0);
  return ::statx(held.all[kHeldDevice], "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &device) == 0 &&
         S_ISCHR(device.stx_mode) && device.stx_rdev_major == kMisc && device.stx_rdev_minor == kFuse &&
         is_process(held.all[kHeldDaemon]) && is_process(held.all[kHeldKeeper]) && proc != 0 &&
         file_system_of(held.all[kHeldMainThread], "", AT_EMPTY_PATH) == proc;
}

namespace {

bool is_readable(int descriptor) {
  pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) == 1;
}

bool is_unmounted(const Mount& mount) {
  pollfd device{.fd = mount.held.all[kHeldDevice], .events = 0, .revents = 0};
  return ::poll(&device, 1, 0) == 1 && (device.revents & POLLERR) != 0;
}

/// Texts that end with a NUL each.
struct Texts {
  char* at;
  char* end;

  /// Null: there is none.
  char* next() {
    char* const text = at;
    void* const nul = at < end ? std::memchr(at, '\0', static_cast<std::size_t>(end - at)) : nullptr;
    if (nul == nullptr) {
      return nullptr;
    }
    at = static_cast<char*>(nul) + 1;
    return text;
  }
};

/// Runs in the child process. Starts the keeper of a mount as the daemon would have done.
[[noreturn]] void become_keeper(const Mount& mount) {
  protection.restore();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGCHLD, SIG_DFL);  // NOLINT(cert-err33-c)
  const Descriptors& held = mount.held;
  auto* const memory = static_cast<char*>(std::malloc(kMostArguments));
  auto** const words = static_cast<char**>(std::malloc((kMostArguments + 8) * sizeof(char*)));
  auto** const variables = static_cast<char**>(std::malloc((kMostArguments + 1) * sizeof(char*)));
  const ssize_t size = memory == nullptr ? -1 : ::pread(held.all[kHeldArguments], memory, kMostArguments, 0);
  if (size <= 0 || words == nullptr || variables == nullptr) {
    ::_exit(127);
  }
  // The number of the connection, the mount point, the number of words of the command line, the words, the environment.
  Texts texts{memory, memory + size};
  char* const connection = texts.next();
  char* const mountpoint = texts.next();
  char* const number = texts.next();
  if (number == nullptr) {
    ::_exit(127);
  }
  char version[16];
  char containers[16];
  const std::size_t count = held.count - kHeldContainers;
  std::snprintf(version, sizeof(version), "%d", kVersion);
  std::snprintf(containers, sizeof(containers), "%zu", count);
  std::size_t used = 0;
  for (char* const word : {const_cast<char*>(kName), version, containers, connection, mountpoint}) {
    words[used++] = word;
  }
  char* text = nullptr;
  for (long left = std::strtol(number, nullptr, 10); left > 0 && (text = texts.next()) != nullptr; --left) {
    words[used++] = text;
  }
  words[used] = nullptr;
  used = 0;
  while ((text = texts.next()) != nullptr) {
    variables[used++] = text;
  }
  variables[used] = nullptr;
  // In the order of Descriptor, with numbers above those at first.
  int control[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) {
    ::_exit(127);
  }
  const int above = kContainers + static_cast<int>(count);
  const auto source = [&](int target) {
    return target == kControl     ? control[0]
           : target < kContainers ? held.all[target - kDevice]
                                  : held.all[kHeldContainers + static_cast<std::size_t>(target - kContainers)];
  };
  auto* const copies = static_cast<int*>(std::malloc(static_cast<std::size_t>(above) * sizeof(int)));
  for (int target = kControl; copies != nullptr && target < above; ++target) {
    copies[target] = ::fcntl(source(target), F_DUPFD_CLOEXEC, above);
  }
  for (int target = kControl; copies != nullptr && target < above; ++target) {
    if (::dup2(copies[target], target) < 0) {
      ::_exit(127);
    }
  }
  (void)::close_range(static_cast<unsigned>(above), ~0U, 0);
  ::execve(keeper_program, words, variables);
  ::_exit(127);
}

/// In a child process: what the client passed may make a writer wait.
void abort_connection(const Mount& mount) {
  if (::fork() == 0) {
    (void)!::write(mount.held.all[kHeldAbort], "1", 1);
    ::_exit(0);
  }
}

/// Daemon and keeper have ended.
void start_keeper(Mount& mount) {
  if (is_unmounted(mount)) {
    forget(mount);
    return;
  }
  if (++mount.starts > kMostStarts) {
    ::syslog(LOG_ERR, "a mount ends: its daemon was killed, and no keeper could be started");
    abort_connection(mount);
    forget(mount);
    return;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    become_keeper(mount);
  }
  if (child < 0) {
    --mount.starts;  // there is no memory for a process: it tries again soon
    return;
  }
  mount.started = child;
}

/// A keeper that this process has started has ended.
void keeper_ended(Mount& mount, int status) {
  mount.started = 0;
  if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1) {
    start_keeper(mount);
  } else if (WEXITSTATUS(status) == 0) {
    mount.deadline = now_ms() + kHandedMs;  // a successor serves, and registers over a connection of its own
  } else {                                  // it has aborted the connection, or the daemon was replaced while it ran
    for (Mount* each = mounts; each != nullptr; each = each->next) {
      each->before = each->before == &mount ? nullptr : each->before;
    }
    forget(mount);
  }
}

}  // namespace

void collect_children() {
  int status = 0;
  for (pid_t child = 0; (child = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    for (Mount* each = mounts; each != nullptr; each = each->next) {
      if (each->started == child) {
        keeper_ended(*each, status);
      }
    }
  }
}

namespace {

/// The daemon runs, but its keeper has ended. It may have been stopped for an upgrade. If the new daemon and the keeper
/// of that one have ended, too, nothing else lets the daemon go on, or kills it if it was replaced.
void end_upgrade(const Mount& mount) {
  Mount* pending = mounts;
  while (pending != nullptr && pending->before != &mount) {
    pending = pending->next;
  }
  if (pending == nullptr || !is_readable(pending->held.all[kHeldKeeper]) ||
      !has_ended(pending->held.all[kHeldMainThread])) {
    return;
  }
  const int state = mount.held.all[kHeldState];
  // To read another file, this process may have to wait.
  const std::uint32_t replaced_by = is_named(state, "/memfd:") ? number_at(state, kReplacedBy) : 0;
  (void)::syscall(SYS_pidfd_send_signal, mount.held.all[kHeldDaemon], replaced_by != 0 ? SIGKILL : SIGCONT, nullptr, 0);
  if (replaced_by == 0) {
    forget(*pending);
    end_connection(*pending);
  }
}

}  // namespace

bool look_after(Mount& mount) {
  if (mount.held.count == 0 || mount.started > 0 || mount.before != nullptr) {
    return false;
  }
  if (mount.deadline != 0 && mount.orphaned) {
    if (now_ms() >= mount.deadline) {
      forget(mount);
    }
    return false;
  }
  mount.orphaned = mount.orphaned || is_readable(mount.held.all[kHeldKeeper]);
  if (mount.orphaned && has_ended(mount.held.all[kHeldMainThread])) {
    end_connection(mount);
    start_keeper(mount);
    return true;
  }
  if (mount.orphaned) {
    end_upgrade(mount);
  }
  return mount.orphaned;  // soon, the daemon either registers another keeper or ends
}

bool is_same(const Descriptors& one, const Descriptors& other) {
  char names[2][64]{};
  const Descriptors* const both[2]{&one, &other};
  for (int i = 0; i < 2; ++i) {
    (void)!::pread(both[i]->all[kHeldArguments], names[i], sizeof(names[i]) - 1, 0);
  }
  return names[0][0] != '\0' && std::strcmp(names[0], names[1]) == 0;
}

}  // namespace pkgfs::keeper
