// SPDX-License-Identifier: MIT
#include "daemon/mount/upgrade.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/keeper/protocol.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/mount/mount_record.h"
#include "daemon/mount/spawn_with.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kPrepareMs = 30'000;
constexpr int kServeMs = 5'000;
constexpr auto kStopLimit = std::chrono::milliseconds(500);
constexpr auto kStopPause = std::chrono::milliseconds(1);

std::optional<pid_t> keeper_of(const MountStatus& mount) {
  const auto found = mount.statistics.is_object() ? mount.statistics.find("keeper") : mount.statistics.end();
  return mount.statistics.is_object() && found != mount.statistics.end() && found->is_number_integer()
             ? std::optional(found->get<pid_t>())
             : std::nullopt;
}

/// A duplicate of the descriptor `number` of another process. Throws Error.
UniqueFd take_descriptor(const UniqueFd& process, int number) {
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  if (!fd) {
    const int error = errno;
    throw system_error(error == EPERM ? "Only root, or the user whose daemon it is, can replace it"
                                      : "The keeper's descriptors can't be taken",
                       error);
  }
  return fd;
}

/// Whether every thread of the process has stopped, or waits for a disk. A thread that still runs could take a request.
bool has_stopped(pid_t process) {
  std::error_code failed;
  for (const auto& task : stdfs::directory_iterator("/proc/" + std::to_string(process) + "/task", failed)) {
    std::ifstream file(task.path() / "stat");
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::size_t name = text.rfind(')');
    if (name != std::string::npos && name + 2 < text.size() &&
        std::string_view("TtDZX").find(text[name + 2]) == std::string_view::npos) {
      return false;
    }
  }
  return !failed;
}

/// Moves `process` into the control groups of `model`, so far as this process may do that.
void join_groups(pid_t process, pid_t model) {
  std::ifstream file("/proc/" + std::to_string(model) + "/cgroup");
  for (std::string line; std::getline(file, line);) {  // "0::/path", or "4:memory:/path"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controller = line.substr(first + 1, second - first - 1);
    for (const std::string& root :
         {std::string("/sys/fs/cgroup/") + controller, std::string("/sys/fs/cgroup/unified")}) {
      std::ofstream(stdfs::path(root + line.substr(second + 1)) / "cgroup.procs") << process;
    }
  }
}

/// The replacement of one daemon.
class Upgrade {
 public:
  Upgrade(const MountStatus& mount, pid_t daemon, pid_t keeper)
      : mount_(mount), daemon_id_(daemon), daemon_(open_process(daemon)), keeper_(open_process(keeper)) {
    if (!daemon_ || !keeper_) {
      throw system_error("The daemon can't be replaced", errno);
    }
    const std::vector<std::string> words = command_line_of(keeper);
    const auto is_number = [&](const std::string& word) {
      return std::from_chars(word.data(), word.data() + word.size(), containers_).ec == std::errc();
    };
    if (words.size() < 2 || stdfs::path(words[0]).filename() != keeper::kName || !is_number(words[1])) {
      throw Error(ErrorCode::kMount, fmt::format("process {} isn't the keeper of the mount", keeper));
    }
  }
  ~Upgrade() {
    if (is_stopped_) {
      go_back();
    }
  }
  Upgrade(const Upgrade&) = delete;
  Upgrade& operator=(const Upgrade&) = delete;

  /// Starts the new daemon, and waits until it can go on with the mount.
  void prepare() {
    std::vector<UniqueFd> taken;
    for (int number = keeper::kDevice; number < keeper::kContainers + containers_; ++number) {
      taken.push_back(number == keeper::kProgram      ? UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))
                      : number == keeper::kEnded      ? open_process(daemon_id_)
                      : number == keeper::kMainThread ? open_main_thread(daemon_id_)
                                                      : take_descriptor(keeper_, number));
    }
    (void)MountRecord::read(taken[keeper::kRecord - keeper::kDevice].get());  // its error is the clearest
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw system_error("The daemon can't be replaced", errno);
    }
    control_.reset(ends[0]);
    const UniqueFd theirs(ends[1]);
    std::vector<int> descriptors{theirs.get()};
    for (const UniqueFd& fd : taken) {
      descriptors.push_back(fd.get());
    }
    std::vector<std::string> environment = environment_of(daemon_id_);
    std::erase_if(environment,
                  [](const std::string& word) { return word.starts_with(std::string(keeper::kVariable) + "="); });
    environment.push_back(handover_variable({.containers = containers_, .runs = true}));
    successor_id_ = spawn_with(descriptors, "/proc/self/exe", command_line_of(daemon_id_), &environment);
    join_groups(successor_id_, daemon_id_);
    device_ = std::move(taken.front());
    if (!receive(keeper::kPrepared, kPrepareMs)) {
      end_successor();
      throw Error(ErrorCode::kMount, "the new daemon can't go on with the mount; the system's log says why");
    }
  }

  /// Lets the new daemon serve instead of the old one.
  void switch_over() {
    stop();
    if (!send(keeper::kGo) || !receive(keeper::kServing, kServeMs) || !answers()) {
      throw Error(ErrorCode::kMount, "the mount doesn't answer with the new daemon; the old one goes on");
    }
    is_stopped_ = false;
    if (!send(keeper::kChecked) || !receive(keeper::kReplaced, kServeMs)) {
      throw Error(ErrorCode::kMount, "the new daemon ends although it served the mount");
    }
  }

 private:
  bool send(keeper::Message message) const { return send_message(control_.get(), message); }
  bool receive(keeper::Message message, int limit_ms) const {
    return receive_message(control_.get(), message, limit_ms);
  }

  /// Stops the old daemon. Its keeper must not take that for its end.
  void stop() {
    is_stopped_ = true;
    signal_process(daemon_, SIGSTOP);
    signal_process(keeper_, SIGKILL);
    const auto deadline = Clock::now() + kStopLimit;
    while (!has_stopped(daemon_id_)) {
      if (Clock::now() >= deadline) {
        throw Error(ErrorCode::kMount, "the old daemon doesn't stop");
      }
      std::this_thread::sleep_for(kStopPause);
    }
  }

  void end_successor() {
    ::kill(successor_id_, SIGKILL);
    (void)::waitpid(successor_id_, nullptr, 0);
  }

  /// The old daemon goes on; what the new one has taken comes to it again. It starts another keeper by itself.
  void go_back() {
    end_successor();
    signal_process(daemon_, SIGCONT);
    (void)fuse::ask_to_resend(device_.get());
  }

  /// Whether the new daemon answers requests to the mount.
  [[nodiscard]] bool answers() const {
    const std::vector<MountStatus> asked = ask_mounts({mount_.entry}, kProbeLimit);
    return asked.front().state == MountState::kLive && asked.front().pid() == successor_id_;
  }

  const MountStatus& mount_;
  pid_t daemon_id_;
  UniqueFd daemon_;
  UniqueFd keeper_;
  int containers_ = 0;
  UniqueFd control_;
  UniqueFd device_;
  pid_t successor_id_ = 0;
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
  return {.is_current = false, .obstacle = keeper_of(mount) ? "" : "it has no keeper (--keeper)"};
}

void upgrade_mount(const MountStatus& mount) {
  Upgrade upgrade(mount, mount.pid().value_or(0), keeper_of(mount).value_or(0));
  upgrade.prepare();
  upgrade.switch_over();
}

}  // namespace pkgfs
