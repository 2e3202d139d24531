// SPDX-License-Identifier: MIT
#include "daemon/mount/upgrade.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/socket_message.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/mount_probe.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kPrepareMs = 30'000;
constexpr int kServeMs = 5'000;
/// For the mount, to answer with the new daemon: other processes may have the CPU.
constexpr std::chrono::seconds kAnswerLimit{5};
/// Each thread stops when the scheduler lets it run the next time.
constexpr auto kTakeoverStopLimit = std::chrono::seconds(2);
/// For the new daemon and the keeper of the old one, together.
constexpr auto kEndLimit = std::chrono::seconds(1);
constexpr auto kStopPause = std::chrono::milliseconds(1);
/// For a daemon that serves, but whose keeper has only just been started.
constexpr auto kKeeperLimit = std::chrono::seconds(2);
constexpr auto kKeeperPause = std::chrono::milliseconds(5);
/// For a keeper, to read what it is asked: it may be stopped.
constexpr std::chrono::seconds kAskLimit{2};
/// For a keeper that closes its connections, because it is being replaced or serves another upgrade.
constexpr auto kAskAgainLimit = std::chrono::seconds(5);

/// Whether every thread of the process has stopped, or waits for a disk. A thread that still runs could take a request.
bool has_stopped(pid_t process) {
  std::error_code failed;
  for (const auto& task : stdfs::directory_iterator("/proc/" + std::to_string(process) + "/task", failed)) {
    const UniqueFd stat(::open((task.path() / "stat").c_str(), O_RDONLY | O_CLOEXEC));
    if (std::string_view("TtDZX").find(keeper::thread_state(stat.get())) == std::string_view::npos) {
      return false;
    }
  }
  return !failed;
}

/// Nothing if the process has ended.
std::optional<pid_t> parent_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string word; file >> word;) {
    if (pid_t parent = 0; word == "PPid:" && file >> parent) {
      return parent;
    }
  }
  return std::nullopt;
}

/// A connection to the keeper of a mount.
struct KeeperConnection {
  UniqueFd socket;
  pid_t keeper = 0;
};

/// Whether a keeper is there, or is being started.
bool is_kept(const MountStatus& mount) {
  const auto kept = mount.statistics.is_object() ? mount.statistics.find("kept") : mount.statistics.end();
  return kept != mount.statistics.end() && kept->is_boolean() && kept->get<bool>();
}

/// Throws Error. Another user's process may listen at the address of a keeper: it must be one of the mount's user.
KeeperConnection connect_to_keeper(const MountStatus& mount) {
  const std::string name = keeper::kAddress + connection_of(mount.entry.device);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = kAskLimit.count(), .tv_usec = 0};  // a keeper that is stopped has a short queue
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  const auto deadline = Clock::now() + (is_kept(mount) ? kKeeperLimit : Clock::duration::zero());
  while (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    if (const int errnum = errno; errnum != ECONNREFUSED || Clock::now() >= deadline) {
      throw system_error("It has no keeper (--keeper), or its keeper can't be reached", errnum);
    }
    std::this_thread::sleep_for(kKeeperPause);
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != user_of(mount.entry) ||
      peer.pid == 0) {
    throw Error(ErrorCode::kPermission, "the process at the address of its keeper isn't of its user, or is elsewhere");
  }
  return {std::move(socket), peer.pid};
}

/// Sends kUpgrade with two descriptors. False, with errno: that failed.
bool send_upgrade(int socket, int program, int control) {
  std::array<char, keeper::kMessageBytes> text{keeper::kUpgrade, 0};
  SocketMessage message(text);
  message.attach(std::array{program, control});
  return ::sendmsg(socket, message.header(), MSG_NOSIGNAL) > 0;
}

/// Waits until the keeper reads what was sent to it. False: it has closed the connection instead. Throws Error if it
/// does neither in time.
bool is_read(int socket) {
  const auto deadline = Clock::now() + kAskLimit;
  for (int unread = 0; ::ioctl(socket, SIOCOUTQ, &unread) == 0 && unread > 0; std::this_thread::sleep_for(kStopPause)) {
    if (Clock::now() >= deadline) {
      throw Error(ErrorCode::kBusy, "its keeper doesn't answer: it may have been stopped (SIGSTOP)");
    }
  }
  int failed = 0;
  socklen_t size = sizeof(failed);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 && failed == 0;
}

/// Whether something comes within this time, or the other process ends.
bool is_readable(int socket, int limit_ms) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, limit_ms) == 1;
}

/// Waits for `expected`. Returns the process that sent it, as the kernel names it; nothing if another message came,
/// none in time, or the process has ended. `socket` has SO_PASSCRED.
/// `descriptor` gets the one that came with it, if one did.
std::optional<pid_t> sender_of(int socket, keeper::Message expected, int limit_ms, UniqueFd& descriptor) {
  std::array<char, keeper::kMessageBytes> text{};
  SocketMessage message(text);
  message.make_room();
  ucred sender{};
  const bool came = is_readable(socket, limit_ms) &&
                    ::recvmsg(socket, message.header(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC) > 0 &&
                    message.received(SCM_CREDENTIALS, sender) && text[0] == expected;
  if (int received = -1; message.received(SCM_RIGHTS, received)) {
    descriptor.reset(received);
  } else {
    message.close_descriptors();
  }
  return came ? std::optional(sender.pid) : std::nullopt;
}

/// The replacement of one daemon.
class Upgrade {
 public:
  explicit Upgrade(const MountStatus& mount) : mount_(mount) {}
  ~Upgrade() {
    if (is_stopped_) {
      (void)go_back();
    }
  }
  Upgrade(const Upgrade&) = delete;
  Upgrade& operator=(const Upgrade&) = delete;

  /// Lets the keeper start the new daemon, and waits until that can go on with the mount. Throws Error, also if this
  /// process may not replace the daemon.
  void prepare() {
    std::array<int, 2> ends{};
    const UniqueFd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    if (!program || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw system_error(kNotStarted, errno);
    }
    control_.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    const int yes = 1;
    if (::setsockopt(control_.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) != 0) {
      throw system_error(kNotStarted, errno);
    }
    ask(program.get(), theirs.get());
    theirs.reset();  // so that the end of the new daemon is seen
    const std::optional<pid_t> sender = sender_of(control_.get(), keeper::kPrepared, kPrepareMs, state_);
    if (!sender) {
      throw Error(ErrorCode::kMount, "the new daemon can't go on with the mount; the system's log says why");
    }
    successor_id_ = *sender;
    successor_ = open_process(successor_id_);
    successor_main_ = open_main_thread(successor_id_);
    if (!state_ || !successor_ || !successor_main_) {
      throw Error(ErrorCode::kMount, "the new daemon can't be watched");
    }
  }

  /// Lets the new daemon serve instead of the old one.
  void switch_over() {
    stop();
    if (is_over(keeper_)) {  // what it holds isn't what the mount has open
      throw Error(ErrorCode::kBusy, "the mount has changed meanwhile (a refresh); try again");
    }
    if (!send_message(control_.get(), keeper::kGo, keeper_.get()) || !receive(keeper::kServing, kServeMs) ||
        !answers()) {
      throw Error(ErrorCode::kMount, "the mount doesn't answer with the new daemon; the old one goes on");
    }
    if (!send(keeper::kChecked) || (!receive(keeper::kReplaced, kServeMs) && !has_replaced() && go_back())) {
      throw Error(ErrorCode::kMount, "the new daemon has ended although it served the mount; the old one goes on");
    }
    is_stopped_ = false;
  }

 private:
  static constexpr const char* kNotStarted = "The new daemon can't be started";

  /// Asks the keeper of the mount to start `program`. A keeper may close the connection before it is asked: it ends, it
  /// serves another upgrade, or it is of an older version, which waits for the question for a moment only.
  void ask(int program, int control) {
    for (const auto deadline = Clock::now() + kAskAgainLimit;;) {
      find_processes();
      const bool is_sent = send_upgrade(connection_.socket.get(), program, control);
      if (const int errnum = errno; !is_sent && errnum != EPIPE && errnum != ECONNRESET) {
        throw system_error(kNotStarted, errnum);
      }
      if (is_sent && is_read(connection_.socket.get())) {
        return;
      }
      if (Clock::now() >= deadline) {
        throw Error(ErrorCode::kBusy, "its keeper closes each connection: another upgrade of it may be under way");
      }
      std::this_thread::sleep_for(kKeeperPause);
    }
  }

  void find_processes() {
    connection_ = connect_to_keeper(mount_);
    const std::optional<pid_t> parent = parent_of(connection_.keeper);
    daemon_id_ = parent.value_or(0);
    daemon_ = open_process(daemon_id_);
    keeper_ = open_process(connection_.keeper);
    if (!daemon_ || !keeper_) {
      throw Error(ErrorCode::kMount, "its processes can't be found");
    }
    if (mount_.pid() != parent) {
      throw Error(ErrorCode::kMount, "its daemon was replaced meanwhile (try again), or is in another PID namespace");
    }
  }

  bool send(keeper::Message message) const { return send_message(control_.get(), message); }
  bool receive(keeper::Message message, int limit_ms) const {
    return receive_message(control_.get(), message, limit_ms);
  }

  /// Whether the process of a pidfd has ended.
  [[nodiscard]] static bool is_over(const UniqueFd& process) { return keeper::ends_within(process.get(), 0); }
  /// Whether the old daemon has ended, by itself or because the new one has killed it.
  [[nodiscard]] bool has_ended() const { return is_over(daemon_); }

  /// Stops the old daemon.
  void stop() {
    is_stopped_ = true;
    signal_process(daemon_, SIGSTOP);
    const auto deadline = Clock::now() + kTakeoverStopLimit;
    while (!has_ended() && !has_stopped(daemon_id_)) {
      if (Clock::now() >= deadline) {
        throw Error(ErrorCode::kMount, "the old daemon doesn't stop");
      }
      std::this_thread::sleep_for(kStopPause);
    }
  }

  /// Whether the new daemon has noted that it has replaced the old one.
  [[nodiscard]] bool has_replaced() const {
    std::uint32_t by = 0;
    return ::pread(state_.get(), &by, sizeof(by), keeper::kReplacedBy) == sizeof(by) && by != 0;
  }

  static void wait_for(const UniqueFd& process, Clock::time_point deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    (void)keeper::ends_within(process.get(), static_cast<int>(std::max<std::int64_t>(left, 0)));
  }

  /// The new daemon ends. Returns whether the old one goes on: the new one may have replaced it. Its keeper lets it go
  /// on, and ends. Then the old daemon starts another keeper, and takes back the requests that the new one has taken.
  bool go_back() {
    is_stopped_ = false;
    signal_process(successor_, SIGKILL);
    const auto deadline = Clock::now() + kEndLimit;
    wait_for(successor_, deadline);
    wait_for(keeper_, deadline);
    if (has_replaced()) {
      signal_process(daemon_, SIGKILL);
      return false;
    }
    // Until the new daemon can't replace it any more, only a keeper may let the old one go on.
    if (keeper::has_ended(successor_main_.get())) {
      signal_process(daemon_, SIGCONT);  // in case the keeper was killed
      signal_process(keeper_, SIGKILL);
    }
    return true;
  }

  /// Whether the new daemon answers requests to the mount.
  [[nodiscard]] bool answers() const {
    const std::vector<MountStatus> asked = ask_mounts({mount_.entry}, kAnswerLimit);
    const MountStatus& now = asked.front();
    // A user's mount that isn't for others doesn't tell root more than that it answers.
    return now.state == MountState::kLive && (!now.statistics.is_object() || now.pid() == successor_id_);
  }

  const MountStatus& mount_;
  KeeperConnection connection_;
  pid_t daemon_id_ = 0;
  UniqueFd daemon_;
  UniqueFd keeper_;
  UniqueFd control_;
  pid_t successor_id_ = 0;
  UniqueFd successor_;
  UniqueFd successor_main_;  // of keeper::thread_state
  UniqueFd state_;           // of the old daemon: keeper::kReplacedBy is in it
  bool is_stopped_ = false;
};

}  // namespace

UpgradeState upgrade_state(const MountStatus& mount) {
  if (mount.state != MountState::kLive || !mount.pid()) {
    return {.is_current = false, .obstacle = "it is " + std::string(to_string(mount.state)) + ", or of another user"};
  }
  struct stat theirs{};
  struct stat ours{};
  const std::string program = "/proc/" + std::to_string(*mount.pid()) + "/exe";
  if (::stat(program.c_str(), &theirs) != 0 || ::stat("/proc/self/exe", &ours) != 0) {
    return {.is_current = false, .obstacle = "its process can't be seen: " + errno_text(errno)};
  }
  if (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino) {
    return {.is_current = true, .obstacle = {}};
  }
  return {};
}

void upgrade_mount(const MountStatus& mount) {
  Upgrade upgrade(mount);
  upgrade.prepare();
  upgrade.switch_over();
}

}  // namespace pkgfs
