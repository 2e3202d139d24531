// SPDX-License-Identifier: MIT
#include "core/load/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/base/limits.h"
#include "core/load/host_path.h"
#include "core/load/ignore_rules.h"

namespace pkgfs {

namespace {

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

/// The data that all directories of one host volume share.
struct HostVolumeReader {
  HostVolumeReader(const DirectoryPackage& package, const DirectoryPackage::HostVolume& volume, bool ignore)
      : shown(package.name() + "/" + volume.host),
        root(volume.fd.get()),
        rules(ignore ? std::make_unique<IgnoreRules>(root) : nullptr) {}

  std::string shown;
  int root;
  std::unique_ptr<IgnoreRules> rules;
};

/// A host directory. Opened by its path, so that a walk holds few descriptors; a path longer than PATH_MAX can't be
/// opened.
class HostPackedDirectory final : public PackedDirectory {
 public:
  HostPackedDirectory(const HostVolumeReader& volume, std::string path) : volume_(volume), path_(std::move(path)) {}

  [[nodiscard]] std::vector<Entry> entries() const override {
    UniqueFd fd = open_host_path(volume_.root, HostPath::parse(path_), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const std::unique_ptr<DIR, CloseDir> dir(fd ? ::fdopendir(fd.get()) : nullptr);
    if (dir == nullptr) {
      throw failure(path_, errno);
    }
    const int here = fd.release();
    std::vector<Entry> entries;
    while (true) {
      errno = 0;
      const struct dirent* found = ::readdir(dir.get());  // NOLINT(concurrency-mt-unsafe): our own stream
      if (found == nullptr) {
        break;
      }
      const std::string name = static_cast<const char*>(found->d_name);
      if (name != "." && name != "..") {
        add_entry(here, name, entries);
      }
    }
    if (errno != 0) {
      throw failure(path_, errno);
    }
    return entries;
  }

 private:
  [[nodiscard]] Error failure(const std::string& path, int errnum) const {
    return system_error("\"" + volume_.shown + "/" + path + "\"", errnum);
  }

  void add_entry(int here, const std::string& name, std::vector<Entry>& entries) const {
    const std::string path = path_.empty() ? name : path_ + "/" + name;
    struct stat status{};
    if (::fstatat(here, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      throw failure(path, errno);
    }
    if (volume_.rules != nullptr && volume_.rules->hidden(path, S_ISDIR(status.st_mode))) {
      return;
    }
    Entry entry;
    entry.node.name = name;
    entry.node.modified = packed_time(status.st_mtim.tv_sec);
    if (S_ISDIR(status.st_mode)) {
      entry.directory = std::make_unique<HostPackedDirectory>(volume_, path);
    } else if (S_ISREG(status.st_mode)) {
      entry.node.kind = webc::EntryKind::kFile;
      // No link is followed that replaces the file, or a directory above it, meanwhile. No FIFO makes the open wait.
      entry.node.content = webc::HostFile{.name = volume_.shown + "/" + path, .open = [root = volume_.root, path] {
                                            return open_host_path(root, HostPath::parse(path),
                                                                  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                                          }};
    } else if (S_ISLNK(status.st_mode)) {
      entry.node.kind = webc::EntryKind::kSymlink;
      entry.node.target = read_link(here, name, path);
    } else {
      throw Error(ErrorCode::kUnsupported,
                  "\"" + volume_.shown + "/" + path + "\" is a device, FIFO or socket, which a package can't hold");
    }
    entries.push_back(std::move(entry));
  }

  [[nodiscard]] std::string read_link(int here, const std::string& name, const std::string& path) const {
    std::array<char, limits::kLinkBytes + 1> buffer{};
    const auto length = ::readlinkat(here, name.c_str(), buffer.data(), buffer.size());
    if (length < 0) {
      throw failure(path, errno);
    }
    return {buffer.data(), static_cast<std::size_t>(length)};
  }

  const HostVolumeReader& volume_;
  std::string path_;
};

/// Puts `file` into the tree below `root` at the path `components`, making directories without a time. Files come
/// sorted by path, so that those of one directory come together.
void place(webc::WriterNode& root, const std::vector<std::string>& components, webc::WriterNode file) {
  webc::WriterNode* node = &root;
  for (std::size_t i = 0; i + 1 < components.size(); ++i) {
    if (node->children.empty() || node->children.back().name != components[i]) {
      node->children.emplace_back().name = components[i];
    }
    node = &node->children.back();
  }
  file.name = components.back();
  node->children.push_back(std::move(file));
}

webc::WriterNode file_node(webc::Content content, std::int64_t modified) {
  webc::WriterNode node;
  node.kind = webc::EntryKind::kFile;
  node.modified = packed_time(modified);
  node.content = std::move(content);
  return node;
}

void limit_times(webc::WriterNode& root, std::uint64_t latest) {
  std::vector<webc::WriterNode*> pending{&root};
  while (!pending.empty()) {
    webc::WriterNode& node = *pending.back();
    pending.pop_back();
    node.modified = std::min(node.modified, latest);
    for (webc::WriterNode& child : node.children) {
      pending.push_back(&child);
    }
  }
}

webc::WriterNode host_volume(const DirectoryPackage& package, const DirectoryPackage::HostVolume& volume,
                             const PackOptions& options) {
  if (!volume.is_file) {
    const HostVolumeReader reader(package, volume, options.apply_ignore_rules);
    return pack_volume(std::make_unique<HostPackedDirectory>(reader, ""));
  }
  struct stat status{};
  if (::fstat(volume.fd.get(), &status) != 0) {
    throw system_error("\"" + package.name() + "/" + volume.host + "\"", errno);
  }
  const std::string open_file = "/proc/self/fd/" + std::to_string(volume.fd.get());
  webc::HostFile file{.name = package.name() + "/" + volume.host,
                      .open = [open_file] { return UniqueFd(::open(open_file.c_str(), O_RDONLY | O_CLOEXEC)); }};
  return pack_file_volume(volume.host, std::move(file), status.st_mtim.tv_sec);
}

}  // namespace

std::uint64_t packed_time(std::int64_t seconds) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0));
}

webc::WriterNode pack_volume(std::unique_ptr<PackedDirectory> directory) {
  struct Unread {
    webc::WriterNode* node;  // its address is stable: all siblings have been added
    std::unique_ptr<PackedDirectory> directory;
  };
  auto root = std::make_unique<webc::WriterNode>();
  std::vector<Unread> unread;
  unread.push_back({root.get(), std::move(directory)});
  while (!unread.empty()) {
    const Unread here = std::move(unread.back());
    unread.pop_back();
    auto entries = here.directory->entries();
    here.node->children.reserve(entries.size());
    for (auto& entry : entries) {
      here.node->children.push_back(std::move(entry.node));
      if (entry.directory != nullptr) {
        unread.push_back({&here.node->children.back(), std::move(entry.directory)});
      }
    }
  }
  return std::move(*root);
}

webc::WriterNode pack_file_volume(const std::string& host, webc::Content content, std::int64_t modified) {
  webc::WriterNode root;
  place(root, HostPath::parse(host).components, file_node(std::move(content), modified));
  return root;
}

void write_package(const PackageParts& parts, PackedVolumes volumes, int fd, std::optional<std::uint64_t> latest) {
  webc::Writer writer(webc::Version::kV3, parts.manifest.to_json());
  const auto add = [&](std::string name, webc::WriterNode root) {
    if (latest) {
      limit_times(root, *latest);
    }
    writer.add_volume(std::move(name), std::move(root));
  };
  for (const auto& atom : parts.atoms) {
    writer.add_atom(atom.name, atom.body);
  }
  for (auto& [name, root] : volumes) {
    add(name, std::move(root));
  }
  webc::WriterNode metadata;
  for (const auto& item : parts.metadata_files) {
    place(metadata, HostPath::parse(item.path).components, file_node(item.body, item.modified));
  }
  add("metadata", std::move(metadata));
  (void)writer.write(fd);
}

void pack_package(const DirectoryPackage& package, int fd, const PackOptions& options) {
  PackedVolumes volumes;
  for (const auto& volume : package.host_volumes()) {
    volumes.emplace_back(volume.name, host_volume(package, volume, options));
  }
  write_package(package.parts(), std::move(volumes), fd, options.latest);
}

}  // namespace pkgfs
