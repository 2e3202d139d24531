// SPDX-License-Identifier: MIT
#include "daemon/csi/targets.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "daemon/csi/refusal.h"
#include "daemon/mount/run_bounded.h"
#include "daemon/mount/unmount.h"

namespace pkgfs::csi {
namespace {

constexpr auto kSizeLimit = std::chrono::seconds(2);

/// A value that a child process changes for this one.
template <typename Value>
class Shared {
 public:
  explicit Shared(const std::string& what)
      : value_(::mmap(nullptr, sizeof(Value), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (value_ == MAP_FAILED) {
      throw system_error(what, errno);
    }
  }
  ~Shared() { ::munmap(value_, sizeof(Value)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  [[nodiscard]] Value& operator*() const { return *static_cast<Value*>(value_); }

 private:
  void* value_;
};

enum class BindStep { kLookUp, kCopy, kMove };

std::string name_of(BindStep step) {
  switch (step) {
    case BindStep::kLookUp:
      return "the directory can't be opened";
    case BindStep::kCopy:
      return "the kernel can't copy the mount";
    case BindStep::kMove:
      return "the kernel can't mount there";
  }
  return {};
}

/// Runs in a child process, because a look-up in a mount waits for its daemon. Returns an errno number, or 0; `step` is
/// what failed.
int bind_now(const char* source, const char* sub_path, const char* target, BindStep& step) {
  const UniqueFd root(::open(source, O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const char* const path = *sub_path == '\0' ? "." : sub_path;
  const UniqueFd shown(root ? static_cast<int>(::syscall(SYS_openat2, root.get(), path, &how, sizeof(how))) : -1);
  if (!shown) {
    return errno;
  }
  step = BindStep::kCopy;
  const UniqueFd tree(::open_tree(shown.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree) {
    return errno;
  }
  step = BindStep::kMove;
  return ::move_mount(tree.get(), "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) == 0 ? 0 : errno;
}

}  // namespace

void make_target(const std::string& target) {
  const std::string what = "Unable to use the target path \"" + target + "\"";
  if (::mkdir(target.c_str(), 0750) == 0) {
    return;
  }
  const int error = errno;
  struct stat status{};
  // A dead mount there answers ENOTCONN, and is a directory all the same.
  if (error != EEXIST || (::lstat(target.c_str(), &status) == 0 && !S_ISDIR(status.st_mode))) {
    throw system_error(what, error == EEXIST ? ENOTDIR : error);
  }
}

void bind_target(const std::string& source, const std::string& sub_path, const std::string& target,
                 std::chrono::milliseconds limit) {
  const std::string what = "Unable to show \"" + source + "\" at \"" + target + "\"";
  const Shared<BindStep> step(what);  // zero: the first one
  const auto bind = [&](std::size_t) { return bind_now(source.c_str(), sub_path.c_str(), target.c_str(), *step); };
  const std::optional<int> error = run_bounded(1, bind, limit).front();
  if (!error) {
    throw Error(ErrorCode::kBusy, {what, "the mount doesn't answer"});
  }
  const bool has_none = *error == ENOENT || *error == ENOTDIR || *error == ELOOP || *error == EXDEV;
  if (has_none && *step == BindStep::kLookUp && !sub_path.empty()) {
    throw Error(ErrorCode::kUsage, "attribute \"subPath\": the package has no directory \"" + sub_path + "\"");
  }
  if (*error != 0) {
    const ErrorCode code = *step == BindStep::kLookUp ? system_error("", *error).code() : ErrorCode::kMount;
    throw Error(code, {what, system_error(name_of(*step), *error).message()});
  }
}

void refuse_foreign_mount(const std::string& target) {
  if (const auto mounted = find_mount(target); mounted && mounted->type != kMountType) {
    throw Refusal(grpc::StatusCode::FAILED_PRECONDITION, "the target path \"" + target +
                                                             "\" has a mount of another program: " + mounted->type +
                                                             " (" + mounted->source + ")");
  }
}

void unbind_target(const std::string& target) {
  while (find_mount(target)) {
    refuse_foreign_mount(target);
    unmount(target, true);
  }
}

void remove_target(const std::string& target) {
  unbind_target(target);
  if (::rmdir(target.c_str()) != 0 && errno != ENOENT) {
    if (errno == ENOTEMPTY || errno == ENOTDIR || errno == EEXIST) {
      throw Refusal(grpc::StatusCode::FAILED_PRECONDITION,
                    "the target path \"" + target + "\" has files that are not of pkgfs, and stays");
    }
    throw system_error("Unable to remove the target path \"" + target + "\"", errno);
  }
}

std::optional<FileSystemSize> measure(const std::string& path) {
  const Shared<FileSystemSize> size("Unable to measure \"" + path + "\"");
  const auto ask = [&](std::size_t) {
    struct statvfs status{};
    if (::statvfs(path.c_str(), &status) != 0) {
      return 1;
    }
    *size = {.bytes = status.f_blocks * status.f_frsize,
             .free_bytes = status.f_bavail * status.f_frsize,
             .inodes = status.f_files};
    return 0;
  };
  if (run_bounded(1, ask, kSizeLimit).front() != 0) {
    return std::nullopt;
  }
  return *size;
}

}  // namespace pkgfs::csi
