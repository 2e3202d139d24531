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
#include "core/base/log.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/registration.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/mount_record.h"
#include "daemon/mount/spawn_with.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr int kLetGoMs = 1000;
constexpr const char* kNotStarted = "the keeper process does not start";

/// The number of successors in the memory that outlives a daemon. `state`: of fuse::SharedState.
std::string successions_in(int state) {
  std::uint32_t number = 0;
  if (::pread(state, &number, sizeof(number), keeper::kSuccessions) != sizeof(number)) {
    throw Error(ErrorCode::kIo, "the memory that the daemons of the mount share can't be read");
  }
  return std::to_string(number);
}

}  // namespace

Keeper::~Keeper() { end(); }

bool Keeper::forget_taking() const {
  const std::uint32_t none = 0;
  return keeper::number_at(state_, keeper::kTaking) != 0 &&
         ::pwrite(state_, &none, sizeof(none), keeper::kTaking) == sizeof(none);
}

void Keeper::end() {
  if (child_.id() != 0) {
    crashes_.stop();
    child_.end();
    id_ = 0;
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
  held.abort_file = open_abort_file(connection_, &held.file_system);
  held.can_abort = static_cast<bool>(held.abort_file);
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
  try {
    Held held = make_held();
    KeeperProcess process = early_.valid() ? early_.get() : KeeperProcess();
    const KeeperProcess::Mount mount{.connection = connection_,
                                     .mountpoint = mountpoint_,
                                     .successions = successions_in(held.contents.state.get()),
                                     .fixed = held.descriptors,
                                     .containers = held.contents.containers,
                                     .before = before_};
    const bool is_early = process.id() != 0;
    if (!is_early) {
      process = KeeperProcess::start(mount);
    }
    if (!(is_early ? process.describe(mount) : process.watches())) {
      return kNotStarted;
    }
    is_told_only_ = is_early;
    if (is_early) {
      close_later_ = std::move(held.file_system);
    }
    can_abort_ = held.can_abort;
    KeeperProcess before = std::exchange(child_, std::move(process));
    id_ = is_early ? 0 : child_.id();
    crashes_.start(UniqueFd(::fcntl(child_.control(), F_DUPFD_CLOEXEC, 0)));
    if (before.id() != 0) {
      before.end();
      child_.signal(keeper::kWakeSignal);  // the address at which it listens is free now
    }
    return {};
  } catch (const Error& error) {
    return error.message();
  }
}

std::string Keeper::confirm() {
  close_later_.reset();
  if (!std::exchange(is_told_only_, false)) {
    return {};
  }
  if (child_.watches()) {
    id_ = child_.id();
    return {};
  }
  end();
  return kNotStarted;
}

std::string Keeper::register_mount() {
  std::string why = register_as(keeper::kHolds);
  is_registered_ = why.empty();
  return why;
}

std::string Keeper::announce() {
  std::string why = register_as(keeper::kPending);
  if (!why.empty()) {
    log::debug("pkgfs-keeperd doesn't know yet that this daemon is about to have the mount: {}", why);
  }
  return keeperd_->is_silent() ? why : std::string();
}

std::string Keeper::register_as(keeper::Kind kind) {
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
    descriptors.push_back(child_.fd());
    descriptors.insert(descriptors.end(), held.contents.containers.begin(), held.contents.containers.end());
    return keeperd_->hold(descriptors, kind);
  } catch (const Error& error) {
    return error.message();
  }
}

void Keeper::let_go() {
  if (keeperd_) {
    keeperd_->let_go();
  }
  if (child_.id() == 0) {
    return;
  }
  if (!confirm().empty()) {
    return;
  }
  crashes_.stop();
  if (send_message(child_.control(), keeper::kEnding)) {
    (void)receive_message(child_.control(), keeper::kLetGo, kLetGoMs);
  }
}

}  // namespace pkgfs
