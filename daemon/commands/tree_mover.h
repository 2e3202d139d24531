// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// Moves the entries of a directory into another one that may have entries, on the same file system, and can take
/// everything back. Directories of one name are merged and get mode and times of the moved one. A file or link replaces
/// one of its name. A directory never replaces a file, nor a file a directory. It follows no symbolic link. Between two
/// calls, no other process should change the directories; if one does, an entry stays where it is then.
class TreeMover {
 public:
  /// `from` is a directory of this process alone, and `aside` an empty one for what is replaced. The descriptors and
  /// `cancel` must outlive this. `name` is that of `to`, for messages.
  TreeMover(int from, int to, int aside, std::string name, const CancelFlag& cancel);

  /// Moves everything; `to` itself gets the times of `from`. Throws Error that names the entry, or Error(kInterrupted).
  void run();
  /// Takes back what `run` has done so far. False: an entry that was replaced could not be put back, and is still in
  /// `aside`.
  [[nodiscard]] bool undo();

 private:
  /// A directory that both sides have. A parent has a lower index than its children; the first one is the root.
  struct Directory {
    std::size_t parent;
    std::string name;
    struct stat moved;   // as it was in `from`
    struct stat before;  // as it was in `to`
  };
  struct Move {
    std::size_t directory;
    std::string name;
    std::optional<std::string> replaced;  // its name in `aside`
  };

  /// Opens a directory of `directories_` below `root`.
  [[nodiscard]] UniqueFd open(int root, std::size_t directory) const;
  void move_entries(std::size_t directory);
  void move(std::size_t directory, int from, int to, const std::string& name);
  /// Puts the entry `name` of `to` into `aside`, and leaves it where it is as well if the file system has hard links.
  std::string put_aside(std::size_t directory, int to, const std::string& name);
  [[noreturn]] void fail(std::size_t directory, const std::string& name, int error) const;

  int from_;
  int to_;
  int aside_;
  std::string name_;
  const CancelFlag& cancel_;
  std::vector<Directory> directories_;
  std::vector<Move> moves_;
};

}  // namespace pkgfs
