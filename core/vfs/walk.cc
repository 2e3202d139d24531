// SPDX-License-Identifier: MIT
#include "core/vfs/walk.h"

#include <cerrno>
#include <iterator>
#include <utility>

#include "core/base/limits.h"

namespace pkgfs::vfs {

TreeWalk::TreeWalk(FileSystem& fs, Inode root, const WalkOptions& options) : fs_(fs), options_(options) {
  current_.inode = root;
  current_.attributes.type = FileType::kDirectory;
  step_.last = true;
  enters_ = true;
}

TreeWalk::~TreeWalk() {
  release(current_);
  for (const Level& level : levels_) {
    release(level.self);
  }
}

bool TreeWalk::next() {
  if (std::exchange(enters_, false)) {
    enter(std::exchange(current_, {}), step_.last);
  } else {
    release(std::exchange(current_, {}));
  }
  if (levels_.empty()) {
    return false;
  }
  Level& level = levels_.back();
  if (level.next == level.children.size() && level.more) {
    list(level);
  }
  if (level.next < level.children.size()) {
    visit(level);
  } else {
    leave();
  }
  return true;
}

void TreeWalk::enter(Child directory, bool last) {
  Level& level = levels_.emplace_back();
  level.self = std::move(directory);
  level.path_length = path_.size();
  level.last = last;
  list(level);
}

void TreeWalk::list(Level& level) const {
  level.children.clear();
  level.next = 0;
  level.more = false;
  const Result<void> listed = fs_.read_dir(level.self.inode, level.position, [&](const DirEntry& entry) {
    if (options_.directories_only && entry.attributes.type != FileType::kDirectory) {
      level.position = entry.next;
      return true;
    }
    level.more = level.children.size() == options_.batch;
    if (level.more) {
      return false;
    }
    level.children.push_back(
        {.name = std::string(entry.name), .inode = entry.inode, .attributes = entry.attributes, .counted = false});
    level.position = entry.next;
    return true;
  });
  level.error = listed ? 0 : listed.error();
}

void TreeWalk::visit(Level& level) {
  current_ = std::move(level.children[level.next++]);
  path_.resize(level.path_length);
  path_ += '/';
  path_ += current_.name;
  int error = 0;
  if (current_.inode == 0) {
    if (const Result<Entry> found = fs_.lookup(level.self.inode, current_.name)) {
      current_.inode = found->inode;
      current_.attributes = found->attributes;
      current_.counted = true;
    } else {
      error = found.error();
    }
  }
  enters_ = error == 0 && current_.attributes.type == FileType::kDirectory;
  if (enters_ && levels_.size() >= limits::kTreeDepth) {
    error = ELOOP;
    enters_ = false;
  }
  step_ = {.path = path_,
           .name = current_.name,
           .inode = current_.inode,
           .attributes = current_.attributes,
           .error = error,
           .leaving = false,
           .last = level.next == level.children.size() && !level.more,
           .depth = levels_.size() - 1};
}

void TreeWalk::leave() {
  Level& level = levels_.back();
  current_ = std::move(level.self);
  path_.resize(level.path_length);
  step_ = {.path = path_,
           .name = current_.name,
           .inode = current_.inode,
           .attributes = current_.attributes,
           .error = level.error,
           .leaving = true,
           .last = level.last,
           .depth = levels_.size() == 1 ? 0 : levels_.size() - 2};
  levels_.pop_back();
}

void TreeWalk::release(const Child& child) const {
  if (child.counted) {
    fs_.forget(child.inode, 1);
  }
}

void visit_tree(FileSystem& fs, Inode root, TreeVisitor& visitor) {
  for (TreeWalk walk(fs, root); walk.next();) {
    if (walk.step().leaving) {
      visitor.leave(walk.step());
    } else if (!visitor.visit(walk.step())) {
      walk.skip();
    }
  }
}

namespace {

Inode first_directory(FileSystem& fs, Inode parent, std::uint64_t from) {
  Inode found = 0;
  (void)fs.read_dir(parent, from, [&](const DirEntry& entry) {
    found = entry.attributes.type == FileType::kDirectory ? entry.inode : 0;
    return found == 0;
  });
  return found;
}

}  // namespace

Inode next_directory(FileSystem& fs, Inode directory) {
  constexpr int kMostLevels = 16;
  Inode next = first_directory(fs, directory, 0);
  for (int levels = 0; next == 0 && levels < kMostLevels; ++levels) {
    const Result<Place> place = fs.place(directory);
    if (!place) {
      return 0;  // the root
    }
    next = first_directory(fs, place->directory, place->next);
    directory = place->directory;
  }
  return next;
}

std::string path_of(FileSystem& fs, Inode directory) {
  std::string path;
  for (Result<Place> place = fs.place(directory); place; place = fs.place(directory)) {
    std::string name;
    (void)fs.read_dir(place->directory, place->next - 1, [&](const DirEntry& entry) {
      name = entry.inode == directory ? std::string(entry.name) : std::string();
      return false;
    });
    if (name.empty()) {
      return {};
    }
    path.insert(0, path.empty() ? name : name + "/");
    directory = place->directory;
  }
  return path.empty() ? "." : path;
}

namespace {

/// Puts the components of `path` before those that are still to be looked up; the next one is the last of `pending`.
void push_components(std::string_view path, std::vector<std::string>& pending) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (slash != 0) {
      parts.emplace_back(path.substr(0, slash));
    }
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  pending.insert(pending.end(), std::make_move_iterator(parts.rbegin()), std::make_move_iterator(parts.rend()));
}

/// A path from the root, as the entries on it. All but the root hold a reference.
class Trail {
 public:
  Trail(FileSystem& fs, const Entry& root) : fs_(fs), entries_{root} {}
  Trail(const Trail&) = delete;
  Trail& operator=(const Trail&) = delete;
  ~Trail() { to_root(); }

  [[nodiscard]] const Entry& here() const { return entries_.back(); }
  void down(const Entry& entry) { entries_.push_back(entry); }
  void up() {
    if (entries_.size() > 1) {
      fs_.forget(entries_.back().inode, 1);
      entries_.pop_back();
    }
  }
  void to_root() {
    while (entries_.size() > 1) {
      up();
    }
  }
  /// The last entry, with its reference.
  Entry take() {
    const Entry entry = entries_.back();
    if (entries_.size() > 1) {
      entries_.pop_back();
    }
    return entry;
  }

 private:
  FileSystem& fs_;
  std::vector<Entry> entries_;
};

}  // namespace

Result<Entry> find_path(FileSystem& fs, std::string_view path, Follow follow) {
  constexpr int kMaxLinks = 40;  // as the kernel
  const Result<Attributes> root = fs.metadata(fs.root());
  if (!root) {
    return fail(root.error());
  }
  Trail trail(fs, {fs.root(), *root});
  std::vector<std::string> pending;
  push_components(path, pending);
  const bool must_be_directory = path.ends_with('/') && !pending.empty();
  int links = 0;
  while (!pending.empty()) {
    const std::string name = std::move(pending.back());
    pending.pop_back();
    if (trail.here().attributes.type != FileType::kDirectory) {
      return fail(ENOTDIR);
    }
    if (name == ".") {
      continue;
    }
    if (name == "..") {
      trail.up();
      continue;
    }
    const Result<Entry> found = fs.lookup(trail.here().inode, name);
    if (!found) {
      return fail(found.error());
    }
    const bool is_last = pending.empty() && !must_be_directory;
    const bool is_followed = follow == Follow::kAll || (follow == Follow::kAllButLast && !is_last);
    if (found->attributes.type != FileType::kSymlink || !is_followed) {
      trail.down(*found);
      continue;
    }
    const Result<std::string_view> target = fs.read_link(found->inode);
    const std::string text(target.value_or(""));
    fs.forget(found->inode, 1);
    if (!target) {
      return fail(target.error());
    }
    if (text.empty()) {
      return fail(ENOENT);
    }
    if (++links > kMaxLinks) {
      return fail(ELOOP);
    }
    if (text.starts_with('/')) {
      trail.to_root();
    }
    push_components(text, pending);
  }
  if (must_be_directory && trail.here().attributes.type != FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  return trail.take();
}

}  // namespace pkgfs::vfs
