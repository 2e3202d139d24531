// SPDX-License-Identifier: MIT
#include "core/webc/verify_tree.h"

#include <algorithm>
#include <deque>

#include "core/base/hash.h"
#include "core/base/limits.h"
#include "core/webc/buffer.h"
#include "core/webc/bytes.h"
#include "core/webc/claims.h"

namespace pkgfs::webc {
namespace {

// Walks one tree, each directory once, without recursion.
class TreeCheck {
 public:
  TreeCheck(const Tree& tree, bool atoms, VerifyDepth depth, Problems& problems)
      : tree_(tree), atoms_(atoms), depth_(depth), problems_(problems) {}

  void run() {
    const auto root = tree_.table(kRootRef);
    if (!root) {
      add(root.error());
      return;
    }
    tables_.add(*root);
    for (pending_.push_back({}); !pending_.empty() && !problems_.full(); pending_.pop_front()) {
      directory(pending_.front());
    }
    check_entries();
    // What a damaged record leads to can't be reached, so gaps say nothing new then.
    if (tree_.tables_fill_header() && !found_) {
      if (const ByteRange gap = tables_.first_gap(tree_.parts().header_length); !gap.empty()) {
        add({.at = gap.begin, .text = "no directory has the bytes up to " + hex(gap.end)});
      }
    }
  }

 private:
  struct Directory {
    std::uint64_t entry = kRootRef;
    std::size_t depth = 0;
  };

  void add(const Problem& problem) {
    found_ = true;
    problems_.add(describe(tree_.parts(), atoms_, problem));
  }

  void directory(const Directory& directory) {
    const auto table = tree_.table(directory.entry);
    const auto own = tree_.entry(directory.entry);
    if (!table || !own) {
      add(table ? own.error() : table.error());
      return;
    }
    const Cursor first = tree_.children(*table);
    SeenNames seen(tree_, first);
    Sha256Hasher hashes;
    for (Cursor cursor = first; !cursor.done() && !problems_.full();) {
      const auto child = tree_.next(cursor);
      if (!child) {
        add(child.error());
        return;
      }
      hashes.update(child->sha256);
      if (const char* why = name_problem(child->name)) {
        add({.at = child->at, .text = "name " + in_quotes(child->name) + " " + why});
      } else if (!seen.add(*child)) {
        add({.at = child->at, .text = "a second entry named " + in_quotes(child->name)});
      }
      check_child(directory, *child);
    }
    if (tree_.depth_first() && !own->sha256.empty()) {
      const Sha256 digest = hashes.finish();
      if (!std::ranges::equal(own->sha256, std::as_bytes(std::span(digest)))) {
        add({.at = directory.entry, .text = "directory hash is not that of its children"});
      }
    }
  }

  void check_child(const Directory& parent, const Child& child) {
    const auto info = entry_of(tree_, child);
    if (!info) {
      add(info.error());
      return;
    }
    if (!child.sha256.empty() && !std::ranges::equal(child.sha256, info->sha256)) {
      add({.at = child.at, .text = "hash of " + in_quotes(child.name) + " differs from the one in its entry"});
    }
    if (atoms_ && info->kind != EntryKind::kFile) {
      add({.at = child.at, .text = "atom " + in_quotes(child.name) + " is not a file"});
    }
    if (info->kind == EntryKind::kDirectory) {
      const auto table = tree_.table(child.entry);
      if (!table || table->empty()) {
        return;
      }
      if (!tables_.add(*table)) {
        add({.at = child.at,
             .text = "directory " + in_quotes(child.name) + " at " + hex(table->begin) +
                     " is reached twice or overlaps another"});
      } else if (parent.depth + 1 > limits::kTreeDepth) {
        add({.at = child.at, .text = "directories deeper than " + std::to_string(limits::kTreeDepth) + " levels"});
      } else {
        pending_.push_back({.entry = child.entry, .depth = parent.depth + 1});
      }
      return;
    }
    if (const std::uint64_t length = tree_.entry_length(child.entry, *info)) {
      entries_.push_back({.begin = child.entry, .end = child.entry + length});
    }
    if (info->kind == EntryKind::kSymlink) {
      check_link(parent, child, *info);
    } else if (depth_ == VerifyDepth::kContent && !info->sha256.empty()) {
      check_body(child, *info);
    }
  }

  void check_body(const Child& child, const EntryInfo& info) {
    // Bodies may overlap, so that a small file could ask for endless hashing.
    constexpr std::uint64_t kRounds = 16;
    if (info.length > kRounds * tree_.file().size() - hashed_) {
      if (!gave_up_) {
        add({.at = child.entry, .text = "file bodies overlap too much to be checked"});
      }
      gave_up_ = true;
      return;
    }
    hashed_ += info.length;
    if (!is_sha256(info.sha256, tree_.file().subspan(info.offset, info.length))) {
      add({.at = child.entry, .text = "content of " + in_quotes(child.name) + " does not match its hash"});
    }
  }

  void check_link(const Directory& parent, const Child& child, const EntryInfo& info) {
    if (depth_ == VerifyDepth::kContent &&
        !is_sha256(info.sha256, std::as_bytes(std::span(info.target.data(), info.target.size())))) {
      add({.at = child.entry, .text = "target of " + in_quotes(child.name) + " does not match its hash"});
    }
    if (info.target.starts_with('/') || climbs_out(info.target, parent.depth)) {
      add({.at = child.entry,
           .text = "link " + in_quotes(child.name) + " to " + in_quotes(info.target) + " leaves the volume"});
    }
  }

  // An entry of a file or a link belongs to one record, and no two entries share bytes.
  void check_entries() {
    if (tree_.depth_first()) {
      tables_.append_to(entries_);
    }
    std::sort(entries_.begin(), entries_.end(),
              [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < entries_.size() && !problems_.full(); ++i) {
      if (entries_[i].begin < entries_[i - 1].end) {
        add({.at = entries_[i].begin,
             .text = entries_[i].begin == entries_[i - 1].begin
                         ? std::string("entry is referenced twice")
                         : "entry overlaps the one at " + hex(entries_[i - 1].begin)});
      }
    }
  }

  const Tree& tree_;
  bool atoms_;
  VerifyDepth depth_;
  Problems& problems_;
  std::deque<Directory> pending_;
  Claims tables_;
  std::vector<ByteRange> entries_;
  std::uint64_t hashed_ = 0;
  bool gave_up_ = false;
  bool found_ = false;  // a problem
};

}  // namespace

bool climbs_out(std::string_view path, std::size_t depth) {
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part == "..") {
      if (depth == 0) {
        return true;
      }
      --depth;
    } else if (!part.empty() && part != ".") {
      ++depth;
    }
  }
  return false;
}

bool is_sha256(Bytes stored, Bytes of) {
  const Sha256 digest = sha256(of);
  return std::ranges::equal(stored, std::as_bytes(std::span(digest)));
}

void verify_tree(const Tree& tree, bool atoms, VerifyDepth depth, Problems& problems) {
  TreeCheck(tree, atoms, depth, problems).run();
}

}  // namespace pkgfs::webc
