// SPDX-License-Identifier: MIT
#include "daemon/mount/keeper.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/registration.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/mount_record.h"
#include "daemon/mount/spawn_with.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr int kKeeperStartMs = 2000;
constexpr int kLetGoMs = 1000;

/// The number of successors in the memory that outlives a daemon. `state`: of fuse::SharedState.
std::string successions_in(int state) {
  std::uint32_t number = 0;
  if (::pread(state, &number, sizeof(number), keeper::kSuccessions) != sizeof(number)) {
    throw system_error("the keeper can't know its number", errno);
  }
  return std::to_string(number);
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
    id_ = 0;
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
  std::string why = start();
  if (!why.empty()) {
    end();  // it has ended already
  }
  return why;
}

Keeper::Held Keeper::make_held() {
  Held held;
  held.contents = make_();
  if (!held.contents.requests) {
    held.contents.requests.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  held.abort_file = open_abort_file(connection_);
  can_abort_ = static_cast<bool>(held.abort_file);
  if (!held.abort_file) {
    held.abort_file.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  held.executable.reset(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  held.own_end = open_process(::getpid());
  held.main_thread = open_main_thread(::getpid());
  if (!held.executable || !held.own_end || !held.main_thread || !held.abort_file) {
    throw system_error("the keeper can't watch the daemon", errno);
  }
  held.descriptors = {device_,
                      held.abort_file.get(),
                      held.contents.record.get(),
                      held.executable.get(),
                      held.contents.state.get(),
                      held.contents.requests.get(),
                      held.own_end.get(),
                      held.main_thread.get()};
  return held;
}

std::string Keeper::start() {
  const std::string program = keeper_program();
  if (program.empty()) {
    return std::string("there is no program \"") + keeper::kName + "\" beside pkgfs";
  }
  try {
    const Held held = make_held();
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      return system_error("the keeper can't watch the daemon", errno).message();
    }
    UniqueFd mine(ends[0]);
    const UniqueFd keepers(ends[1]);
    std::vector<int> descriptors{keepers.get()};
    descriptors.insert(descriptors.end(), held.descriptors.begin(), held.descriptors.end());
    descriptors.insert(descriptors.end(), held.contents.containers.begin(), held.contents.containers.end());
    std::vector<std::string> words{keeper::kName, std::to_string(keeper::kVersion),
                                   std::to_string(held.contents.containers.size()), connection_, mountpoint_};
    for (std::string& word : command_line_of(::getpid())) {
      words.push_back(std::move(word));
    }
    // A process that ignores SIGCHLD, which is inherited, can't wait for its children.
    std::signal(SIGCHLD, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
    const pid_t id = spawn_with(descriptors, program, std::move(words),
                                keeper::kSuccessionsVariable + ("=" + successions_in(held.contents.state.get())));
    UniqueFd child = open_process(id);
    if (!child || !receive_message(mine.get(), keeper::kReady, kKeeperStartMs)) {
      ::kill(id, SIGKILL);  // nothing has waited for the child, so it has its number
      (void)::waitpid(id, nullptr, 0);
      return "the keeper process does not start";
    }
    const UniqueFd child_before = std::exchange(child_, std::move(child));
    const UniqueFd control_before =
        std::exchange(control_, std::move(mine));  // its end would tell of that of the daemon
    const pid_t id_before = id_.exchange(id);
    crashes_.start(UniqueFd(::fcntl(control_.get(), F_DUPFD_CLOEXEC, 0)));
    if (child_before) {
      end_child_process(child_before.get(), id_before);
      signal_process(child_, keeper::kWakeSignal);  // the address at which it listens is free now
    }
    return {};
  } catch (const Error& error) {
    return error.message();
  }
}

std::string Keeper::register_mount() {
  try {
    const Held held = make_held();
    const std::vector<std::string> words = command_line_of(::getpid());
    std::vector<std::string> texts{connection_, mountpoint_, std::to_string(words.size())};
    texts.insert(texts.end(), words.begin(), words.end());
    for (char** variable = environ; *variable != nullptr; ++variable) {  // NOLINT(concurrency-mt-unsafe)
      texts.emplace_back(*variable);
    }
    std::string text;
    for (const std::string& each : texts) {
      text += each + '\0';
    }
    if (text.size() > keeper::kMostArguments || held.contents.containers.size() > keeper::kMostContainers) {
      return "the mount has too many packages, or its daemon too long a command line";
    }
    const UniqueFd arguments = sealed_file("pkgfs-arguments", text, "Unable to describe the mount");
    std::vector<int> descriptors = held.descriptors;
    descriptors.push_back(arguments.get());
    descriptors.push_back(child_.get());
    descriptors.insert(descriptors.end(), held.contents.containers.begin(), held.contents.containers.end());
    std::string why = keeperd_->hold(descriptors);
    is_registered_ = why.empty();
    return why;
  } catch (const Error& error) {
    return error.message();
  }
}

void Keeper::let_go() {
  if (keeperd_) {
    keeperd_->let_go();
  }
  if (!child_) {
    return;
  }
  crashes_.stop();
  if (send_message(control_.get(), keeper::kEnding)) {
    (void)receive_message(control_.get(), keeper::kLetGo, kLetGoMs);
  }
}

}  // namespace pkgfs
