// SPDX-License-Identifier: MIT
#include "core/load/host_path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "core/base/error.h"
#include "core/base/limits.h"

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

constexpr int kPathOfDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;
/// The kernel answers EAGAIN if a directory is renamed while it follows a link with "..".
constexpr int kOpenAttempts = 16;

/// The directory to which the components of `path` are relative; -1 with `errno`.
UniqueFd open_start(int base, const HostPath& path) {
  UniqueFd start(path.absolute ? ::open("/", kPathOfDirectory) : ::openat(base, ".", kPathOfDirectory));
  for (std::size_t i = 0; i < path.climbs && start; ++i) {
    start.reset(::openat(start.get(), "..", kPathOfDirectory));
  }
  return start;
}

UniqueFd without_fd(int errnum) {
  errno = errnum;
  return {};
}

/// openat2(2) of the components of `path` below `start`.
UniqueFd resolved(int start, const HostPath& path, int flags, unsigned resolve) {
  const std::string rest = path.components.empty() ? "." : path.joined();
  struct open_how how{};
  how.flags = static_cast<unsigned>(flags) | O_CLOEXEC;
  how.resolve = resolve;
  long fd = -1;
  for (int attempt = 0; attempt < kOpenAttempts; ++attempt) {
    fd = ::syscall(SYS_openat2, start, rest.c_str(), &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) {
      break;
    }
  }
  return UniqueFd(static_cast<int>(fd));
}

/// Follows components from a directory, and holds the directories on the way: ".." leads to the one before.
class ComponentWalk {
 public:
  /// `in_root`: the start is "/", which neither ".." nor an absolute link leaves.
  ComponentWalk(UniqueFd start, bool in_root) : in_root_(in_root) { directories_.push_back(std::move(start)); }

  UniqueFd open(const std::vector<std::string>& components, int flags) {
    std::vector<std::string> way(components.rbegin(), components.rend());  // the next component is at the back
    while (!way.empty()) {
      const std::string name = std::move(way.back());
      way.pop_back();
      if (name == "..") {
        if (directories_.size() > 1) {
          directories_.pop_back();
        } else if (!in_root_) {
          return without_fd(EXDEV);
        }
        continue;
      }
      const int here = directories_.back().get();
      UniqueFd next(::openat(here, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      struct stat status{};
      if (!next || ::fstat(next.get(), &status) != 0) {
        return {};
      }
      const bool is_kept = way.empty() && (flags & O_NOFOLLOW) != 0;
      if (S_ISLNK(status.st_mode) && !is_kept) {
        if (!follow(next.get(), way)) {
          return {};
        }
      } else if (way.empty()) {
        return UniqueFd(::openat(here, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
      } else if (!S_ISDIR(status.st_mode)) {
        return without_fd(ENOTDIR);
      } else {
        directories_.push_back(std::move(next));
      }
    }
    return UniqueFd(::openat(directories_.back().get(), ".", flags | O_CLOEXEC));
  }

 private:
  /// Puts the target of `link` on the way. False with `errno`.
  bool follow(int link, std::vector<std::string>& way) {
    std::array<char, limits::kLinkBytes + 1> buffer{};
    const auto length = ::readlinkat(link, "", buffer.data(), buffer.size());
    if (length < 0) {
      return false;
    }
    std::string_view target(buffer.data(), static_cast<std::size_t>(length));
    if (++links_ > kLinksFollowed || (target.starts_with('/') && !in_root_)) {
      errno = links_ > kLinksFollowed ? ELOOP : EXDEV;
      return false;
    }
    if (target.starts_with('/')) {
      directories_.resize(1);
    }
    while (!target.empty()) {  // from the end, since the last component goes on the way first
      const auto slash = target.rfind('/');
      const auto component = target.substr(slash == std::string_view::npos ? 0 : slash + 1);
      target = target.substr(0, slash == std::string_view::npos ? 0 : slash);
      if (!component.empty() && component != ".") {
        way.emplace_back(component);
      }
    }
    return true;
  }

  std::vector<UniqueFd> directories_;
  bool in_root_;
  int links_ = 0;
};

}  // namespace

UniqueFd walk_host_path(int base, const HostPath& path, int flags) {
  UniqueFd start = open_start(base, path);
  return start ? ComponentWalk(std::move(start), path.absolute).open(path.components, flags) : UniqueFd{};
}

UniqueFd open_host_path(int base, const HostPath& path, int flags) {
  const UniqueFd start = open_start(base, path);
  if (!start) {
    return {};
  }
  // Below "/" an absolute link does not lead out.
  const unsigned resolve = RESOLVE_NO_MAGICLINKS | (path.absolute ? RESOLVE_IN_ROOT : RESOLVE_BENEATH);
  UniqueFd fd = resolved(start.get(), path, flags, resolve);
  // Filters of system calls that are older than openat2 answer EPERM, which no path gives for these flags.
  if (!fd && (errno == ENOSYS || errno == EPERM)) {
    return walk_host_path(base, path, flags);
  }
  return fd;
}

UniqueFd reopen_host_path(int base, const HostPath& path, int flags) {
  if (path.leaves()) {
    return without_fd(EXDEV);
  }
  return resolved(base, path, flags, RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH | RESOLVE_NO_XDEV);
}

}  // namespace pkgfs
