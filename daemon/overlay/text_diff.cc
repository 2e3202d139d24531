// SPDX-License-Identifier: MIT
#include "daemon/overlay/text_diff.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "daemon/mount/spawn_with.h"

namespace pkgfs {

std::string text_diff(const std::string& path, const UniqueFd& before, const UniqueFd& after) {
  constexpr std::size_t kMostText = 256U << 20U;
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd said(::memfd_create("diff", MFD_CLOEXEC));
  if (!null || !said) {
    throw system_error("Unable to compare \"" + path + "\"", errno);
  }
  const int first = before ? before.get() : null.get();
  const int second = after ? after.get() : null.get();
  const std::optional<pid_t> child =
      spawn_found({null.get(), said.get(), said.get(), first, second}, "diff",
                  {"diff", "-u", "--label", before ? "a" + path : "/dev/null", "--label",
                   after ? "b" + path : "/dev/null", "/proc/self/fd/3", "/proc/self/fd/4"},
                  {"LC_ALL=C", "PATH=/usr/bin:/bin"});
  if (!child) {
    throw Error(ErrorCode::kUnsupported, "--diff needs the program diff (of the package diffutils)");
  }
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int kTrouble = 2;
  ::lseek(said.get(), 0, SEEK_SET);
  std::string text = read_to_end(said.get(), kMostText, "Unable to read what diff said of \"" + path + "\"");
  if (!WIFEXITED(status) || WEXITSTATUS(status) >= kTrouble) {
    if (text.find("iles /proc/self/fd/3 and /proc/self/fd/4 differ") != std::string::npos) {
      return "Binary files a" + path + " and b" + path + " differ\n";
    }
    throw Error(ErrorCode::kIo, {"Unable to compare \"" + path + "\"", text});
  }
  if (text.starts_with("Binary files")) {
    return "Binary files a" + path + " and b" + path + " differ\n";
  }
  return text;
}

}  // namespace pkgfs
