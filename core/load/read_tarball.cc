// SPDX-License-Identifier: MIT
#include "core/load/read_tarball.h"

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/load/libarchive.h"
#include "core/load/nameless_file.h"

namespace pkgfs {

namespace {

using webc::EntryKind;
using Index = ArchiveTree::Index;

/// Gives the thread a UTF-8 locale: libarchive converts names with it, and "C" refuses or mangles all but ASCII.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) {
      before_ = ::uselocale(locale_);
    }
  }
  ~Utf8Locale() {
    if (locale_ != nullptr) {
      ::uselocale(before_);
      ::freelocale(locale_);
    }
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t locale_;
  locale_t before_ = nullptr;
};

struct ReadArchive {
  ReadArchive() : handle(libarchive().read_new()) {}
  ~ReadArchive() { libarchive().read_free(handle); }
  ReadArchive(const ReadArchive&) = delete;
  ReadArchive& operator=(const ReadArchive&) = delete;
  struct archive* handle;
};

/// `name` in quotes for a message, cut, because a name can have megabytes.
std::string shown(std::string_view name) {
  constexpr std::size_t kShown = 512;
  return "\"" + std::string(name.substr(0, kShown)) + (name.size() > kShown ? "…\"" : "\"");
}

[[noreturn]] void refuse(std::string_view entry, std::string_view why) {
  throw Error(ErrorCode::kCorrupt, "the entry " + shown(entry) + " " + std::string(why));
}

[[noreturn]] void fail_errno(std::string_view entry, int errnum) {
  throw system_error("the entry " + shown(entry), errnum);
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
  Reader(struct archive* archive, ArchiveTree& tree) : archive_(archive), tree_(tree) {}

  void run(const std::string& name) {
    struct archive_entry* entry = nullptr;
    while (next(entry)) {
      if (++entries_ > limits::kTarballEntries) {  // replaced ones count
        throw Error(ErrorCode::kUnsupported,
                    "it has more than " + std::to_string(limits::kTarballEntries) + " entries");
      }
      read(entry);
    }
    tree_.set_source(spool_.finish(name));
  }

 private:
  [[nodiscard]] Error archive_error() const {
    const char* text = libarchive().error_string(archive_);
    return {ErrorCode::kCorrupt, text != nullptr ? text : "the archive is damaged"};
  }

  bool next(struct archive_entry*& entry) {
    const int result = libarchive().read_next_header(archive_, &entry);
    if (result == ARCHIVE_EOF) {
      return false;
    }
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
      throw archive_error();
    }
    return true;
  }

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
      const void* data = nullptr;
      std::size_t length = 0;
      la_int64_t offset = 0;
      const int result = libarchive().read_data_block(archive_, &data, &length, &offset);
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN && result != ARCHIVE_EOF) {
        throw archive_error().context("the entry " + shown(name));
      }
      if (result == ARCHIVE_EOF) {
        length = 0;  // and the offset is the size: there may be a hole at the end
      }
      // Holes count: packing writes them out.
      const auto start = static_cast<std::uint64_t>(std::max<la_int64_t>(offset, 0));
      if (start > limits::kTarballBytes || length > limits::kTarballBytes - start) {
        too_large();
      }
      if (start > node.length) {
        count_bytes(start - node.length);
        spool_.skip(start - node.length);
        node.length = start;
      } else if (start < node.length && length > 0) {
        refuse(name, "has a part that overlaps another");
      }
      count_bytes(length);
      spool_.append({static_cast<const char*>(data), length});
      node.length += length;
      if (result == ARCHIVE_EOF) {
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
    if (bytes_ > limits::kTarballBytes) {
      too_large();
    }
  }

  [[noreturn]] static void too_large() {
    throw Error(ErrorCode::kUnsupported,
                "it holds more than " + std::to_string(limits::kTarballBytes) + " bytes when unpacked");
  }

  struct archive* archive_;
  ArchiveTree& tree_;
  Spool spool_;
  std::size_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<const ArchiveTree> read_tarball(const ByteSource& archive) {
  const Utf8Locale locale;
  const ReadArchive reader;
  if (reader.handle == nullptr || libarchive().read_support_filter_gzip(reader.handle) != ARCHIVE_OK ||
      libarchive().read_support_format_tar(reader.handle) != ARCHIVE_OK) {
    throw Error(ErrorCode::kInternal, "libarchive can't read gzip'd tar archives");
  }
  const auto bytes = archive.bytes();
  if (libarchive().read_open_memory(reader.handle, bytes.data(), bytes.size()) != ARCHIVE_OK) {
    const char* text = libarchive().error_string(reader.handle);
    throw Error(ErrorCode::kCorrupt, text != nullptr ? text : "the archive is damaged");
  }
  auto tree = std::make_unique<ArchiveTree>();
  Reader(reader.handle, *tree).run(archive.name());
  if (archive.damaged()) {
    throw system_error("\"" + archive.name() + "\"", EIO);
  }
  return tree;
}

}  // namespace pkgfs
