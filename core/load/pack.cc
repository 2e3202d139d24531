// SPDX-License-Identifier: MIT
#include "core/load/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/load/host_path.h"
#include "core/load/ignore_rules.h"
#include "core/webc/writer.h"

namespace pkgfs {

namespace {

std::uint64_t whole_seconds(std::int64_t seconds) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0));
}

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

/// Reads one host directory, all that is below it included, as nodes for the writer.
class VolumeReader {
 public:
  VolumeReader(const DirectoryPackage& package, const DirectoryPackage::HostVolume& volume, bool ignore)
      : shown_(package.name() + "/" + volume.host),
        root_(volume.fd.get()),
        rules_(ignore ? std::make_unique<IgnoreRules>(root_) : nullptr) {}

  [[nodiscard]] std::vector<webc::WriterNode> read() { return read_directory(""); }

 private:
  [[nodiscard]] Error failure(const std::string& path, int errnum) const {
    return system_error("\"" + shown_ + "/" + path + "\"", errnum);
  }

  /// The names in a directory, in byte order.
  [[nodiscard]] std::vector<std::string> names_in(const std::string& path, UniqueFd fd) const {
    const std::unique_ptr<DIR, CloseDir> dir(::fdopendir(fd.get()));
    if (dir == nullptr) {
      throw failure(path, errno);
    }
    (void)fd.release();
    std::vector<std::string> names;
    while (true) {
      errno = 0;
      const struct dirent* entry = ::readdir(dir.get());  // NOLINT(concurrency-mt-unsafe): our own stream
      if (entry == nullptr) {
        break;
      }
      const std::string name = entry->d_name;
      if (name != "." && name != "..") {
        names.push_back(name);
      }
    }
    if (errno != 0) {
      throw failure(path, errno);
    }
    std::ranges::sort(names);
    return names;
  }

  // Recursion is bounded: a path longer than PATH_MAX can't be opened.
  [[nodiscard]] std::vector<webc::WriterNode> read_directory(const std::string& path) {  // NOLINT(misc-no-recursion)
    UniqueFd fd = open_host_path(root_, HostPath::parse(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) {
      throw failure(path, errno);
    }
    std::vector<webc::WriterNode> nodes;
    for (auto& name : names_in(path, std::move(fd))) {
      const std::string child = path.empty() ? name : path + "/" + name;
      struct stat status{};
      if (::fstatat(root_, child.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        throw failure(child, errno);
      }
      if (rules_ == nullptr || !rules_->hidden(child, S_ISDIR(status.st_mode))) {
        nodes.push_back(read_entry(std::move(name), child, status));
      }
    }
    return nodes;
  }

  [[nodiscard]] webc::WriterNode read_entry(std::string name, const std::string& path,  // NOLINT(misc-no-recursion)
                                            const struct stat& status) {
    webc::WriterNode node;
    node.name = std::move(name);
    node.modified = whole_seconds(status.st_mtim.tv_sec);
    if (S_ISDIR(status.st_mode)) {
      node.children = read_directory(path);
    } else if (S_ISREG(status.st_mode)) {
      node.kind = webc::EntryKind::kFile;
      // By descriptor, so that nothing above can be exchanged for a link meanwhile.
      node.content = std::filesystem::path("/proc/self/fd/" + std::to_string(root_) + "/" + path);
    } else if (S_ISLNK(status.st_mode)) {
      node.kind = webc::EntryKind::kSymlink;
      node.target = read_link(path);
    } else {
      throw Error(ErrorCode::kUnsupported,
                  "\"" + shown_ + "/" + path + "\" is a device, FIFO or socket, which a package can't hold");
    }
    return node;
  }

  [[nodiscard]] std::string read_link(const std::string& path) const {
    std::array<char, limits::kLinkBytes + 1> buffer{};
    const auto length = ::readlinkat(root_, path.c_str(), buffer.data(), buffer.size());
    if (length < 0) {
      throw failure(path, errno);
    }
    return {buffer.data(), static_cast<std::size_t>(length)};
  }

  std::string shown_;
  int root_;
  std::unique_ptr<IgnoreRules> rules_;
};

/// Puts `file` into the tree below `root` at the path `components`, making directories without a time.
void place(webc::WriterNode& root, const std::vector<std::string>& components, webc::WriterNode file) {
  webc::WriterNode* node = &root;
  for (std::size_t i = 0; i + 1 < components.size(); ++i) {
    auto found = std::ranges::find(node->children, components[i], &webc::WriterNode::name);
    if (found == node->children.end()) {
      webc::WriterNode directory;
      directory.name = components[i];
      node->children.push_back(std::move(directory));
      found = node->children.end() - 1;
    }
    node = &*found;
  }
  file.name = components.back();
  node->children.push_back(std::move(file));
}

webc::WriterNode volume_root(const DirectoryPackage& package, const DirectoryPackage::HostVolume& volume,
                             const PackOptions& options) {
  webc::WriterNode root;
  if (!volume.is_file) {
    root.children = VolumeReader(package, volume, options.apply_ignore_rules).read();
    return root;
  }
  // The reference writes one entry that is called like the whole host path; where that has a "/", no reader could look
  // it up, so it becomes a path.
  struct stat status{};
  if (::fstat(volume.fd.get(), &status) != 0) {
    throw system_error("\"" + package.name() + "/" + volume.host + "\"", errno);
  }
  webc::WriterNode file;
  file.kind = webc::EntryKind::kFile;
  file.modified = whole_seconds(status.st_mtim.tv_sec);
  file.content = std::filesystem::path("/proc/self/fd/" + std::to_string(volume.fd.get()));
  place(root, HostPath::parse(volume.host).components, std::move(file));
  return root;
}

}  // namespace

void pack_package(const DirectoryPackage& package, int fd, const PackOptions& options) {
  webc::Writer writer(webc::Version::kV3, package.manifest().to_json());
  for (const auto& atom : package.atoms()) {
    writer.add_atom(atom.name, atom.body);
  }
  for (const auto& volume : package.host_volumes()) {
    writer.add_volume(volume.name, volume_root(package, volume, options));
  }
  webc::WriterNode metadata;
  for (const auto& item : package.metadata_files()) {
    webc::WriterNode file;
    file.kind = webc::EntryKind::kFile;
    file.modified = whole_seconds(item.modified);
    file.content = item.body;
    place(metadata, HostPath::parse(item.path).components, std::move(file));
  }
  writer.add_volume("metadata", std::move(metadata));
  (void)writer.write(fd);
}

}  // namespace pkgfs
