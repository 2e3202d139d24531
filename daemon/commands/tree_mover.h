// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"
#include "daemon/commands/staging_area.h"

namespace pkgfs {

/// Moves the entries of a directory into another one that may have entries, and can take everything back. Directories
/// of one name are merged and get mode and times of the moved one. A file or link replaces one of its name. A directory
/// never replaces a file, nor a file a directory. It follows no symbolic link. No other process should change the
/// directories between `run` and `undo`: an entry that another process has moved is not put back.
///
/// A replaced entry goes to the area, under its own path, so that a user can put it back if the process is killed.
/// Where another file system is mounted in the directory, the entries for it are first copied to an area on it. Takes
/// linear time, and few descriptors at any depth.
class TreeMover {
 public:
  /// Moves what is in `area.fresh()`. `name` is that of `to`, for messages. All must outlive this.
  TreeMover(StagingArea& area, int to, std::string name, const CancelFlag& cancel);
  ~TreeMover();
  TreeMover(const TreeMover&) = delete;
  TreeMover& operator=(const TreeMover&) = delete;

  /// Moves everything; `to` itself gets the times of what is moved. Throws Error that names the entry, or
  /// Error(kInterrupted).
  void run();
  /// After `run`: removes the areas on other file systems.
  void finish();
  /// Takes back what `run` has done so far. Returns a message for each entry for which that failed. If a replaced entry
  /// can't be put back, its area isn't removed.
  [[nodiscard]] std::vector<std::string> undo();

 private:
  struct Crossing;
  struct Move {
    std::string name;
    bool has_replaced;  // it is in the area
    bool is_done;
  };
  /// A directory that both sides have. A parent has a lower index than its children; the first one is the root.
  struct Directory {
    std::size_t parent;
    std::string name;
    struct stat moved;    // as it was before it was moved
    struct stat before;   // as it was in `to`
    std::uint64_t mount;  // that it is on in `to`
    std::vector<Move> moves;
    std::unique_ptr<Crossing> crossing;  // its entries have an area of their own
  };
  /// The three sides of the current directory.
  struct Place {
    UniqueFd from;
    UniqueFd to;
    UniqueFd replaced;
    StagingArea* area = nullptr;
  };
  /// A directory that is being moved.
  struct Level {
    std::size_t directory;
    std::vector<std::string> names;
    std::size_t next;
  };

  void enter(std::size_t parent, const std::string& name, Place place, const struct stat& moved);
  void leave();
  void move(const std::string& name);
  /// Does, or goes on with, a move. 0 or an errno number.
  int go_on(Move& move, bool replaces, mode_t mode);
  /// Copies what is to be moved into the current directory to an area in that directory, and goes on from there.
  void cross();

  // For `undo`: opens a directory of the current one, puts its entries back, and at last its times.
  void go_down(std::size_t directory);
  void put_back(std::size_t directory, std::vector<std::string>& problems);
  void restore(std::size_t directory);

  /// The parent of the current directory.
  [[nodiscard]] Place up(std::size_t directory) const;
  /// Opens a directory of `to` from its root.
  [[nodiscard]] UniqueFd open_below(std::size_t directory) const;
  [[nodiscard]] std::string path_of(std::size_t directory, const std::string& name = {}) const;
  /// Where the replaced entry is.
  [[nodiscard]] std::string replaced_path(std::size_t directory, const std::string& name) const;
  [[noreturn]] void fail(std::size_t directory, const std::string& name, int error) const;

  StagingArea& area_;
  int to_;
  std::string name_;
  const CancelFlag& cancel_;
  std::vector<Directory> directories_;
  std::vector<Level> levels_;
  Place here_;
  std::set<const StagingArea*> lost_;  // they have files that can't be put back
  std::size_t undone_ = 0;             // entries that were taken back
};

}  // namespace pkgfs
