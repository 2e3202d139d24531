// SPDX-License-Identifier: MIT
#include "daemon/mount/run_bounded.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include "core/base/cancel.h"
#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(2);

[[noreturn]] void run_child(std::size_t index, const std::function<int(std::size_t)>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // if a signal ends the parent, no child stays behind
  // A process that reads our output waits until this child, which may hang, has closed it.
  ::close_range(0, ~0U, 0);
  ::_exit(body(index));
}

/// Ends the child; that takes effect when the kernel lets it go.
void end(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, WNOHANG);
}

/// The child's exit code, if it ends before `deadline`.
std::optional<int> wait_for(pid_t child, std::chrono::steady_clock::time_point deadline) {
  while (true) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) {
      return WIFEXITED(status) ? std::optional(WEXITSTATUS(status)) : std::nullopt;
    }
    throw_if_cancelled();
    if ((ended < 0 && errno != EINTR) || std::chrono::steady_clock::now() >= deadline) {
      end(child);
      return std::nullopt;
    }
    std::this_thread::sleep_for(kInterval);
  }
}

}  // namespace

std::vector<std::optional<int>> run_bounded(std::size_t count, const std::function<int(std::size_t)>& body,
                                            std::chrono::milliseconds limit) {
  std::vector<pid_t> children;
  std::optional<Error> failed;
  for (std::size_t i = 0; i < count && !failed; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      run_child(i, body);
    }
    if (child < 0) {
      failed = start_error("Unable to start a process", errno);
    } else {
      children.push_back(child);
    }
  }
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<std::optional<int>> answers;
  answers.reserve(children.size());
  for (std::size_t i = 0; i < children.size(); ++i) {
    try {
      answers.push_back(wait_for(children[i], deadline));
    } catch (const Error&) {
      std::for_each(children.begin() + static_cast<std::ptrdiff_t>(i), children.end(), &end);
      throw;
    }
  }
  if (failed) {
    throw std::move(*failed);
  }
  return answers;
}

}  // namespace pkgfs
