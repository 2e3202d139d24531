// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// Identifies the file to which a name or a descriptor leads.
struct FileId {
  explicit FileId(const struct stat& status) : device(status.st_dev), inode(status.st_ino) {}
  friend bool operator==(const FileId&, const FileId&) = default;

  dev_t device;
  ino_t inode;
};

/// An open directory for files of pkgfs alone, although other users may write there, too. An example is the directory
/// for temporary files of a shared cache. Other users can put symbolic links, FIFOs and files of their own in the place
/// of a file. They can also put a symbolic link in the place of the directory.
///
/// No method uses such an entry or follows such a link. `make`, `open_file` and `write_file` remove it with a warning.
/// If the operating system refuses that, they throw an Error that names it and says what to do. All methods work on the
/// directory that was opened, wherever its path leads now.
///
/// Links on the way to the parent are followed, because a user may put a cache anywhere. A link in the place of the
/// directory is followed only if this user or root made it where no other user may write. `find_chosen` follows any
/// link.
class PrivateDirectory {
 public:
  /// Makes the directory `path` and its missing parents, with mode 0700, and opens it. Throws Error naming `path`, and
  /// the errors of `require_control`.
  [[nodiscard]] static PrivateDirectory make(const std::string& path);
  /// Opens the directory `path`. Nothing if there is none, or if a link that isn't followed is in its place. Throws
  /// Error if it can't be opened for another reason.
  [[nodiscard]] static std::optional<PrivateDirectory> find(const std::string& path);
  /// Opens the directory `path`, which a user chose: any symbolic link there is followed. If that fails, returns
  /// nothing and sets `failed` to the reason.
  [[nodiscard]] static std::optional<PrivateDirectory> find_chosen(const std::string& path, std::error_code& failed);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

  /// Checks that no other user can remove or replace files of this user here. The directory must belong to this user or
  /// root. Other users may not write to it, unless it has the sticky bit. If only the bit is missing and this user may
  /// set it, sets it with a warning. Some file systems show one owner or one mode for all files; then the owner or the
  /// mode doesn't count. Throws Error(kPermission), which says what to do.
  void require_control() const;

  /// Which regular files `open_file` uses. It removes anything else that has the name.
  enum class Content {
    kTrusted,  // of this user, with a single name; for a file that pkgfs reads
    kNone,     // any; for a lock, which has no content
  };
  /// Opens the regular file `name` for reading and writing. If there is none, makes it, with mode 0600 or, for a lock,
  /// 0644. A lock of another user may be open for reading only, which is enough for flock(2). Throws Error naming the
  /// file.
  [[nodiscard]] UniqueFd open_file(const std::string& name, Content content) const;
  /// Opens the file `name` for reading and writing, if it is there and `kTrusted` allows it. Else none. Throws Error
  /// naming it if it can't be opened for a reason that says nothing about it, such as too many open files.
  [[nodiscard]] UniqueFd find_file(const std::string& name) const;
  /// The content of the regular file `name`; nothing if it doesn't exist. Throws Error naming it if it can't be read,
  /// has more than `limit` bytes, or isn't a file that `kTrusted` allows.
  [[nodiscard]] std::optional<std::string> read_file(const std::string& name, std::size_t limit) const;
  /// Replaces the content of the file `name`, which it makes if there is none. If the process dies meanwhile, a part of
  /// `text` stays. Throws Error naming the file.
  void write_file(const std::string& name, std::string_view text) const;
  /// Removes the file `name`. False if there is no such file, or if it can't be removed.
  bool remove(const std::string& name) const noexcept;
  /// Moves the file `name` to the path `target`. Returns 0 or an errno number.
  [[nodiscard]] int move_out(const std::string& name, const std::string& target) const;

  /// Calls `visit` for each regular file, in any order. If the files can't all be listed, sets `failed` to the reason.
  void for_each_file(std::error_code& failed,
                     const std::function<void(const std::string& name, const struct stat& status)>& visit) const;

 private:
  PrivateDirectory(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;  // O_PATH
  std::string path_;
};

}  // namespace pkgfs
