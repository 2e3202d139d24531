// SPDX-License-Identifier: MIT
#include "daemon/overlay/changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <span>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr std::size_t kPieceBytes = 64U << 10U;

class Lister {
 public:
  Lister(const MergedTree& tree, const ShownAs& shown) : tree_(tree), shown_(shown) {}

  std::vector<Change> run() && {
    const std::optional<vfs::Inode> root = tree_.base().root();
    list("", "", root, root, tree_.upper().is_opaque(""));
    return std::move(found_);
  }

 private:
  [[nodiscard]] mode_t mode_of(const vfs::Attributes& attributes) const {
    switch (attributes.type) {
      case vfs::FileType::kDirectory:
        return S_IFDIR | (attributes.mode & ~shown_.directory_mask & 07777U);
      case vfs::FileType::kFile:
        return S_IFREG | (attributes.mode & ~shown_.file_mask & 07777U);
      case vfs::FileType::kSymlink:
        return S_IFLNK | 0777U;
    }
    return 0;
  }

  [[nodiscard]] ChangedEntry before(const vfs::Entry& entry) const {
    ChangedEntry was{.mode = mode_of(entry.attributes), .size = entry.attributes.size, .target = {}};
    if (entry.attributes.type == vfs::FileType::kSymlink) {
      const Result<std::string_view> target = tree_.base().read_link(entry.inode);
      was.target = target ? std::string(*target) : std::string();
    }
    was.size = S_ISREG(was.mode) ? was.size : 0;
    return was;
  }

  [[nodiscard]] static ChangedEntry after(const UpperEntry& entry) {
    return {.mode = entry.status.st_mode,
            .size = S_ISREG(entry.status.st_mode) ? static_cast<std::uint64_t>(entry.status.st_size) : 0,
            .target = entry.target};
  }

  [[nodiscard]] bool has_same_bytes(const std::string& path, const vfs::Entry& base) const {
    const UniqueFd file = tree_.upper().open(path, O_RDONLY | O_NONBLOCK);
    Result<std::unique_ptr<vfs::OpenFile>> packaged = tree_.base().open(base.inode);
    if (!file || !packaged) {
      throw system_error("Unable to compare \"/" + path + "\" with the package", file ? packaged.error() : errno);
    }
    std::vector<std::byte> ours(kPieceBytes);
    std::vector<std::byte> theirs(kPieceBytes);
    for (std::uint64_t offset = 0;;) {
      const ssize_t got = ::pread(file.get(), ours.data(), ours.size(), static_cast<off_t>(offset));
      if (got < 0) {
        throw system_error("Unable to read \"/" + path + "\"", errno);
      }
      const auto size = static_cast<std::size_t>(got);
      std::size_t filled = 0;
      while (filled < size) {
        const Result<std::size_t> more =
            (*packaged)->read(offset + filled, std::span(theirs).subspan(filled, size - filled));
        if (!more) {
          throw system_error("Unable to read \"/" + path + "\" of the package", more.error());
        }
        if (*more == 0) {
          return false;
        }
        filled += *more;
      }
      if (!std::equal(ours.begin(), ours.begin() + got, theirs.begin())) {
        return false;
      }
      if (size == 0) {
        return true;
      }
      offset += size;
    }
  }

  [[nodiscard]] bool has_same_content(const std::string& path, const UpperEntry& entry, const vfs::Entry& base,
                                      const ChangedEntry& was, const ChangedEntry& is) const {
    if ((was.mode & S_IFMT) != (is.mode & S_IFMT) || was.size != is.size || was.target != is.target) {
      return false;
    }
    return !S_ISREG(entry.status.st_mode) || has_same_bytes(path, base);
  }

  [[nodiscard]] bool has_same_attributes(const UpperEntry& entry, const ChangedEntry& was) const {
    const bool has_mode = S_ISLNK(was.mode) || (was.mode & 07777U) == (entry.status.st_mode & 07777U);
    return has_mode && entry.status.st_uid == shown_.uid && entry.status.st_gid == shown_.gid;
  }

  void add_removed(const std::string& path, const vfs::Entry& entry) {
    found_.push_back({.path = "/" + path,
                      .kind = ChangeKind::kRemoved,
                      .before = before(entry),
                      .after = {},
                      .from = {},
                      .inode = entry.inode});
  }

  /// `upper` is the path among the changes. `shows` is the package's directory that shows through, and `was` what the
  /// package has at the path: another one if a directory was renamed or replaced.
  void list(const std::string& upper, const std::string& base_path, std::optional<vfs::Inode> was,
            std::optional<vfs::Inode> shows, bool hides_all) {
    std::set<std::string> present;
    for (const UpperEntry& entry : tree_.upper().entries(upper)) {
      present.insert(entry.name);
      visit(upper, base_path, entry, was, shows);
    }
    if (hides_all && was) {
      for (const std::string& name : tree_.names(*was)) {
        const auto entry = present.contains(name) ? std::nullopt : tree_.find(was, name);
        if (entry) {
          add_removed(upper.empty() ? name : upper + "/" + name, *entry);
        }
      }
    }
  }

  void visit(const std::string& upper, const std::string& base_path, const UpperEntry& entry,
             std::optional<vfs::Inode> was_parent, std::optional<vfs::Inode> shown_parent) {
    const std::string path = upper.empty() ? entry.name : upper + "/" + entry.name;
    const std::string from = base_path + "/" + entry.name;
    const std::optional<vfs::Entry> base = tree_.find(was_parent, entry.name);
    if (entry.is_removed) {
      if (base) {
        add_removed(path, *base);
      }
      return;
    }
    const ChangedEntry is = after(entry);
    Change change{.path = "/" + path, .kind = ChangeKind::kAdded, .before = {}, .after = is, .from = {}, .inode = {}};
    if (base) {
      change.before = before(*base);
      change.inode = base->inode;
    }
    const bool is_directory = S_ISDIR(entry.status.st_mode);
    if (is_directory && entry.redirect) {
      const std::optional<vfs::Inode> origin = tree_.redirected(shown_parent, *entry.redirect);
      change.kind = ChangeKind::kRenamed;
      change.from = entry.redirect->starts_with('/') ? *entry.redirect : base_path + "/" + *entry.redirect;
      const std::string place = change.from;
      found_.push_back(std::move(change));
      list(path, place, origin, origin, false);
      return;
    }
    const bool was_directory = base && base->attributes.type == vfs::FileType::kDirectory;
    if (base && has_same_content(path, entry, *base, *change.before, is)) {
      change.kind = ChangeKind::kAttributes;
      if (!has_same_attributes(entry, *change.before)) {
        found_.push_back(std::move(change));
      }
    } else {
      change.kind = base ? ChangeKind::kChanged : ChangeKind::kAdded;
      found_.push_back(std::move(change));
    }
    if (is_directory) {
      const std::optional<vfs::Inode> below = was_directory ? std::optional(base->inode) : std::nullopt;
      list(path, from, below, entry.is_opaque ? std::nullopt : below, entry.is_opaque);
    }
  }

  const MergedTree& tree_;
  const ShownAs& shown_;
  std::vector<Change> found_;
};

}  // namespace

std::vector<Change> list_changes(const MergedTree& tree, const ShownAs& shown) { return Lister(tree, shown).run(); }

}  // namespace pkgfs
