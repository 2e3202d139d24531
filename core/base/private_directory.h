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

/// Which file a name or a descriptor leads to.
struct FileId {
  explicit FileId(const struct stat& status) : device(status.st_dev), inode(status.st_ino) {}
  friend bool operator==(const FileId&, const FileId&) = default;

  dev_t device;
  ino_t inode;
};

/// An open directory whose files are pkgfs' own, although other users may write there, such as the temporary files of a
/// shared cache. Other users can put symbolic links, FIFOs and files of their own in place of its files, and a symbolic
/// link in place of the directory. No method follows such a link. What is in the way is removed with a warning; if the
/// operating system refuses that, an Error names it and says what to do. All methods work on the directory that was
/// opened, wherever its path leads now. Links on the way to the parent are followed: a user may put a cache anywhere.
/// So is a link in place of the directory if this user or root made it where no other user may write.
class PrivateDirectory {
 public:
  /// Makes `path` and its missing parents, with mode 0700, and opens it. Throws Error naming `path`, also as
  /// `require_control`.
  [[nodiscard]] static PrivateDirectory make(const std::string& path);
  /// Opens `path`; nothing if that isn't a directory. Throws Error if it can't be opened for another reason.
  [[nodiscard]] static std::optional<PrivateDirectory> find(const std::string& path);
  /// Opens `path`, a directory that a user chose: it may be a symbolic link. Nothing if that fails, for the reason
  /// `failed`.
  [[nodiscard]] static std::optional<PrivateDirectory> find_chosen(const std::string& path, std::error_code& failed);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

  /// Throws Error(kPermission), which says what to do, if another user may remove or replace files of this user here:
  /// the directory must be of this user or of root, and for others read-only or with the sticky bit. A directory of
  /// this user that lacks only the bit gets it. If the file system names one owner for all files, any owner will do.
  void require_control() const;

  enum class Content {
    kTrusted,  // a regular file of another user, or one with several names, is in the way, too
    kNone,     // a lock: any regular file will do
  };
  /// Opens the regular file `name` for reading and writing, and makes it with mode 0600 if there is none. A lock has
  /// mode 0644, and that of another user may be open for reading only: flock(2) needs no more. Throws Error.
  [[nodiscard]] UniqueFd open_file(const std::string& name, Content content) const;
  /// The content of the regular file `name`; nothing if it doesn't exist. Throws Error naming it if it can't be read,
  /// has more than `limit` bytes, or isn't a file that `open_file` would use.
  [[nodiscard]] std::optional<std::string> read_file(const std::string& name, std::size_t limit) const;
  /// Replaces the content of the file `name`. A process that dies in between leaves a part of `text`. Throws Error.
  void write_file(const std::string& name, std::string_view text) const;
  /// False if there is no such file, or if it can't be removed.
  bool remove(const std::string& name) const noexcept;
  /// Moves the file `name` to the path `target`. Returns an errno number, or 0.
  [[nodiscard]] int move_out(const std::string& name, const std::string& target) const;

  /// Calls `visit` for each regular file, in any order. `failed` says why some are missing.
  void for_each_file(std::error_code& failed,
                     const std::function<void(const std::string& name, const struct stat& status)>& visit) const;

 private:
  PrivateDirectory(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;  // O_PATH
  std::string path_;
};

}  // namespace pkgfs
