// SPDX-License-Identifier: MIT
#include "daemon/commands/volume_listing.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/limits.h"
#include "core/vfs/read_file.h"
#include "core/vfs/walk.h"
#include "core/webc/tree_volume.h"
#include "daemon/cli/json_output.h"

namespace pkgfs {

using nlohmann::json;

namespace {

json modified_json(const std::optional<std::int64_t>& modified) {
  return modified ? json(nanoseconds(*modified)) : json();
}

/// Where the SHA-256 of a file comes from.
enum class Hashes {
  kComputed,
  kStored,  // null if the container has none
};

/// The entries of one container volume, depth first in stored order, without recursion.
class VolumeListing {
 public:
  VolumeListing(const webc::Volume& volume, bool stored_hashes, Hashes hashes, std::vector<std::string>& problems)
      : volume_(volume), stored_hashes_(stored_hashes), hashes_(hashes), problems_(problems) {}

  json run() {
    json root_time;
    if (const auto root = volume_.info(webc::kRootRef)) {
      root_time = modified_json(root->modified);
    }
    enter(webc::kRootRef, "");
    while (!pending_.empty()) {
      Item item = std::move(pending_.back());
      pending_.pop_back();
      add(item);
      if (item.info.kind == webc::EntryKind::kDirectory) {
        enter(item.ref, item.path);
      }
    }
    return {{"name", volume_.name()}, {"root_mtime_ns", std::move(root_time)}, {"entries", std::move(entries_)}};
  }

 private:
  struct Item {
    webc::EntryRef ref;
    std::string path;
    webc::EntryInfo info;
  };

  void problem(const std::string& path, int error) {
    problems_.push_back(
        system_error("volume \"" + volume_.name() + "\", \"" + (path.empty() ? "/" : path) + "\"", error).message());
  }

  void enter(webc::EntryRef ref, const std::string& path) {
    if (static_cast<std::size_t>(std::ranges::count(path, '/')) > limits::kTreeDepth) {
      problem(path, ELOOP);
      return;
    }
    const std::size_t first = pending_.size();
    const auto listed = volume_.list(ref, [&](const webc::DirRecord& record) {
      std::string child = path + "/" + std::string(record.name);
      if (record.error != 0) {
        problem(child, record.error);
      } else {
        pending_.push_back({record.ref, std::move(child), record.info});
      }
      return true;
    });
    std::reverse(pending_.begin() + static_cast<std::ptrdiff_t>(first), pending_.end());
    if (!listed) {
      problem(path, listed.error());
    }
  }

  void add(const Item& item) {
    const webc::EntryInfo& info = item.info;
    json entry{{"path", item.path},
               {"mtime_ns", modified_json(info.modified)},
               {"hash", stored_hashes_ && !info.sha256.empty() ? json(hex(info.sha256)) : json()}};
    switch (info.kind) {
      case webc::EntryKind::kDirectory:
        entry["type"] = "dir";
        break;
      case webc::EntryKind::kFile: {
        const Blob body{volume_.source(), info.offset, info.length};
        entry["type"] = "file";
        entry["len"] = info.length;
        entry["sha256"] = hashes_ == Hashes::kComputed ? json(to_hex(sha256(body.bytes())))
                          : info.sha256.empty()        ? json()
                                                       : json(hex(info.sha256));
        break;
      }
      case webc::EntryKind::kSymlink:
        entry["type"] = "symlink";
        entry["target"] = info.target;
        break;
    }
    entries_.push_back(std::move(entry));
  }

  const webc::Volume& volume_;
  bool stored_hashes_;  // the key `hash` has them
  Hashes hashes_;
  std::vector<std::string>& problems_;
  std::vector<Item> pending_;
  json entries_ = json::array();
};

/// The entries of a volume of a directory package.
class LiveListing final : public vfs::TreeVisitor {
 public:
  LiveListing(vfs::FileSystem& fs, std::string name, std::vector<std::string>& problems)
      : fs_(fs), name_(std::move(name)), problems_(problems) {}

  json run() {
    json root_time;
    const auto root = fs_.metadata(fs_.root());
    if (!root) {
      problem("/", root.error());
    } else if (root->type == vfs::FileType::kDirectory) {
      root_time = nanoseconds(root->modified, root->modified_ns);
      visit_tree(fs_, fs_.root(), *this);
    } else {  // the host path is one file
      add("/", fs_.root(), *root);
    }
    return {{"name", name_}, {"root_mtime_ns", std::move(root_time)}, {"entries", std::move(entries_)}};
  }

  bool visit(const vfs::WalkStep& step) override {
    if (step.error == 0) {
      add(step.path, step.inode, step.attributes);
    } else {
      problem(step.path, step.error);
    }
    return step.attributes.type == vfs::FileType::kDirectory;
  }

  void leave(const vfs::WalkStep& step) override {
    if (step.error != 0) {
      problem(step.path, step.error);
    }
  }

 private:
  void problem(std::string_view path, int error) {
    problems_.push_back(system_error("volume \"" + name_ + "\", \"" + std::string(path) + "\"", error).message());
  }

  void add(std::string_view path, vfs::Inode inode, const vfs::Attributes& attributes) {
    std::optional<Sha256> sha256;
    std::string target;
    if (attributes.type == vfs::FileType::kFile) {
      const auto hash = sha256_of(fs_, inode);
      if (!hash) {
        problem(path, hash.error());
        return;
      }
      sha256 = *hash;
    } else if (attributes.type == vfs::FileType::kSymlink) {
      target = fs_.read_link(inode).value_or("");
    }
    json entry = entry_json(path, attributes, sha256, target);
    entry["hash"] = nullptr;
    entries_.push_back(std::move(entry));
  }

  vfs::FileSystem& fs_;
  std::string name_;
  std::vector<std::string>& problems_;
  json entries_ = json::array();
};

/// Version 2 stores hashes too, but the reference implementation doesn't read them.
bool shows_stored_hashes(const webc::Container& container) { return container.version() == webc::Version::kV3; }

}  // namespace

json volumes_json(const Package& package, std::vector<std::string>& problems) {
  json volumes = json::array();
  if (const webc::Container* container = package.container()) {
    for (const auto& volume : container->volumes()) {
      volumes.push_back(VolumeListing(*volume, shows_stored_hashes(*container), Hashes::kComputed, problems).run());
    }
    return volumes;
  }
  for (const std::string& name : package.volume_names()) {
    if (const auto volume = package.open_volume(name)) {
      volumes.push_back(LiveListing(*volume, name, problems).run());
    }
  }
  return volumes;
}

json volumes_in_parts_json(const webc::Container& container, std::uint64_t most, std::vector<std::string>& problems) {
  std::vector<ByteRun> needed;
  json volumes = json::array();
  for (const auto& volume : container.volumes()) {
    const webc::VolumeParts& parts = dynamic_cast<const webc::TreeVolume&>(*volume).tree().parts();
    if (parts.header_length > most) {
      most = 0;
      volumes.push_back(
          {{"name", volume->name()}, {"directory_bytes", parts.header_length}, {"data_bytes", parts.data_length}});
    } else {
      most -= parts.header_length;
      needed.push_back({.offset = parts.header, .length = parts.header_length});
      volumes.push_back(nullptr);
    }
  }
  container.source()->need(needed);  // all at the same time
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    if (volumes[i].is_null()) {
      volumes[i] =
          VolumeListing(*container.volumes()[i], shows_stored_hashes(container), Hashes::kStored, problems).run();
    }
  }
  return volumes;
}

}  // namespace pkgfs
