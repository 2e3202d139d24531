// SPDX-License-Identifier: MIT
#include "core/load/tarball.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/load/archive_tree.h"
#include "core/load/container_package.h"
#include "core/load/nameless_file.h"
#include "core/load/pack.h"
#include "core/load/package_directory.h"
#include "core/load/read_tarball.h"
#include "core/package/package_info.h"

namespace pkgfs {

namespace {

using webc::EntryKind;
using Index = ArchiveTree::Index;

/// Counts what goes into the container: an archive may map the same file any number of times.
class Budget {
 public:
  /// `packed`: the size of the archive.
  Budget(const UnpackLimit& limit, std::uint64_t packed) : limit_(limit), packed_(packed) {}
  void add_bytes(std::uint64_t count) {
    bytes_ += count;
    limit_.check(bytes_, packed_, "packed");
  }
  void add_entries(std::size_t count) {
    entries_ += count;
    limit_.check_entries(entries_, " when packed");
  }

 private:
  const UnpackLimit& limit_;
  std::uint64_t packed_;
  std::uint64_t bytes_ = 0;
  std::size_t entries_ = 0;
};

class ArchiveDirectory final : public PackageDirectory {
 public:
  ArchiveDirectory(const ArchiveTree& tree, const std::string& name, Budget& budget)
      : tree_(tree), name_(name), budget_(budget) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] bool exists(const std::string& path) const override {
    return tree_.find(HostPath::parse(path)).has_value();
  }
  [[nodiscard]] File open(const std::string& path) const override {
    const auto found = tree_.find(HostPath::parse(path));
    if (!found) {
      throw unreadable(*this, path, found.error());
    }
    const auto& node = tree_.node(*found);
    if (node.kind != EntryKind::kFile) {
      throw Error(ErrorCode::kUnsupported, {"Unable to read \"" + display(path) + "\"", "it isn't a regular file"});
    }
    budget_.add_bytes(node.length);
    return {.body = tree_.content(*found), .modified = node.modified, .mode = {}};
  }

 private:
  const ArchiveTree& tree_;
  const std::string& name_;
  Budget& budget_;
};

class ArchivePackedDirectory final : public PackedDirectory {
 public:
  ArchivePackedDirectory(const ArchiveTree& tree, Index index, Budget& budget)
      : tree_(tree), index_(index), budget_(budget) {}

  [[nodiscard]] std::vector<Entry> entries() const override {
    const auto children = tree_.children(index_);
    budget_.add_entries(children.size());
    std::vector<Entry> entries;
    entries.reserve(children.size());
    for (const Index index : children) {
      const auto& child = tree_.node(index);
      Entry& entry = entries.emplace_back();
      entry.node.name = child.name;
      entry.node.kind = child.kind;
      entry.node.modified = packed_time(child.modified);
      budget_.add_bytes(child.length);
      switch (child.kind) {
        case EntryKind::kDirectory:
          entry.directory = std::make_unique<ArchivePackedDirectory>(tree_, index, budget_);
          break;
        case EntryKind::kFile:
          entry.node.content = tree_.content(index);
          break;
        case EntryKind::kSymlink:
          entry.node.target = tree_.target(index);
          break;
      }
    }
    return entries;
  }

 private:
  const ArchiveTree& tree_;
  Index index_;
  Budget& budget_;
};

PackedVolumes read_volumes(const WasmerToml& toml, const ArchiveTree& tree, const PackageDirectory& directory,
                           Budget& budget) {
  PackedVolumes volumes;
  std::set<std::string> known;
  for (const auto& [guest, host] : toml.fs) {
    const std::string name = sanitize_path(host);
    if (!known.insert(name).second) {
      continue;
    }
    const auto found = tree.find(HostPath::parse(host));
    if (!found) {
      throw unmappable(directory, host, found.error());
    }
    budget.add_entries(1);
    const auto& node = tree.node(*found);
    if (node.kind == EntryKind::kDirectory) {
      volumes.emplace_back(name, pack_volume(std::make_unique<ArchivePackedDirectory>(tree, *found, budget)));
    } else {
      budget.add_bytes(node.length);
      volumes.emplace_back(name, pack_file_volume(host, tree.content(*found), node.modified));
    }
  }
  return volumes;
}

/// The manifest at the top of the archive: `wasmer.toml`, else the older `wapm.toml`.
std::string manifest_name(const ArchiveTree& tree) {
  for (const char* name : {"wasmer.toml", "wapm.toml"}) {
    const auto found = tree.find(HostPath::parse(name));
    if (found && tree.node(*found).kind == EntryKind::kFile) {
      return name;
    }
  }
  throw Error(ErrorCode::kNotFound, "Unable to find the \"wasmer.toml\"");
}

std::unique_ptr<const ArchiveTree> extract(const ByteSource& archive, const UnpackLimit& limit) {
  try {
    return read_tarball(archive, limit);
  } catch (Error& error) {
    throw std::move(error).context("Unable to extract the tarball");
  }
}

/// Packs the archive into `fd` and returns the dependencies as the wasmer.toml has them.
std::vector<webc::Dependency> pack_archive(const ByteSource& archive, const UnpackLimit& limit, int fd) {
  const std::unique_ptr<const ArchiveTree> unpacked = extract(archive, limit);
  const ArchiveTree& tree = *unpacked;
  const std::string& name = archive.name();
  Budget budget(limit, archive.size());
  const ArchiveDirectory directory(tree, name, budget);
  const WasmerToml toml = read_package_toml(directory, manifest_name(tree));
  PackedVolumes volumes = read_volumes(toml, tree, directory, budget);
  PackageParts parts = derive_parts(toml, directory);
  write_package(parts, std::move(volumes), fd);
  if (tree.source().damaged()) {
    throw system_error("Unable to read what was unpacked", EIO);
  }
  return std::move(parts.manifest.use);
}

}  // namespace

std::shared_ptr<const Package> open_tarball(const ByteSource& archive, const OpenOptions& options) {
  try {
    UniqueFd fd = nameless_file();
    std::vector<webc::Dependency> use =
        pack_archive(archive, UnpackLimit(options.max_unpacked, options.limits()), fd.get());
    auto container = webc::Container::open(MappedFile::adopt(std::move(fd), archive.name()), options.limits());
    auto package = std::make_shared<ContainerPackage>(archive.name(), std::move(container),
                                                      PackageHash(sha256(archive.bytes())), options);
    if (std::ranges::any_of(use, [](const webc::Dependency& each) { return each.as_written.has_value(); })) {
      package->set_dependencies(std::move(use));
    }
    return package;
  } catch (Error& error) {
    throw std::move(error).context("Unable to open the package \"" + archive.name() + "\"");
  }
}

}  // namespace pkgfs
