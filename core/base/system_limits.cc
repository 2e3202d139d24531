// SPDX-License-Identifier: MIT
#include "core/base/system_limits.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <system_error>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kKibi = 1024;

/// The soft limit; nothing if there is none.
std::optional<std::uint64_t> limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return std::nullopt;
  }
  return limit.rlim_cur;
}

std::string memory_limits() {
  if (const auto most = limit_of(RLIMIT_AS)) {
    return fmt::format("this process may use {} KiB of memory; raise the limit with ulimit -v", *most / kKibi);
  }
  if (const auto most = limit_of(RLIMIT_DATA)) {
    return fmt::format("this process may use {} KiB of memory; raise the limit with ulimit -d", *most / kKibi);
  }
  return {};
}

/// What may keep a process or a thread from being started.
std::string start_limits() {
  std::string text;
  // Root's processes aren't counted.
  if (const auto most = limit_of(RLIMIT_NPROC); most && ::geteuid() != 0) {
    text = fmt::format("this user may have {} processes and threads; raise the limit with ulimit -u", *most);
  }
  if (const std::string memory = memory_limits(); !memory.empty()) {  // for the stack of a thread
    text += (text.empty() ? "" : "; ") + memory;
  }
  return text.empty() ? "no more processes and threads are allowed here: look at pids.max of the control group and at "
                        "the sysctl kernel.threads-max"
                      : text;
}

/// What a limit says of `errnum`; empty: no limit is known to be the reason.
std::string reason(int errnum) {
  switch (errnum) {
    case EMFILE:
      if (const auto most = limit_of(RLIMIT_NOFILE)) {
        return fmt::format("the limit is {}; raise it with ulimit -n", *most);
      }
      return {};
    case ENFILE:
      return "all processes of this machine together have too many; raise the sysctl fs.file-max";
    case ENOMEM:
      return memory_limits();
    case EFBIG:
      if (const auto most = limit_of(RLIMIT_FSIZE)) {
        return fmt::format("the limit is {} bytes; raise it with ulimit -f", *most);
      }
      return {};
    default:
      return {};
  }
}

std::string joined(int errnum, const std::string& reason) {
  const std::string text = std::generic_category().message(errnum);
  return reason.empty() ? text : text + " (" + reason + ")";
}

}  // namespace

std::string errno_text(int errnum) { return joined(errnum, reason(errnum)); }

std::string start_text(int errnum) {
  switch (errnum) {
    case EAGAIN:
      return joined(errnum, start_limits());
    case EPERM:
    case ENOSYS:
      return joined(errnum, "does a seccomp filter deny it? It must allow clone, and allow clone3 or answer ENOSYS");
    default:
      return errno_text(errnum);
  }
}

std::string inotify_text(int errnum) {
  if (errnum == EMFILE && can_open_more(1)) {
    return "this user has too many inotify instances; raise fs.inotify.max_user_instances";
  }
  return errnum == ENOSPC ? "this user has too many inotify watches; raise fs.inotify.max_user_watches"
                          : errno_text(errnum);
}

bool can_open_more(std::size_t count) {
  std::vector<UniqueFd> opened(count);
  return std::ranges::all_of(opened, [](UniqueFd& each) {
    each.reset(::open("/", O_PATH | O_CLOEXEC));
    return each || (errno != EMFILE && errno != ENFILE);
  });
}

void raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

bool has_memory_limit() { return limit_of(RLIMIT_AS).has_value(); }

}  // namespace pkgfs
