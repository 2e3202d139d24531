// SPDX-License-Identifier: MIT
#include "core/vfs/compare.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

namespace pkgfs::vfs {

namespace {

/// Whether a walk visits `a` before `b`: the entries of a directory follow it, before `a.b` follows `a`.
bool comes_before(std::string_view a, std::string_view b) {
  constexpr auto kRank = [](char c) { return c == '/' ? 0 : static_cast<int>(static_cast<unsigned char>(c)); };
  return std::ranges::lexicographical_compare(a, b, {}, kRank, kRank);
}

/// Paths of what couldn't be read; "" is the root.
using Unread = std::set<std::string, std::less<>>;

/// Whether `path` or a directory above it is in `unread`.
bool is_unread(const Unread& unread, std::string_view path) {
  while (!unread.contains(path)) {
    if (path.empty()) {
      return false;
    }
    path = path.substr(0, path.rfind('/'));
  }
  return true;
}

/// A walk through one tree that stops at entries only.
class Side {
 public:
  explicit Side(ComparedTree& tree) : tree_(tree), walk_(tree.fs(), tree.fs().root()) {}

  /// Goes to the next entry; false: there is none. Entries that can't be read are reported. Their paths, and those of
  /// directories whose listing failed, are added to `unread`.
  bool next(Unread& unread) {
    while (walk_.next()) {
      const WalkStep& step = walk_.step();
      if (step.error != 0) {
        tree_.report(step.path.empty() ? "/" : step.path, step.error);
        unread.emplace(step.path);
      } else if (!step.leaving) {
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] const WalkStep& step() const { return walk_.step(); }
  [[nodiscard]] ComparedTree& tree() const { return tree_; }

  /// The entry, with its stored hash. Nothing if it can't be read, which is reported.
  [[nodiscard]] std::optional<ComparedEntry> entry(const FileIdentity& identity) const {
    const Attributes& attributes = step().attributes;
    ComparedEntry entry{.type = attributes.type, .mode = {}, .size = attributes.size, .sha256 = {}, .target = {}};
    if (attributes.type == FileType::kSymlink) {
      const Result<std::string_view> target = tree_.fs().read_link(step().inode);
      if (!target) {
        tree_.report(step().path, target.error());
        return std::nullopt;
      }
      entry.target = *target;
      if (!tree_.fs().is_intact(step().inode)) {
        tree_.report(step().path, EIO);
        return std::nullopt;
      }
      return entry;  // the mode of a link means nothing
    }
    if (!attributes.may_be_program) {
      entry.mode = attributes.mode;
    }
    if (attributes.type == FileType::kFile) {
      entry.sha256 = identity.sha256;
    }
    return entry;
  }

  [[nodiscard]] FileIdentity identity() const {
    return step().attributes.type == FileType::kFile ? tree_.identity(step()) : FileIdentity{};
  }

 private:
  ComparedTree& tree_;
  TreeWalk walk_;
};

/// One of two files that are read side by side, a piece at a time. `piece` is where the pieces go.
class Reader {
 public:
  Reader(const Side& side, std::span<std::byte> piece)
      : side_(side), file_(side.tree().fs().open(side.step().inode)), piece_(piece) {
    check(file_);
  }

  /// The bytes at `offset`: fewer than asked for only at the end. Nothing after an error, which is reported.
  [[nodiscard]] std::span<const std::byte> read(std::uint64_t offset) {
    std::size_t filled = 0;
    while (is_right_ && filled < piece_.size()) {
      const Result<std::size_t> got = (*file_)->read(offset + filled, piece_.subspan(filled));
      check(got);
      if (!got || *got == 0) {
        break;
      }
      filled += *got;
    }
    return piece_.first(filled);
  }
  [[nodiscard]] bool is_right() const { return is_right_; }

 private:
  void check(const auto& result) {
    if (!result) {
      side_.tree().report(side_.step().path, result.error());
      is_right_ = false;
    }
  }

  const Side& side_;
  bool is_right_ = true;
  Result<std::unique_ptr<OpenFile>> file_;
  std::span<std::byte> piece_;
};

constexpr std::size_t kPiece = 256U << 10U;

/// Reads two files of one size; `room` has two pieces. Nothing if one of them can't be read, which is reported.
std::optional<bool> have_equal_bytes(const Side& before, const Side& after, std::span<std::byte> room) {
  Reader a(before, room.first(kPiece));
  Reader b(after, room.subspan(kPiece));
  for (std::uint64_t offset = 0; a.is_right() && b.is_right();) {
    const std::span<const std::byte> of_a = a.read(offset);
    const std::span<const std::byte> of_b = b.read(offset);
    if (!a.is_right() || !b.is_right()) {
      break;
    }
    if (!std::ranges::equal(of_a, of_b)) {
      return false;
    }
    if (of_a.empty()) {
      return true;
    }
    offset += of_a.size();
  }
  return std::nullopt;
}

class Comparison {
 public:
  Comparison(ComparedTree& before, ComparedTree& after) : before_(before), after_(after) {}

  std::vector<Difference> run() && {
    bool has_before = before_.next(unread_);
    bool has_after = after_.next(unread_);
    while (has_before || has_after) {
      const bool only_before = has_before && (!has_after || comes_before(before_.step().path, after_.step().path));
      const bool only_after =
          !only_before && has_after && (!has_before || comes_before(after_.step().path, before_.step().path));
      if (only_before) {
        add(before_, &Difference::before);
      } else if (only_after) {
        add(after_, &Difference::after);
      } else {
        compare();
      }
      has_before = only_after ? has_before : before_.next(unread_);
      has_after = only_before ? has_after : after_.next(unread_);
    }
    leave_out_unread();
    return std::move(found_);
  }

 private:
  void add(const Side& side, std::optional<ComparedEntry> Difference::* which) {
    if (std::optional<ComparedEntry> entry = side.entry(side.identity())) {
      Difference difference{.path = std::string(side.step().path), .before = {}, .after = {}};
      difference.*which = *std::move(entry);
      found_.push_back(std::move(difference));
    }
  }

  void compare() {
    const FileIdentity of_before = before_.identity();
    const FileIdentity of_after = after_.identity();
    std::optional<ComparedEntry> before = before_.entry(of_before);
    std::optional<ComparedEntry> after = after_.entry(of_after);
    if (!before || !after) {
      return;
    }
    // A hash, or a mode, that only one tree tells says nothing about equality.
    ComparedEntry known = *before;
    known.sha256 = before->sha256 && after->sha256 ? before->sha256 : after->sha256;
    known.mode = before->mode && after->mode ? before->mode : after->mode;
    if (known != *after) {
      found_.push_back({std::string(after_.step().path), std::move(before), std::move(after)});
      return;
    }
    const bool are_identified =
        (before->sha256 && after->sha256) || (!of_before.place.empty() && of_before.place == of_after.place);
    if (after->type != FileType::kFile || after->size == 0 || are_identified) {
      return;
    }
    if (have_equal_bytes(before_, after_, room_) == false) {
      found_.push_back({std::string(after_.step().path), std::move(before), std::move(after)});
    }
  }

  /// Removes the one-sided differences at and below what the other side couldn't read.
  void leave_out_unread() {
    if (unread_.empty()) {
      return;
    }
    std::erase_if(found_, [this](const Difference& difference) {
      return (!difference.before || !difference.after) && is_unread(unread_, difference.path);
    });
  }

  Side before_;
  Side after_;
  Unread unread_;
  std::vector<Difference> found_;
  std::vector<std::byte> room_ = std::vector<std::byte>(2 * kPiece);
};

}  // namespace

std::vector<Difference> compare_trees(ComparedTree& before, ComparedTree& after) {
  return Comparison(before, after).run();
}

}  // namespace pkgfs::vfs
