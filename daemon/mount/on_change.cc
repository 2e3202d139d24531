// SPDX-License-Identifier: MIT
#include "daemon/mount/on_change.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigfillset
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/spawn_with.h"
#include "daemon/packages/spawn_attributes.h"

extern char** environ;

namespace pkgfs {
namespace {

/// File actions of posix_spawn(3) for a shell: it has no descriptor but the standard streams.
class ShellActions {
 public:
  ShellActions() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addchdir_np(&actions_, "/");
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
  }
  ~ShellActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  ShellActions(const ShellActions&) = delete;
  ShellActions& operator=(const ShellActions&) = delete;
  [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

}  // namespace

std::string run_on_change(const std::string& command, const std::vector<std::pair<std::string, std::string>>& variables,
                          std::chrono::milliseconds limit, int stop_fd) {
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) {
    environment.push_back(name + "=" + value);
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {  // NOLINT(concurrency-mt-unsafe)
    environment.emplace_back(*variable);
  }
  std::vector<std::string> words{"sh", "-c", command};
  const std::vector<char*> arguments = pointers_to(words);
  const std::vector<char*> pointers = pointers_to(environment);
  const ShellActions actions;
  const SpawnAttributes attributes(SpawnAttributes::Group::kOwn);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, "/bin/sh", actions.get(), attributes.get(), arguments.data(), pointers.data());
  if (error != 0) {
    return "it can't be started: " + start_text(error);
  }
  const UniqueFd process = open_process(child);
  const int open_error = errno;
  std::array<pollfd, 2> waited{
      {{.fd = process.get(), .events = POLLIN, .revents = 0}, {.fd = stop_fd, .events = POLLIN, .revents = 0}}};
  const int count = process ? ::poll(waited.data(), waited.size(), static_cast<int>(limit.count())) : 0;
  const bool ended = count > 0 && waited[0].revents != 0;
  if (!ended) {
    ::kill(-child, SIGKILL);
  }
  int status = 0;
  (void)::waitpid(child, &status, 0);
  if (!process) {
    return "it can't be watched, and was killed: " + errno_text(open_error);
  }
  if (!ended) {
    return count > 0 ? "the mount ends; it was killed"
                     : fmt::format("it ran for more than {} s; it was killed", limit.count() / 1000);
  }
  return WIFSIGNALED(status)        ? fmt::format("signal {} ended it", WTERMSIG(status))
         : WEXITSTATUS(status) != 0 ? fmt::format("it ended with exit code {}", WEXITSTATUS(status))
                                    : std::string();
}

}  // namespace pkgfs
