// SPDX-License-Identifier: MIT
#include "daemon/mount/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/system_limits.h"
#include "daemon/keeper/protocol.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr int kKeeperStartMs = 2000;
constexpr int kLetGoMs = 1000;

/// The words of this process's command line.
std::vector<std::string> own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

/// File actions of posix_spawn(3) that give the child process `descriptors` as the numbers from 3 on.
class Actions {
 public:
  /// Throws Error if no descriptor is free.
  explicit Actions(const std::vector<int>& descriptors) {
    ::posix_spawn_file_actions_init(&actions_);
    // Copies with numbers above those that the child process uses, so that no action overwrites a source.
    const int above = keeper::kControl + static_cast<int>(descriptors.size());
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      copies_.emplace_back(::fcntl(descriptors[i], F_DUPFD_CLOEXEC, above));
      if (!copies_.back()) {
        const int error = errno;
        ::posix_spawn_file_actions_destroy(&actions_);
        throw system_error("a file descriptor can't be passed on", error);
      }
      ::posix_spawn_file_actions_adddup2(&actions_, copies_.back().get(), keeper::kControl + static_cast<int>(i));
    }
    // Those that libraries left open.
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, above);
  }
  ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
  std::vector<UniqueFd> copies_;
};

/// Returns 0 and sets `child`, or an errno number.
int spawn(const std::string& program, std::vector<std::string> words, const Actions& actions, pid_t& child) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  // A process that ignores SIGCHLD, which is inherited, can't wait for its children.
  std::signal(SIGCHLD, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
  return ::posix_spawn(&child, program.c_str(), actions.get(), nullptr, arguments.data(), environ);
}

bool receive(int socket, keeper::Message expected, int limit_ms) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  std::array<char, keeper::kMessageBytes> message{};
  return ::poll(&waiting, 1, limit_ms) == 1 && ::recv(socket, message.data(), message.size(), MSG_DONTWAIT) > 0 &&
         message[0] == expected;
}

}  // namespace

std::string keeper_program() {
  std::error_code failed;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  for (const std::filesystem::path& directory : {own, own.parent_path() / "libexec" / "pkgfs"}) {
    if (std::string path = (directory / keeper::kName).string(); !failed && ::access(path.c_str(), X_OK) == 0) {
      return path;
    }
  }
  return {};
}

Keeper::~Keeper() { end(); }

void Keeper::end() {
  if (child_) {
    crashes_.stop();
    end_child_process(child_.get(), id_);
    child_.reset();
    control_.reset();
  }
}

std::string Keeper::replace() {
  constexpr int kMost = 600;
  constexpr auto kWithin = std::chrono::minutes(1);
  const auto now = std::chrono::steady_clock::now();
  if (now - counted_since_ > kWithin) {
    counted_since_ = now;
    replaced_ = 0;
  }
  if (++replaced_ > kMost) {
    end();
    return "the keeper process ends again and again";
  }
  return start();
}

std::string Keeper::start() {
  end();
  const std::string program = keeper_program();
  if (program.empty()) {
    return std::string("there is no program \"") + keeper::kName + "\" beside pkgfs";
  }
  try {
    const Contents contents = make_();
    UniqueFd abort_file = open_abort_file(connection_);
    if (!abort_file) {
      abort_file.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    }
    const UniqueFd executable(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    const UniqueFd own_end = open_process(::getpid());
    const UniqueFd main_thread = open_main_thread(::getpid());
    std::array<int, 2> ends{};
    if (!executable || !own_end || !main_thread || !abort_file ||
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      return system_error("the keeper can't watch the daemon", errno).message();
    }
    UniqueFd mine(ends[0]);
    const UniqueFd keepers(ends[1]);
    std::vector<int> descriptors{keepers.get(),         device_,          abort_file.get(),
                                 contents.record.get(), executable.get(), contents.state.get(),
                                 own_end.get(),         main_thread.get()};
    descriptors.insert(descriptors.end(), contents.containers.begin(), contents.containers.end());
    std::vector<std::string> words{keeper::kName, std::to_string(contents.containers.size())};
    for (std::string& word : own_command_line()) {
      words.push_back(std::move(word));
    }
    if (const int error = spawn(program, std::move(words), Actions(descriptors), id_); error != 0) {
      return start_error("no process can be started", error).message();
    }
    child_ = open_process(id_);
    if (!child_ || !receive(mine.get(), keeper::kReady, kKeeperStartMs)) {
      if (child_) {
        end_child_process(child_.get(), id_);
      }
      child_.reset();
      return "the keeper process does not start";
    }
    control_ = std::move(mine);
    crashes_.start(UniqueFd(::fcntl(control_.get(), F_DUPFD_CLOEXEC, 0)));
    return {};
  } catch (const Error& error) {
    return error.message();
  }
}

void Keeper::let_go() {
  if (!child_) {
    return;
  }
  crashes_.stop();
  const std::array<char, keeper::kMessageBytes> message{keeper::kEnding, 0};
  if (::send(control_.get(), message.data(), message.size(), MSG_NOSIGNAL) > 0) {
    (void)receive(control_.get(), keeper::kLetGo, kLetGoMs);
  }
}

}  // namespace pkgfs
