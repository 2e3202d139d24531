// SPDX-License-Identifier: MIT
#include "daemon/mount/spawn_with.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>

#include "core/base/error.h"
#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "daemon/packages/spawn_attributes.h"

extern char** environ;

namespace pkgfs {
namespace {

constexpr int kFirst = 3;  // behind the standard streams

/// File actions of posix_spawn(3) that give the child process `descriptors` as the numbers from `first` on.
class Actions {
 public:
  /// Throws Error if no descriptor is free.
  Actions(const std::vector<int>& descriptors, int first) {
    ::posix_spawn_file_actions_init(&actions_);
    // Copies with numbers above those that the child process uses, so that no action overwrites a source.
    const int above = first + static_cast<int>(descriptors.size());
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      copies_.emplace_back(::fcntl(descriptors[i], F_DUPFD_CLOEXEC, above));
      if (!copies_.back()) {
        const int error = errno;
        ::posix_spawn_file_actions_destroy(&actions_);
        throw system_error("A file descriptor can't be passed on", error);
      }
      ::posix_spawn_file_actions_adddup2(&actions_, copies_.back().get(), first + static_cast<int>(i));
    }
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, above);  // those that libraries left open
  }
  ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
  std::vector<UniqueFd> copies_;
};

/// Words that end with a NUL each.
std::vector<std::string> words_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

}  // namespace

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

pid_t spawn_with(const std::vector<int>& descriptors, const std::string& program, std::vector<std::string> words,
                 std::vector<std::string> more) {
  const Actions actions(descriptors, kFirst);
  const std::vector<char*> arguments = pointers_to(words);
  std::vector<char*> variables;
  for (std::string& variable : more) {
    variables.push_back(variable.data());
  }
  for (char** own = environ; *own != nullptr; ++own) {  // NOLINT(concurrency-mt-unsafe): no thread changes it
    variables.push_back(*own);
  }
  variables.push_back(nullptr);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, program.c_str(), actions.get(), nullptr, arguments.data(), variables.data());
  if (error != 0) {
    throw start_error("No process can be started", error);
  }
  return child;
}

std::optional<pid_t> spawn_found(const std::vector<int>& descriptors, const std::string& name,
                                 std::vector<std::string> words, std::vector<std::string> environment) {
  const Actions actions(descriptors, 0);
  const std::vector<char*> arguments = pointers_to(words);
  const std::vector<char*> variables = pointers_to(environment);
  pid_t child = 0;
  const SpawnAttributes signals;
  const int error =
      ::posix_spawnp(&child, name.c_str(), actions.get(), signals.get(), arguments.data(), variables.data());
  if (error == ENOENT) {
    return std::nullopt;
  }
  if (error != 0) {
    throw start_error("Unable to start \"" + name + "\"", error);
  }
  return child;
}

std::vector<std::string> command_line_of(pid_t process) {
  return words_of("/proc/" + std::to_string(process) + "/cmdline");
}

}  // namespace pkgfs
