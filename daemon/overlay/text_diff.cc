// SPDX-License-Identifier: MIT
#include "daemon/overlay/text_diff.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "daemon/mount/spawn_with.h"

namespace pkgfs {
namespace {

/// A child process, which the destructor waits for.
class Child {
 public:
  explicit Child(pid_t id) : id_(id) {}
  ~Child() { (void)wait(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Its status, as waitpid(2) gives it.
  int wait() {
    while (!std::exchange(has_ended_, true)) {
      has_ended_ = ::waitpid(id_, &status_, 0) >= 0 || errno != EINTR;
    }
    return status_;
  }

 private:
  pid_t id_;
  bool has_ended_ = false;
  int status_ = 0;
};

/// Passes on what comes from `fd` in pieces that end with a line, unless that is very long. Throws Error with `what`.
void read_lines(const UniqueFd& fd, const std::string& what, FunctionRef<void(std::string_view)> take) {
  constexpr std::size_t kLongestLine = 1U << 20U;
  std::array<char, std::size_t{64} << 10U> piece{};
  std::string text;
  while (true) {
    const ssize_t got = ::read(fd.get(), piece.data(), piece.size());
    if (got < 0 && errno != EINTR) {
      throw system_error(what, errno);
    }
    if (got == 0) {
      break;
    }
    text.append(piece.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    const std::size_t end = text.size() > kLongestLine ? text.size() : text.rfind('\n') + 1;
    take(std::string_view(text).substr(0, end));
    text.erase(0, end);
  }
  take(text);
}

}  // namespace

void text_diff(const std::string& path, const UniqueFd& before, const UniqueFd& after,
               FunctionRef<void(std::string_view)> take) {
  constexpr std::size_t kMostMessages = 1U << 20U;
  constexpr int kTrouble = 2;
  const std::string what = "Unable to compare \"" + path + "\"";
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd messages(::memfd_create("diff", MFD_CLOEXEC));
  std::array<int, 2> ends{-1, -1};
  if (!null || !messages || ::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw system_error(what, errno);
  }
  UniqueFd said(ends[0]);
  UniqueFd says(ends[1]);
  const int first = before ? before.get() : null.get();
  const int second = after ? after.get() : null.get();
  const std::optional<pid_t> started =
      spawn_found({null.get(), says.get(), messages.get(), first, second}, "diff",
                  {"diff", "-u", "--label", before ? "a" + path : "/dev/null", "--label",
                   after ? "b" + path : "/dev/null", "/proc/self/fd/3", "/proc/self/fd/4"},
                  {"LC_ALL=C", "PATH=/usr/bin:/bin"});
  if (!started) {
    throw Error(ErrorCode::kUnsupported, "--diff needs the program diff (of the package diffutils)");
  }
  says.reset();
  Child child(*started);
  const UniqueFd reading = std::move(said);  // closed before the wait for the child, which ends then
  bool is_binary = false;
  bool is_first = true;
  read_lines(reading, what, [&](std::string_view text) {
    if (!text.empty() && std::exchange(is_first, false)) {
      is_binary = text.starts_with("Binary files") || text.starts_with("Files /proc/self/fd/3 and");
    }
    if (!is_binary && !text.empty()) {
      take(text);
    }
  });
  const int status = child.wait();
  if (is_binary) {
    take("Binary files a" + path + " and b" + path + " differ\n");
  } else if (!WIFEXITED(status) || WEXITSTATUS(status) >= kTrouble) {
    ::lseek(messages.get(), 0, SEEK_SET);
    throw Error(ErrorCode::kIo, {what, read_to_end(messages.get(), kMostMessages, what)});
  }
}

}  // namespace pkgfs
