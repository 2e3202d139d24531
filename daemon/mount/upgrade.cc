// SPDX-License-Identifier: MIT
#include "daemon/mount/upgrade.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/socket_message.h"
#include "daemon/mount/call_as_user.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/keeper_connection.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/mount/mount_status.h"

namespace pkgfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPrepareMs = 30'000;
constexpr int kServeMs = 5'000;
/// For the new daemon, to start its keeper and end the old one. It serves meanwhile.
constexpr int kReplacedMs = 20'000;
/// For the mount, to answer with the new daemon: other processes may have the CPU.
constexpr std::chrono::seconds kAnswerLimit{5};
/// Each thread stops when the scheduler lets it run the next time.
constexpr auto kTakeoverStopLimit = std::chrono::seconds(5);
/// For the new daemon and the keeper of the old one, together.
constexpr auto kEndLimit = std::chrono::seconds(1);
/// For the new daemon, to end after it was killed, if only this process is left to let the old one go on.
constexpr auto kLastLimit = std::chrono::seconds(10);
constexpr auto kStopPause = std::chrono::milliseconds(1);
constexpr auto kAskPause = std::chrono::milliseconds(5);
/// For the upgrade of another user's mount, with all its steps.
constexpr std::chrono::seconds kUserLimit{120};
/// For a keeper that closes its connections, because it is being replaced or serves another upgrade.
constexpr auto kAskAgainLimit = std::chrono::seconds(5);

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
    is_told_ = send_message(control_.get(), keeper::kGo, keeper_.get());
    if (!is_told_ || !receive(keeper::kServing, kServeMs) || !answers()) {
      throw Error(ErrorCode::kMount, "the mount doesn't answer with the new daemon; the old one goes on");
    }
    if ((!send(keeper::kChecked) || !receive(keeper::kReplaced, kReplacedMs)) && go_back()) {
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
      const bool is_found = find_processes();
      const bool is_sent = is_found && send_upgrade(connection_, program, control);
      if (const int errnum = errno; is_found && !is_sent && errnum != EPIPE && errnum != ECONNRESET) {
        throw system_error(kNotStarted, errnum);
      }
      if (is_sent && is_read(connection_)) {
        return;
      }
      if (Clock::now() >= deadline) {
        throw Error(ErrorCode::kBusy, is_found ? "its keeper closes each connection: another upgrade may be under way"
                                               : "its processes can't be found");
      }
      std::this_thread::sleep_for(kAskPause);
    }
  }

  /// Connects to the keeper. False: it has ended meanwhile.
  bool find_processes() {
    connection_ = connect_to_keeper(mount_);
    const std::optional<pid_t> parent = parent_of(connection_.keeper);
    daemon_id_ = parent.value_or(0);
    daemon_ = open_process(daemon_id_);
    keeper_ = open_process(connection_.keeper);
    if (!daemon_ || !keeper_) {
      return false;
    }
    if (mount_.pid() != parent) {
      throw Error(ErrorCode::kMount, "its daemon was replaced meanwhile (try again), or is in another PID namespace");
    }
    return true;
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

  /// Whether a new daemon has noted that it has replaced the old one.
  [[nodiscard]] bool has_replaced() const { return keeper::number_at(state_.get(), keeper::kReplacedBy) != 0; }
  /// Lets the old daemon go on, unless the new daemon of another upgrade serves: that upgrade decides then.
  void let_daemon_go_on() const {
    const auto taking = static_cast<pid_t>(keeper::number_at(state_.get(), keeper::kTaking));
    if (const UniqueFd other = open_process(taking); taking == successor_id_ || !other || is_over(other)) {
      signal_process(daemon_, SIGCONT);
    }
  }

  static void wait_for(const UniqueFd& process, Clock::time_point deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    (void)keeper::ends_within(process.get(), static_cast<int>(std::max<std::int64_t>(left, 0)));
  }

  /// The new daemon ends. Returns whether the old one goes on: the new one may have replaced it. Its keeper lets it go
  /// on, and ends. Then the old daemon starts another keeper, and takes back the requests that the new one has taken.
  bool go_back() {
    is_stopped_ = false;
    if (!is_told_) {  // the new daemon waits for that: it has taken nothing
      let_daemon_go_on();
      signal_process(successor_, SIGKILL);
      return true;
    }
    if (!has_replaced()) {
      signal_process(successor_, SIGKILL);
      const auto deadline = Clock::now() + kEndLimit;
      wait_for(successor_, deadline);
      wait_for(keeper_, deadline);
      // Without that keeper, only this process is left. What was killed and still has no CPU does nothing any more.
      for (const auto last = Clock::now() + kLastLimit;
           is_over(keeper_) && !keeper::has_ended(successor_main_.get()) && Clock::now() < last;) {
        std::this_thread::sleep_for(kStopPause);
      }
    }
    if (has_replaced()) {
      signal_process(daemon_, SIGKILL);
      return false;
    }
    // Until the new daemon can't replace it any more, only a keeper may let the old one go on.
    if (keeper::has_ended(successor_main_.get()) || is_over(keeper_)) {
      let_daemon_go_on();  // in case the keeper was killed
      signal_process(keeper_, SIGKILL);
    }
    return true;
  }

  /// Whether the new daemon answers requests to the mount.
  [[nodiscard]] bool answers() const {
    const std::vector<MountStatus> asked = ask_mounts({mount_.entry}, kAnswerLimit);
    const MountStatus& now = asked.front();
    // Of a mount that this process can't reach, it is known only that the mount is there.
    return now.state == MountState::kLive &&
           (now.pid() == successor_id_ || !(now.statistics.is_object() || mount_.statistics.is_object()));
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
  bool is_told_ = false;  // the new daemon, that it has the mount (keeper::kGo)
};

/// Whether the daemon of a mount runs this program already. Throws Error if it can't be replaced.
bool is_current(const MountStatus& mount) {
  if (mount.state != MountState::kLive || !mount.pid()) {
    throw Error(ErrorCode::kMount, "it is " + std::string(to_string(mount.state)) + ", or of another user");
  }
  struct stat theirs{};
  struct stat ours{};
  const std::string program = "/proc/" + std::to_string(*mount.pid()) + "/exe";
  if (::stat(program.c_str(), &theirs) != 0 || ::stat("/proc/self/exe", &ours) != 0) {
    throw system_error("its process can't be seen", errno);
  }
  return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

bool upgrade(const MountEntry& entry) {
  const MountStatus mount = ask_mounts({entry}, kAnswerLimit).front();
  if (is_current(mount)) {
    return false;
  }
  Upgrade upgrade(mount);
  upgrade.prepare();
  upgrade.switch_over();
  return true;
}

}  // namespace

bool upgrade_mount(const MountEntry& entry) {
  const uid_t user = user_of(entry).value_or(0);
  if (::geteuid() != 0 || user == 0) {
    return upgrade(entry);
  }
  return call_as_user(
             user, group_of(entry).value_or(user), [&entry] { return upgrade(entry) ? 1 : 0; }, kUserLimit) == 1;
}

}  // namespace pkgfs
