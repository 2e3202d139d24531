// SPDX-License-Identifier: MIT
#include "daemon/commands/tree_walk.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "core/base/limits.h"

namespace pkgfs {

namespace {

/// A name of a directory, looked up; holds a reference until `release`.
struct Child {
  std::string name;
  vfs::Entry entry;
  int error = 0;
};

struct Level {
  vfs::Inode inode = 0;
  vfs::Attributes attributes;
  std::vector<Child> children;
  std::size_t next = 0;
  std::size_t path_length = 0;  // of the directory's own path
  int error = 0;                // of its listing
  bool last = false;
};

/// The names of `dir`, each with a reference to its inode.
int list(vfs::FileSystem& fs, vfs::Inode dir, std::vector<Child>& children) {
  const Result<void> read = fs.read_dir(dir, 0, [&](const vfs::DirEntry& entry) {
    children.push_back({std::string(entry.name), {entry.inode, entry.attributes}, 0});
    return true;
  });
  for (Child& child : children) {
    if (child.entry.inode != 0) {
      continue;
    }
    if (const Result<vfs::Entry> found = fs.lookup(dir, child.name)) {
      child.entry = *found;
    } else {
      child.error = found.error();
    }
  }
  return read ? 0 : read.error();
}

class Walk {
 public:
  Walk(vfs::FileSystem& fs, TreeVisitor& visitor) : fs_(fs), visitor_(visitor) {}
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;
  ~Walk() {
    while (!levels_.empty()) {
      release(levels_.back());
      levels_.pop_back();
    }
  }

  void run(vfs::Inode root) {
    enter(root, {}, true);
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next < level.children.size()) {
        step(level);
      } else {
        leave();
      }
    }
  }

 private:
  void enter(vfs::Inode inode, const vfs::Attributes& attributes, bool last) {
    Level level;
    level.inode = inode;
    level.attributes = attributes;
    level.path_length = path_.size();
    level.last = last;
    level.error = list(fs_, inode, level.children);
    levels_.push_back(std::move(level));
  }

  void step(Level& level) {
    const Child& child = level.children[level.next++];
    path_.resize(level.path_length);
    path_ += '/';
    path_ += child.name;
    TreeStep step{path_, child.name, child.entry.inode, child.entry.attributes, child.error, false, levels_.size() - 1};
    step.last = level.next == level.children.size();
    const bool directory = child.error == 0 && child.entry.attributes.type == vfs::FileType::kDirectory;
    if (directory && levels_.size() >= limits::kTreeDepth) {
      step.error = ELOOP;
    }
    if (visitor_.visit(step) && directory && step.error == 0) {
      enter(child.entry.inode, child.entry.attributes, step.last);  // `level` and `child` are gone after this
    }
  }

  void leave() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    release(level);
    path_.resize(level.path_length);
    const std::size_t slash = path_.rfind('/');
    const std::string_view path = path_;
    visitor_.leave({path, slash == std::string::npos ? path : path.substr(slash + 1), level.inode, level.attributes,
                    level.error, level.last, levels_.empty() ? 0 : levels_.size() - 1});
  }

  void release(const Level& level) {
    for (const Child& child : level.children) {
      if (child.error == 0) {
        fs_.forget(child.entry.inode, 1);
      }
    }
  }

  vfs::FileSystem& fs_;
  TreeVisitor& visitor_;
  std::vector<Level> levels_;
  std::string path_;
};

/// The components of a path still to walk, the next one last.
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
  Trail(vfs::FileSystem& fs, const vfs::Entry& root) : fs_(fs), entries_{root} {}
  Trail(const Trail&) = delete;
  Trail& operator=(const Trail&) = delete;
  ~Trail() { to_root(); }

  [[nodiscard]] const vfs::Entry& here() const { return entries_.back(); }
  void down(const vfs::Entry& entry) { entries_.push_back(entry); }
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
  vfs::Entry take() {
    const vfs::Entry entry = entries_.back();
    if (entries_.size() > 1) {
      entries_.pop_back();
    }
    return entry;
  }

 private:
  vfs::FileSystem& fs_;
  std::vector<vfs::Entry> entries_;
};

}  // namespace

void visit_tree(vfs::FileSystem& fs, vfs::Inode root, TreeVisitor& visitor) { Walk(fs, visitor).run(root); }

Result<vfs::Entry> find_path(vfs::FileSystem& fs, std::string_view path, bool follow_last) {
  constexpr int kMaxLinks = 40;  // as the kernel
  const Result<vfs::Attributes> root = fs.metadata(fs.root());
  if (!root) {
    return fail(root.error());
  }
  const bool must_be_directory = path.ends_with('/');
  Trail trail(fs, {fs.root(), *root});
  std::vector<std::string> pending;
  push_components(path, pending);
  int links = 0;
  while (!pending.empty()) {
    const std::string name = std::move(pending.back());
    pending.pop_back();
    if (trail.here().attributes.type != vfs::FileType::kDirectory) {
      return fail(ENOTDIR);
    }
    if (name == ".") {
      continue;
    }
    if (name == "..") {
      trail.up();
      continue;
    }
    const Result<vfs::Entry> found = fs.lookup(trail.here().inode, name);
    if (!found) {
      return fail(found.error());
    }
    const bool follow = !pending.empty() || follow_last || must_be_directory;
    if (found->attributes.type != vfs::FileType::kSymlink || !follow) {
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
  if (must_be_directory && trail.here().attributes.type != vfs::FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  return trail.take();
}

Result<void> read_file(vfs::FileSystem& fs, vfs::Inode inode, FunctionRef<bool(std::span<const std::byte>)> consume) {
  constexpr std::size_t kPiece = 256U << 10U;
  const auto file = fs.open(inode);
  if (!file) {
    return fail(file.error());
  }
  std::vector<std::byte> piece(kPiece);
  std::uint64_t offset = 0;
  while (true) {
    const Result<std::size_t> got = (*file)->read(offset, piece);
    if (!got) {
      return fail(got.error());
    }
    if (*got == 0 || !consume(std::span(piece).first(*got))) {
      return {};
    }
    offset += *got;
  }
}

Result<Sha256> sha256_of(vfs::FileSystem& fs, vfs::Inode inode) {
  Sha256Hasher hasher;
  const Result<void> read = read_file(fs, inode, [&hasher](std::span<const std::byte> bytes) {
    hasher.update(bytes);
    return true;
  });
  if (!read) {
    return fail(read.error());
  }
  return hasher.finish();
}

}  // namespace pkgfs
