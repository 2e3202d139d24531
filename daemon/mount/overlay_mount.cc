// SPDX-License-Identifier: MIT
#include "daemon/mount/overlay_mount.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/spawn_with.h"

extern char** environ;

namespace pkgfs {
namespace {

/// Puts a backslash before each of `special`.
std::string escaped(const std::string& text, std::string_view special) {
  std::string result;
  for (const char c : text) {
    result += special.find(c) != std::string_view::npos ? std::string("\\") + c : std::string(1, c);
  }
  return result;
}

constexpr std::size_t kMostValue = 255;  // of fsconfig(2)

/// A file system that is being configured (fsopen(2)).
class FsContext {
 public:
  FsContext(const char* type, std::string what) : what_(std::move(what)), fd_(::fsopen(type, FSOPEN_CLOEXEC)) {
    if (!fd_) {
      const int error = errno;
      if (error == ENODEV) {
        throw Error(ErrorCode::kUnsupported, {what_, std::string("the kernel has no ") + type});
      }
      fail(error);
    }
  }

  void set(const char* key, const std::string& value) {
    if (::fsconfig(fd_.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0) {
      fail(errno);
    }
  }
  void set_flag(const char* key) {
    if (::fsconfig(fd_.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) != 0) {
      fail(errno);
    }
  }

  /// Creates the file system and attaches it at `path`, at once.
  void mount_at(const std::string& path, unsigned attributes, const std::function<void(int root)>& prepare = {}) {
    if (::fsconfig(fd_.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
      fail(errno);
    }
    const UniqueFd mount(::fsmount(fd_.get(), FSMOUNT_CLOEXEC, attributes));
    if (!mount) {
      fail(errno);
    }
    if (prepare) {
      prepare(mount.get());
    }
    if (::move_mount(mount.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      fail(errno);
    }
  }

 private:
  /// With the messages that the kernel has left for this context.
  [[noreturn]] void fail(int error) const {
    Error refused = system_error(what_, error);
    std::array<char, 512> text{};
    for (ssize_t length = 0; fd_ && (length = ::read(fd_.get(), text.data(), text.size())) > 0;) {
      std::string_view message(text.data(), static_cast<std::size_t>(length));
      while (message.ends_with('\n')) {
        message.remove_suffix(1);
      }
      refused.caused_by(
          std::string(message.starts_with("e ") || message.starts_with("w ") ? message.substr(2) : message));
    }
    throw Error(refused.code() == ErrorCode::kPermission ? refused.code() : ErrorCode::kMount, refused);
  }

  std::string what_;
  UniqueFd fd_;
};

UniqueFd open_layer(const std::string& path) {
  UniqueFd layer(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!layer) {
    throw system_error("Unable to use \"" + path + "\"", errno);
  }
  return layer;
}

void mount_by_kernel(const OverlayMount& overlay, const std::function<void(int root)>& prepare) {
  constexpr std::string_view kSpecial = "\\:";
  FsContext context("overlay", "Unable to mount the changes above the package at \"" + overlay.mountpoint + "\"");
  // Paths of descriptors: the kernel takes values of at most 255 bytes, and so a link in their place isn't followed.
  const UniqueFd upper = open_layer(overlay.upper);
  const UniqueFd work = open_layer(overlay.work);
  context.set("source", overlay.source.substr(0, kMostValue));
  context.set("lowerdir", escaped(overlay.lower, kSpecial));
  context.set("upperdir", "/proc/self/fd/" + std::to_string(upper.get()));
  context.set("workdir", "/proc/self/fd/" + std::to_string(work.get()));
  context.set("xino", "on");
  context.set("metacopy", "off");
  context.set("index", "off");
  if (overlay.engine == OverlayEngine::kKernelForUser) {
    context.set_flag("userxattr");
  } else {
    context.set("redirect_dir", "on");
  }
  if (overlay.is_volatile) {
    context.set_flag("volatile");
  }
  context.mount_at(overlay.mountpoint,
                   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (overlay.noexec ? MOUNT_ATTR_NOEXEC : 0) |
                       (overlay.nosymfollow ? MOUNT_ATTR_NOSYMFOLLOW : 0),
                   prepare);
}

std::vector<std::string> environment_now() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

/// fuse-overlayfs returns when its mount answers, and goes on in the background.
void mount_by_program(const OverlayMount& overlay) {
  const std::string what = "Unable to mount the changes above the package at \"" + overlay.mountpoint + "\"";
  constexpr std::string_view kSpecial = ",\\:";
  std::string options = "lowerdir=" + escaped(overlay.lower, kSpecial) + ",upperdir=" + escaped(overlay.upper, ",\\") +
                        ",workdir=" + escaped(overlay.work, ",\\") + ",nosuid,nodev";
  options += overlay.noexec ? ",noexec" : "";
  options += overlay.allow_other ? ",allow_other" : "";
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd messages(::memfd_create("fuse-overlayfs", MFD_CLOEXEC));
  if (!null || !messages) {
    throw system_error(what, errno);
  }
  const std::optional<pid_t> child =
      spawn_found({null.get(), null.get(), messages.get()}, "fuse-overlayfs",
                  {"fuse-overlayfs", "-o", options, overlay.mountpoint}, environment_now());
  if (!child) {
    throw Error(ErrorCode::kUnsupported,
                {what,
                 "a user who is not root needs fuse-overlayfs (of the package fuse-overlayfs), which isn't "
                 "installed; root, and root of a user namespace (unshare -rm), use the kernel's overlayfs"});
  }
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return;
  }
  std::array<char, 1024> text{};
  const ssize_t length = ::pread(messages.get(), text.data(), text.size(), 0);
  std::string said(text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  while (said.ends_with('\n')) {
    said.pop_back();
  }
  throw Error(ErrorCode::kMount, {what, "fuse-overlayfs: " + (said.empty() ? std::string("it failed") : said)});
}

}  // namespace

void mount_overlay(const OverlayMount& overlay, const std::function<void(int root)>& prepare) {
  if (overlay.engine == OverlayEngine::kFuse) {
    mount_by_program(overlay);
  } else {
    mount_by_kernel(overlay, prepare);
  }
}

bool is_upper_in_use(const std::string& upper) {
  if (overlay_engine() == OverlayEngine::kFuse) {
    return false;
  }
  const auto fail = [&](int error) {
    throw system_error("Unable to find out whether \"" + upper + "\" is in use", error);
  };
  const UniqueFd layer(::open(upper.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!layer && (errno == ENOENT || errno == ENOTDIR)) {
    return false;
  }
  if (!layer) {
    fail(errno);
  }
  const UniqueFd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context && errno == ENODEV) {
    return false;
  }
  if (!context) {
    fail(errno);
  }
  // The kernel answers EINVAL for a mount that is read-only or can't be cloned, before it looks at the mark.
  struct statfs status{};
  if (::fstatfs(layer.get(), &status) != 0) {
    fail(errno);
  }
  if ((static_cast<unsigned long>(status.f_flags) & ST_RDONLY) != 0) {
    fail(EROFS);
  }
  if (const UniqueFd clone(::open_tree(layer.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)); !clone) {
    fail(errno);
  }
  // With `index`, the kernel refuses a marked upper layer, and looks at the work directory only after that. The one
  // given here is always refused, with EINVAL, so that nothing is made. The lower layer is `upper` too, because the
  // kernel doesn't take each directory, such as "/", as a layer.
  const std::string path = "/proc/self/fd/" + std::to_string(layer.get());
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"lowerdir", path.c_str()}, {"upperdir", path.c_str()}, {"workdir", path.c_str()}, {"index", "on"}}) {
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0) {
      fail(errno);
    }
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0 || errno == EINVAL) {
    return false;
  }
  if (errno != EBUSY) {
    fail(errno);
  }
  return true;
}

void mount_tmpfs(const std::string& path, const TmpfsLimits& limits) {
  FsContext context("tmpfs", "Unable to mount a file system in memory for the changes");
  context.set("source", "pkgfs-changes");
  context.set("mode", "0700");
  if (limits.bytes) {
    context.set("size", std::to_string(*limits.bytes));
  }
  if (limits.inodes) {
    context.set("nr_inodes", std::to_string(*limits.inodes));
  }
  context.mount_at(path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

}  // namespace pkgfs
