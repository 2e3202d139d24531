// SPDX-License-Identifier: MIT
#include "daemon/mount/call_as_user.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "daemon/mount/run_bounded.h"

namespace pkgfs {
namespace {

constexpr int kFailed = 128;

/// What a child process tells of its failure, in memory that it shares with its parent.
struct Failure {
  ErrorCode code{};
  char text[8192]{};  // the chain, each message ended by NUL; an empty one ends it
};

void note(Failure& failure, const Error& error) {
  failure.code = error.code();
  char* at = failure.text;
  std::size_t left = sizeof(failure.text) - 1;
  for (const std::string& message : error.chain()) {
    if (message.size() >= left) {
      return;
    }
    std::memcpy(at, message.c_str(), message.size() + 1);
    at += message.size() + 1;
    left -= message.size() + 1;
  }
}

Error error_of(const Failure& failure) {
  std::vector<std::string> chain;
  for (const char* at = failure.text; *at != '\0'; at += chain.back().size() + 1) {
    chain.emplace_back(at);
  }
  return chain.empty() ? Error(failure.code, "the child process fails") : Error(failure.code, std::move(chain));
}

/// All groups of a user: a path may be for one of them only.
std::vector<gid_t> groups_of(uid_t user, gid_t group) {
  std::vector<gid_t> groups{group};
  if (const passwd* const entry = ::getpwuid(user); entry != nullptr) {  // NOLINT(concurrency-mt-unsafe): one thread
    int count = 64;
    for (int known = 0; known < count;) {  // the second time, it is right
      groups.resize(static_cast<std::size_t>(known = count));
      if (::getgrouplist(entry->pw_name, group, groups.data(), &count) >= 0) {
        break;
      }
    }
    groups.resize(static_cast<std::size_t>(std::max(count, 1)));
  }
  return groups;
}

/// In the child process. `parent`: whose end it doesn't outlive.
void become(uid_t user, const std::vector<gid_t>& groups, gid_t group, pid_t parent) {
  for (int stream = 0; stream <= STDERR_FILENO; ++stream) {  // a message must not reach what is opened later
    (void)::open("/dev/null", O_RDWR);
  }
  if (::setgroups(groups.size(), groups.data()) != 0 || ::setresgid(group, group, group) != 0 ||
      ::setresuid(user, user, user) != 0) {
    throw system_error("Unable to act for the user " + std::to_string(user), errno);
  }
  // The kernel forgets that when a process changes its user.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface
  if (::getppid() != parent) {
    ::_exit(kFailed);
  }
}

}  // namespace

int call_as_user(uid_t user, gid_t group, const std::function<int()>& body, std::chrono::milliseconds limit) {
  void* const memory = ::mmap(nullptr, sizeof(Failure), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw system_error("Unable to start a process", errno);
  }
  const auto unmap = [](Failure* failure) { ::munmap(failure, sizeof(Failure)); };
  const std::unique_ptr<Failure, decltype(unmap)> failure(new (memory) Failure, unmap);
  const pid_t parent = ::getpid();
  const std::vector<gid_t> groups = groups_of(user, group);
  const auto call = [&](std::size_t) {
    try {
      become(user, groups, group, parent);
      return body();
    } catch (...) {
      note(*failure, current_error());
      return kFailed;
    }
  };
  const std::optional<int> result = run_bounded(1, call, limit).front();
  if (!result) {
    throw Error(ErrorCode::kMount, "it isn't known: the process that acts for its user has ended, or doesn't in time");
  }
  if (*result == kFailed) {
    throw error_of(*failure);
  }
  return *result;
}

}  // namespace pkgfs
