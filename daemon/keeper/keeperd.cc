// SPDX-License-Identifier: MIT
//
// pkgfs-keeperd: one process of a machine, or of a container. It holds what the keepers of mounts hold, for the case
// that a daemon and its keeper are killed at once, for example with their control group.
//
// A daemon registers its mount over a Unix socket (registration.h). Only processes of the same user may do that: this
// process starts the programs that they name. When the keeper of a mount has ended and its daemon, too, this process
// starts another keeper with the same descriptors. That keeper starts the successor, which registers again.
//
// It reads nothing from the descriptors that it holds, except from files of /proc: a client that passes other files, or
// that sends nothing, must not make it wait. It needs nothing but the C library.

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "daemon/keeper/held_mount.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/registration.h"

namespace {

using namespace pkgfs::keeper;

constexpr std::size_t kMostMounts = 4096;
/// Connections that have registered nothing yet.
constexpr std::size_t kMostStrangers = 64;
constexpr long long kRegisterMs = 5000;
/// How often it looks whether a daemon without a keeper has ended.
constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 20'000'000};

void reply(Mount& mount, Reply what) {
  const char text = what;
  if (::send(mount.connection, &text, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1 || what != kHeld) {
    end_connection(mount);
  }
}

void registered(Mount& mount) {
  if (!are_safe(mount.coming) || !is_named(mount.coming.all[kHeldArguments], "/memfd:")) {
    reply(mount, kWrong);
    return;
  }
  const auto is_other = [&mount](const Mount& other, const Descriptors& ours) {
    return &other != &mount && other.held.count > 0 && is_same(other.held, ours);
  };
  Mount* before = nullptr;  // of a pending registration
  for (Mount* other = mount.pending ? mounts : nullptr; other != nullptr; other = other->next) {
    before = other->before == nullptr && is_other(*other, mount.coming) ? other : before;
  }
  if (mount.pending && before == nullptr) {
    reply(mount, kWrong);
    return;
  }
  forget(mount);
  mount.held = mount.coming;
  mount.coming = {};
  for (Mount* other = mounts; other != nullptr; other = other->next) {
    if (other != before && is_other(*other, mount.held)) {
      forget(*other);
      end_connection(*other);
    }
  }
  mount.before = before;
  reply(mount, kHeld);
}

/// Takes one message of a client.
void receive(Mount& mount) {
  Registration text;
  iovec bytes{&text, sizeof(text)};
  alignas(cmsghdr) static char space[CMSG_SPACE(kDescriptorsAtOnce * sizeof(int))];
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = space;
  header.msg_controllen = sizeof(space);
  const ssize_t size = ::recvmsg(mount.connection, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  int received[kDescriptorsAtOnce];
  std::size_t count = 0;
  const cmsghdr* const first = size < 0 ? nullptr : CMSG_FIRSTHDR(&header);
  if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS) {
    count = (first->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(received, CMSG_DATA(first), count * sizeof(int));
  }
  const bool is_whole = size == static_cast<ssize_t>(sizeof(text)) && text.version == kRegistrationVersion &&
                        (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0;
  bool fits = is_whole;
  if (is_whole && text.kind != kEnds && mount.coming.expected == 0) {
    mount.pending = text.kind == kPending;
    fits = text.descriptors >= kHeldContainers && text.descriptors <= kHeldContainers + kMostContainers &&
           mount.coming.expect(text.descriptors);
    mount.deadline = mount.held.count == 0 ? now_ms() + kRegisterMs : mount.deadline;
  }
  fits = fits && text.kind <= kPending && count <= mount.coming.expected - mount.coming.count &&
         (count > 0 || text.kind == kEnds);
  for (std::size_t i = 0; i < count; ++i) {
    if (fits) {
      mount.coming.all[mount.coming.count++] = received[i];
    } else {
      ::close(received[i]);
    }
  }
  if (size <= 0) {
    end_connection(mount);
  } else if (!fits) {
    reply(mount, (header.msg_flags & MSG_CTRUNC) != 0 ? kTooMany : kWrong);  // truncated: no descriptor was free
  } else if (text.kind == kEnds) {
    forget(mount);
    reply(mount, kHeld);
  } else if (mount.coming.count == mount.coming.expected) {
    registered(mount);
  }
}

void accept_client(int listener) {
  const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection < 0) {
    constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 20'000'000};
    ::nanosleep(&kPause, nullptr);  // no descriptor is free
    return;
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  std::size_t all = 0;
  std::size_t strangers = 0;
  for (const Mount* each = mounts; each != nullptr; each = each->next) {
    ++all;
    strangers += each->held.count == 0 ? 1 : 0;
  }
  const bool is_own = ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
  auto* const mount = is_own && all < kMostMounts && strangers < kMostStrangers
                          ? static_cast<Mount*>(std::malloc(sizeof(Mount)))
                          : nullptr;
  if (mount == nullptr) {
    const char text = is_own ? kTooMany : kWrong;
    (void)::send(connection, &text, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    ::close(connection);
    return;
  }
  *mount = Mount{};
  mount->connection = connection;
  mount->deadline = now_ms() + kRegisterMs;
  mount->next = mounts;
  mounts = mount;
}

void remove_the_forgotten() {
  for (Mount** each = &mounts; *each != nullptr;) {
    Mount* const mount = *each;
    if (mount->held.count == 0 && mount->deadline != 0 && now_ms() >= mount->deadline) {
      end_connection(*mount);
    }
    if (mount->connection < 0 && mount->held.count == 0) {
      *each = mount->next;
      mount->coming.clear();
      std::free(mount);
    } else {
      each = &mount->next;
    }
  }
}

[[noreturn]] void serve(int listener) {
  pollfd* waiting = nullptr;
  std::size_t room = 0;
  sigset_t none;
  sigemptyset(&none);
  while (true) {
    std::size_t needed = 1;
    bool soon = false;
    collect_children();
    for (Mount* each = mounts; each != nullptr; each = each->next) {
      soon = look_after(*each) || each->deadline != 0 || soon;
      needed += 2;
    }
    remove_the_forgotten();
    if (needed > room) {
      auto* const more = static_cast<pollfd*>(std::realloc(waiting, 2 * needed * sizeof(pollfd)));
      if (more == nullptr) {
        std::abort();
      }
      waiting = more;
      room = 2 * needed;
    }
    std::size_t count = 0;
    waiting[count++] = {.fd = listener, .events = POLLIN, .revents = 0};
    for (const Mount* each = mounts; each != nullptr; each = each->next) {
      const bool acts = each->held.count > 0 && !each->orphaned && each->before == nullptr;
      const int process = acts ? each->held.all[kHeldKeeper] : -1;
      waiting[count++] = {.fd = each->connection, .events = POLLIN, .revents = 0};
      waiting[count++] = {.fd = process, .events = POLLIN, .revents = 0};
    }
    // SIGCHLD is let through only here.
    if (::ppoll(waiting, count, soon ? &kLook : nullptr, &none) <= 0) {
      continue;
    }
    std::size_t at = 1;
    for (Mount* each = mounts; each != nullptr; each = each->next, at += 2) {
      if (waiting[at].revents != 0 && each->connection == waiting[at].fd) {
        receive(*each);
      }
    }
    if (waiting[0].revents != 0) {
      accept_client(listener);
    }
  }
}

/// The path of the socket. False: there is none.
bool find_socket(int argc, char** argv, char* path, std::size_t size) {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  const char* const named = argc == 2 ? argv[1] : std::getenv(kSocketVariable);
  int length = 0;
  if (named != nullptr) {
    length = std::snprintf(path, size, "%s", named);
  } else if (::geteuid() == 0) {
    length = std::snprintf(path, size, "%s", kSystemSocket);
  } else if (runtime != nullptr) {
    length = std::snprintf(path, size, "%s/%s", runtime, kUserSocket);
  }
  return length > 0 && static_cast<std::size_t>(length) < size && path[0] == '/';
}

[[noreturn]] void fail(const char* what, const char* path) {
  std::fprintf(stderr, "pkgfs-keeperd: %s \"%s\": %s\n", what, path, std::strerror(errno));
  std::exit(1);
}

/// Listens at `path`. A socket that no process listens at is removed first.
int listen_at(const sockaddr_un& address) {
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int probe = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || probe < 0) {
    fail("no socket for", address.sun_path);
  }
  if (::connect(probe, name, sizeof(address)) == 0 || errno == EAGAIN) {
    errno = EADDRINUSE;
    fail("another process listens at", address.sun_path);
  }
  if (errno == ECONNREFUSED) {
    ::unlink(address.sun_path);
  }
  ::close(probe);
  const mode_t before = ::umask(0177);  // others can't connect
  if (::bind(listener, name, sizeof(address)) != 0 || ::listen(listener, SOMAXCONN) != 0) {
    fail("unable to listen at", address.sun_path);
  }
  ::umask(before);  // daemons inherit it, and make directories
  return listener;
}

void find_keeper_program() {
  const ssize_t size = ::readlink("/proc/self/exe", keeper_program, sizeof(keeper_program) - 32);
  char* const slash =
      size > 0 ? static_cast<char*>(::memrchr(keeper_program, '/', static_cast<std::size_t>(size))) : nullptr;
  if (slash == nullptr) {
    fail("unable to find the program", kName);
  }
  std::strcpy(slash + 1, kName);
  if (::access(keeper_program, X_OK) != 0) {
    fail("unable to run", keeper_program);
  }
}

}  // namespace

int main(int argc, char** argv) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (argc > 2 || (argc == 2 && argv[1][0] != '/') ||
      !find_socket(argc, argv, address.sun_path, sizeof(address.sun_path))) {
    std::fputs("usage: pkgfs-keeperd [SOCKET], where SOCKET is an absolute path of at most 107 bytes\n", stderr);
    return 2;
  }
  find_keeper_program();
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &children, nullptr);
  struct sigaction wake{};
  wake.sa_handler = [](int) {};
  ::sigaction(SIGCHLD, &wake, nullptr);
  ::openlog(kKeeperdName, LOG_PID, LOG_DAEMON);
  const int listener = listen_at(address);
  (void)!::chdir("/");
  protection.ask();
  serve(listener);
}
