// SPDX-License-Identifier: MIT
#include "core/load/read_tarball.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/load/libarchive.h"
#include "core/load/nameless_file.h"
#include "core/load/tar_reader.h"
#include "core/webc/bytes.h"

namespace pkgfs {

namespace {

using webc::EntryKind;
using Index = ArchiveTree::Index;

/// `name` in quotes for a message, cut, because a name can have megabytes.
std::string shown(std::string_view name) {
  constexpr std::size_t kShown = 512;
  return "\"" + std::string(name.substr(0, kShown)) + (name.size() > kShown ? "…\"" : "\"");
}

[[noreturn]] void refuse(std::string_view entry, std::string_view why) {
  throw Error(ErrorCode::kCorrupt, "the entry " + shown(entry) + " " + std::string(why));
}

/// In the words of the system call that would fail if the archive were unpacked.
[[noreturn]] void fail_errno(std::string_view entry, int errnum) {
  throw Error(ErrorCode::kCorrupt, system_error("the entry " + shown(entry), errnum).message());
}

/// The components of an entry's name, which point into it. Refuses a name that leads out of the archive.
std::vector<std::string_view> components_of(std::string_view name) {
  if (name.starts_with('/')) {
    refuse(name, "has an absolute name");
  }
  std::vector<std::string_view> components;
  for (std::string_view rest = name; !rest.empty();) {
    const auto end = std::min(rest.find('/'), rest.size());
    const auto component = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (component == "..") {
      refuse(name, "has a name with \"..\"");
    }
    if (component.size() > limits::kNameBytes) {
      refuse(name, "has a name of more than " + std::to_string(limits::kNameBytes) + " bytes");
    }
    if (!component.empty() && component != ".") {
      components.push_back(component);
    }
    if (components.size() > limits::kTarballDepth) {
      refuse(name, "lies more than " + std::to_string(limits::kTarballDepth) + " directories deep");
    }
  }
  return components;
}

/// Whether no prefix of a link's target climbs above the root; the link lies in a directory at `depth` below it.
bool stays_inside(std::string_view target, std::size_t depth) {
  if (target.starts_with('/')) {
    return false;
  }
  while (!target.empty()) {
    const auto end = std::min(target.find('/'), target.size());
    const auto component = target.substr(0, end);
    target.remove_prefix(std::min(end + 1, target.size()));
    if (component == "..") {
      if (depth == 0) {
        return false;
      }
      --depth;
    } else if (!component.empty() && component != ".") {
      ++depth;
    }
  }
  return true;
}

class Reader {
 public:
  /// `packed`: the size of the archive.
  Reader(TarReader& tar, ArchiveTree& tree, const UnpackLimit& limit, std::uint64_t packed)
      : tar_(tar), tree_(tree), limit_(limit), packed_(packed) {}

  void run(const std::string& name) {
    while (struct archive_entry* entry = tar_.next()) {
      limit_.check_entries(++entries_);  // replaced ones count
      read(entry);
    }
    tar_.finish();
    tree_.set_source(spool_.finish(name));
  }

 private:
  void read(struct archive_entry* entry) {
    const char* raw = libarchive().entry_pathname(entry);
    if (raw == nullptr) {
      throw Error(ErrorCode::kCorrupt, "an entry has no readable name");
    }
    const std::string name = raw;
    const auto components = components_of(name);
    const char* hard_link = libarchive().entry_hardlink(entry);
    const auto type = libarchive().entry_filetype(entry);
    const std::int64_t modified = libarchive().entry_mtime_is_set(entry) != 0 ? libarchive().entry_mtime(entry) : 0;
    if (components.empty()) {
      if (type != AE_IFDIR) {
        refuse(name, "has no name");
      }
      return;
    }
    if (type == AE_IFDIR && hard_link == nullptr) {
      // Unlike the reference, which leaves the time of unpacking, so that one archive shows the same tree each time.
      tree_.node(find_directory(name, components, true)).modified = modified;
      return;
    }
    const auto parents = std::span(components).first(components.size() - 1);
    const Index parent = find_directory(name, parents, true);
    if (hard_link != nullptr) {
      add_hard_link(name, hard_link, parent, components.back());
    } else if (type == AE_IFREG) {
      add_file(name, parent, components.back(), modified);
    } else if (type == AE_IFLNK) {
      add_symlink(entry, name, parents.size(), parent, components.back(), modified);
    } else {
      refuse(name, "is a device, FIFO or socket");
    }
  }

  /// The directory; `make` adds it if it is missing. Never passes through a link.
  Index find_directory(const std::string& entry, std::span<const std::string_view> components, bool make) {
    Index here = ArchiveTree::kRoot;
    for (const auto component : components) {
      Index next = tree_.child(here, component);
      if (next == ArchiveTree::kNone) {
        if (!make) {
          fail_errno(entry, ENOENT);
        }
        next = tree_.add(here, component);
      }
      if (tree_.node(next).kind != EntryKind::kDirectory) {
        refuse(entry, "passes through \"" + tree_.path_of(next) + "\", which is no directory");
      }
      here = next;
    }
    return here;
  }

  /// The node for a file or link. A later entry replaces an earlier one.
  ArchiveTree::Node& place(const std::string& entry, Index parent, std::string_view name) {
    const Index known = tree_.child(parent, name);
    if (known == ArchiveTree::kNone) {
      return tree_.node(tree_.add(parent, name));
    }
    if (tree_.node(known).kind == EntryKind::kDirectory) {
      fail_errno(entry, EISDIR);
    }
    return tree_.node(known);
  }

  void add_file(const std::string& name, Index parent, std::string_view last, std::int64_t modified) {
    ArchiveTree::Node& node = place(name, parent, last);
    node.kind = EntryKind::kFile;
    node.modified = modified;
    node.offset = spool_.position();
    node.length = 0;
    while (true) {
      TarReader::Part part;
      try {
        part = tar_.next_part();
      } catch (Error& error) {
        throw std::move(error).context("the entry " + shown(name));
      }
      // Holes count: packing writes them out.
      if (part.offset > node.length) {
        count_bytes(part.offset - node.length);
        spool_.skip(part.offset - node.length);
        node.length = part.offset;
      } else if (part.offset < node.length && !part.bytes.empty()) {
        refuse(name, "has a part that overlaps another");
      }
      count_bytes(part.bytes.size());
      spool_.append(webc::as_text(part.bytes));
      node.length += part.bytes.size();
      if (part.end) {
        return;
      }
    }
  }

  void add_symlink(struct archive_entry* entry, const std::string& name, std::size_t depth, Index parent,
                   std::string_view last, std::int64_t modified) {
    const char* raw = libarchive().entry_symlink(entry);
    const std::string_view target = raw != nullptr ? raw : "";
    if (target.empty()) {
      refuse(name, "is a link without a target");
    }
    if (!stays_inside(target, depth)) {
      refuse(name, "is a link that leads out of the archive, to " + shown(target));
    }
    if (target.size() > limits::kLinkBytes) {
      fail_errno(name, ENAMETOOLONG);
    }
    ArchiveTree::Node& node = place(name, parent, last);
    node.kind = EntryKind::kSymlink;
    node.modified = modified;
    node.offset = spool_.position();
    node.length = target.size();
    count_bytes(target.size());
    spool_.append(target);
  }

  void add_hard_link(const std::string& name, const std::string& target, Index parent, std::string_view last) {
    const auto components = components_of(target);
    if (components.empty()) {
      refuse(name, "is a hard link to nothing");
    }
    const Index directory = find_directory(name, std::span(components).first(components.size() - 1), false);
    const Index source = tree_.child(directory, components.back());
    if (source == ArchiveTree::kNone) {
      fail_errno(name, ENOENT);
    }
    if (source == tree_.child(parent, last)) {
      refuse(name, "is a hard link to itself");
    }
    if (tree_.node(source).kind != EntryKind::kFile) {
      refuse(name, "is a hard link to " + shown(target) + ", which is no file");
    }
    ArchiveTree::Node& node = place(name, parent, last);
    const ArchiveTree::Node& file = tree_.node(source);  // after `place`, which may move the nodes
    count_bytes(file.length);                            // it becomes a file of its own
    node.kind = EntryKind::kFile;
    node.modified = file.modified;
    node.offset = file.offset;
    node.length = file.length;
  }

  void count_bytes(std::uint64_t count) {
    bytes_ += count;
    limit_.check(bytes_, packed_, "unpacked");
  }

  TarReader& tar_;
  ArchiveTree& tree_;
  const UnpackLimit& limit_;
  std::uint64_t packed_;
  Spool spool_;
  std::size_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

/// Throws if what follows in the file shows that it is damaged. An entry that can't be used is then a consequence.
void refuse_if_damaged(TarReader& tar) {
  try {
    tar.finish();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCorrupt) {
      throw;
    }
  }
}

}  // namespace

std::unique_ptr<const ArchiveTree> read_tarball(const ByteSource& archive, const UnpackLimit& limit) {
  const auto refuse_if_unreadable = [&archive] {  // what it held then are zeros
    if (archive.damaged()) {
      throw system_error("\"" + archive.name() + "\"", EIO);
    }
  };
  auto tree = std::make_unique<ArchiveTree>();
  std::optional<TarReader> tar;
  try {
    tar.emplace(archive.bytes(), limit);
    Reader(*tar, *tree, limit, archive.size()).run(archive.name());
  } catch (const Error& error) {
    refuse_if_unreadable();
    if (tar && error.code() == ErrorCode::kCorrupt) {
      refuse_if_damaged(*tar);
    }
    throw;
  }
  refuse_if_unreadable();
  return tree;
}

}  // namespace pkgfs
