// SPDX-License-Identifier: MIT
#include "daemon/packages/credential_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "core/oci/auth_file.h"
#include "daemon/packages/spawn_attributes.h"

namespace pkgfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostAnswer = 64U << 10U;
constexpr int kPollTime = 20;  // ms; then the flag is looked at
constexpr std::chrono::milliseconds kEndPause{5};

/// A helper that runs in a process group of its own. The destructor kills the group if it hasn't ended.
class Helper {
 public:
  Helper(const std::string& program, const std::string& input, const CancelFlag& cancel)
      : program_(program), cancel_(cancel) {
    const UniqueFd in(::memfd_create("server", MFD_CLOEXEC));
    std::array<int, 2> ends{-1, -1};
    if (!in || ::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw start_error("Unable to run \"" + program_ + "\"", errno);
    }
    out_ = UniqueFd(ends[0]);
    const UniqueFd write_end(ends[1]);
    write_all(in.get(), input, "the input of " + program_);
    ::lseek(in.get(), 0, SEEK_SET);
    start(in.get(), write_end.get());
  }
  ~Helper() {
    if (child_ > 0) {
      ::kill(-child_, SIGKILL);
      (void)wait();
    }
  }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  /// What it prints until it closes its standard output. Throws Error if that is too long or takes too long.
  [[nodiscard]] std::string answer(Clock::time_point end) {
    std::string text;
    std::array<char, 4096> piece{};
    while (true) {
      pollfd readable{.fd = out_.get(), .events = POLLIN, .revents = 0};
      const int ready = ::poll(&readable, 1, kPollTime);
      if (ready < 0 && errno != EINTR) {
        throw read_error();
      }
      throw_if_stopped(end, "doesn't answer");
      if (ready <= 0) {
        continue;  // a read would wait without a limit
      }
      const ssize_t got = ::read(out_.get(), piece.data(), piece.size());
      if (got == 0) {
        return text;
      }
      if (got > 0) {
        text.append(piece.data(), static_cast<std::size_t>(got));
      } else if (errno != EINTR) {
        throw read_error();
      }
      if (text.size() > kMostAnswer) {
        throw Error(ErrorCode::kCorrupt,
                    "\"" + program_ + "\" answers more than " + std::to_string(kMostAnswer) + " bytes");
      }
    }
  }

  /// Waits for its end. Returns whether its exit code was 0. Throws Error if it takes too long.
  [[nodiscard]] bool succeeded(Clock::time_point end) {
    while (true) {
      siginfo_t ended{};
      // Doesn't reap it, so that its process group can't belong to others when that is killed.
      if (::waitid(P_PID, static_cast<id_t>(child_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0) {
        if (ended.si_pid == child_) {
          ::kill(-child_, SIGKILL);  // what it has left running
          const bool succeeded = wait();
          child_ = 0;
          return succeeded;
        }
      } else if (errno != EINTR) {
        child_ = 0;  // the program ignores the end of its children
        return true;
      }
      throw_if_stopped(end, "doesn't end");
      (void)cancel_.wait_for(kEndPause);
    }
  }

 private:
  void throw_if_stopped(Clock::time_point end, const std::string& what) const {
    if (cancel_.is_cancelled()) {
      throw Error(ErrorCode::kInterrupted, "interrupted");
    }
    if (Clock::now() >= end) {
      throw Error(ErrorCode::kPermission, "\"" + program_ + "\" " + what);
    }
  }
  [[nodiscard]] Error read_error() const {
    return system_error("Unable to read the answer of \"" + program_ + "\"", errno);
  }

  void start(int in, int out) {
    posix_spawn_file_actions_t actions{};
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    const SpawnAttributes attributes(SpawnAttributes::Group::kOwn);
    std::string program = program_;
    std::string get = "get";
    const std::array<char*, 3> words{program.data(), get.data(), nullptr};
    const int failed = ::posix_spawnp(&child_, program_.c_str(), &actions, attributes.get(), words.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) {
      child_ = 0;
      throw Error(ErrorCode::kUnsupported, "the program \"" + program_ + "\" isn't installed");
    }
    if (failed != 0) {
      child_ = 0;
      throw start_error("Unable to run \"" + program_ + "\"", failed);
    }
  }

  bool wait() {
    int status = 0;
    while (::waitpid(child_, &status, 0) < 0) {
      if (errno != EINTR) {
        return false;
      }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  std::string program_;
  const CancelFlag& cancel_;
  UniqueFd out_;
  pid_t child_ = 0;
};

}  // namespace

std::optional<oci::Credentials> ask_helper(const std::string& name, const std::string& server, const CancelFlag& cancel,
                                           std::chrono::milliseconds limit) {
  const std::string program = "docker-credential-" + name;
  if (!oci::is_helper_name(name)) {
    throw Error(ErrorCode::kCorrupt, "\"" + name + "\" isn't the name of a credential helper");
  }
  const Clock::time_point end = Clock::now() + limit;
  Helper helper(program, server, cancel);
  const std::string answer = helper.answer(end);
  if (!helper.succeeded(end)) {
    log::debug("\"{}\" has no credentials for \"{}\"", program, server);
    return std::nullopt;
  }
  try {
    return oci::parse_helper_answer(answer);
  } catch (Error& error) {
    throw std::move(error).context("The answer of \"" + program + "\" can't be used");
  }
}

}  // namespace pkgfs
