// SPDX-License-Identifier: MIT
#include "core/load/host_path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/base/error.h"

namespace pkgfs {

HostPath HostPath::parse(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    throw Error(ErrorCode::kCorrupt, "A path in the manifest contains a NUL");
  }
  HostPath path;
  path.absolute = text.starts_with('/');
  while (!text.empty()) {
    const auto end = std::min(text.find('/'), text.size());
    const auto component = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (component.empty() || component == ".") {
      continue;
    }
    if (component != "..") {
      path.components.emplace_back(component);
    } else if (!path.components.empty()) {
      path.components.pop_back();
    } else if (!path.absolute) {
      ++path.climbs;
    }
  }
  return path;
}

std::string HostPath::joined() const {
  std::string text;
  for (const auto& component : components) {
    text += (text.empty() ? "" : "/") + component;
  }
  return text;
}

namespace {
/// The kernel answers EAGAIN if a directory is renamed while it follows a link with "..".
constexpr int kAttempts = 16;
}  // namespace

UniqueFd open_host_path(int base, const HostPath& path, int flags) {
  constexpr int kDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;
  UniqueFd start;
  if (path.absolute) {
    start.reset(::open("/", kDirectory));
    base = start.get();
  }
  for (std::size_t i = 0; i < path.climbs && base >= 0; ++i) {
    start.reset(::openat(base, "..", kDirectory));
    base = start.get();
  }
  if (base < 0) {
    return {};
  }
  const std::string rest = path.components.empty() ? "." : path.joined();
  struct open_how how{};
  how.flags = static_cast<unsigned>(flags) | O_CLOEXEC;
  // Below "/" an absolute link does not lead out.
  how.resolve = RESOLVE_NO_MAGICLINKS | (path.absolute ? RESOLVE_IN_ROOT : RESOLVE_BENEATH);
  long fd = -1;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    fd = ::syscall(SYS_openat2, base, rest.c_str(), &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) {
      break;
    }
  }
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace pkgfs
