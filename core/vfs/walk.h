// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"

/// Ways through a tree: the walk over everything below a directory, its order, and the look-up of a path.
namespace pkgfs::vfs {

/// Where a walk is: at an entry, or leaving a directory that it went into. Valid until the walk goes on.
struct WalkStep {
  std::string_view path;  // from the walk's root, with a leading "/"; empty when the walk leaves its root
  std::string_view name;  // the last component
  Inode inode = 0;        // 0 if it can't be looked up; valid until the walk goes on, a directory's until it is left
  Attributes attributes;  // the mode of a file that may be a program is open: `FileSystem::metadata` has it
  /// 0 or an errno. At an entry: it can't be looked up, or is a directory too deep to go into (ELOOP). When the walk
  /// leaves a directory: its listing failed, perhaps after some entries.
  int error = 0;
  bool leaving = false;   // a directory, after everything below it
  bool last = false;      // the last entry of its directory
  std::size_t depth = 0;  // 0 for entries of the walk's root
};

struct WalkOptions {
  /// Passes over everything that isn't a directory, without looking it up.
  bool directories_only = false;
  /// Reads this many entries of a directory at a time. Only for an OverlayFileSystem, in which a listing can be
  /// continued at little cost. Others list the whole directory again each time, and a live one may change meanwhile.
  std::size_t batch = std::numeric_limits<std::size_t>::max();
};

/// Visits everything below a directory, depth first. The entries of a directory come in the order of their names. A
/// directory comes before its entries. No symbolic link is followed. Directories deeper than limits::kTreeDepth are
/// visited with ELOOP and not entered.
///
/// for (TreeWalk walk(fs, fs.root()); walk.next();) { ... walk.step() ... }
///
/// Does not recurse. Takes and returns the references of the inodes; the reference of the root stays the caller's. `fs`
/// must outlive the walk. Not thread-safe; what was read of a directory doesn't change any more.
class TreeWalk {
 public:
  TreeWalk(FileSystem& fs, Inode root, const WalkOptions& options = {});
  ~TreeWalk();
  TreeWalk(const TreeWalk&) = delete;
  TreeWalk& operator=(const TreeWalk&) = delete;

  /// Goes to the next step; false: the walk is over.
  bool next();
  [[nodiscard]] const WalkStep& step() const { return step_; }
  /// Keeps the walk from going into the directory that it is at.
  void skip() { enters_ = false; }

 private:
  struct Child {
    std::string name;
    Inode inode = 0;
    Attributes attributes;
    bool counted = false;  // `inode` is a reference of the walk
  };
  struct Level {
    Child self;
    std::vector<Child> children;
    std::size_t next = 0;         // of `children`
    std::uint64_t position = 0;   // after the last of `children`
    std::size_t path_length = 0;  // of the directory's own path
    int error = 0;                // of the listing
    bool more = false;            // entries follow those in `children`
    bool last = false;
  };
  void enter(Child directory, bool last);
  void list(Level& level) const;
  void visit(Level& level);
  void leave();
  void release(const Child& child) const;

  FileSystem& fs_;
  WalkOptions options_;
  std::vector<Level> levels_;
  std::string path_;
  WalkStep step_;
  Child current_;        // what `step_` shows
  bool enters_ = false;  // into `current_`
};

/// Receives the steps of a walk (`visit_tree`). For visitors with a state of their own.
class TreeVisitor {
 public:
  virtual ~TreeVisitor() = default;
  /// Called for every entry. Answers whether to go into it, which matters for directories only.
  virtual bool visit(const WalkStep& step) = 0;
  /// Called after the last entry of a directory that the walk went into, and at the end for the walk's root.
  virtual void leave(const WalkStep& /*step*/) {}
};

/// Walks and calls `visitor` for each step. An exception of `visitor` ends the walk.
void visit_tree(FileSystem& fs, Inode root, TreeVisitor& visitor);

/// The directory that a walk visits next after `directory`. 0 if there is none. 0 also if it could only be found more
/// than 16 levels further up. Only for file systems that know their places (`FileSystem::place`).
[[nodiscard]] Inode next_directory(FileSystem& fs, Inode directory);

/// The path of `directory` from the root, without a leading "/"; "." for the root. Empty: its name can't be found. Only
/// for file systems that know their places.
[[nodiscard]] std::string path_of(FileSystem& fs, Inode directory);

/// Which symbolic links a look-up of a path follows.
enum class Follow : std::uint8_t {
  kNone,
  kAllButLast,  // the last component only with a trailing "/", as lstat(2) does
  kAll,
};

/// Looks up `path` as a process would: the root of the tree is its root and its working directory. The components "."
/// and ".." have their usual meaning; ".." at the root leads to the root. With a trailing "/", the path must lead to a
/// directory. Follows at most 40 links (ELOOP). The caller owns a reference of the entry, unless it is the root.
[[nodiscard]] Result<Entry> find_path(FileSystem& fs, std::string_view path, Follow follow = Follow::kNone);

}  // namespace pkgfs::vfs
