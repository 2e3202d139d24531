// SPDX-License-Identifier: MIT
#include "core/vfs/union_file_system.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/limit_error.h"
#include "core/base/limits.h"
#include "core/base/lost_pages.h"
#include "core/base/printable.h"
#include "core/base/repeated_warning.h"
#include "core/vfs/empty_file_system.h"
#include "core/vfs/hidden_files.h"
#include "core/vfs/live_overlay_file_system.h"
#include "core/vfs/mapped_path_file_system.h"
#include "core/vfs/name_index.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

constexpr std::size_t kConflictsShown = 20;

// Of `mounts`, leaves out those that can't be shown. The others are in order of precedence then, each with its source.
class Preparation {
 public:
  Preparation(const OverlayOptions& options, bool strict, NameIndex& index)
      : options_(options), strict_(strict), index_(index) {}

  std::vector<Mount> run(std::vector<Mount> mounts) {
    std::vector<std::pair<std::size_t, Mount*>> sorted;  // by depth
    sorted.reserve(mounts.size());
    for (Mount& mount : mounts) {
      sorted.emplace_back(path_depth(mount.mount_path), &mount);
    }
    std::ranges::stable_sort(sorted, [](const auto& a, const auto& b) {
      return a.second->fallback != b.second->fallback ? b.second->fallback : a.first > b.first;
    });
    std::vector<Mount> kept;
    kept.reserve(mounts.size());
    for (const auto& [depth, mount] : sorted) {
      if (prepare(*mount)) {
        kept.push_back(std::move(*mount));
      }
    }
    unusable_.end();
    return kept;
  }

 private:
  bool prepare(Mount& mount) {
    if (options_.conflicts == Conflicts::kShadow && !mount.fallback && !taken_.insert(mount.mount_path).second) {
      return false;  // of two mounts at one path the first is kept
    }
    check_paths(mount.package, mount.mount_path, mount.source_path, *mount.limits);
    for (const std::string_view name : path_components(mount.mount_path)) {
      if (name.size() > limits::kNameBytes) {
        throw Error(ErrorCode::kLoad, "The \"" + mount.package.text() + "\" package wants to mount a volume at \"" +
                                          shortened(mount.mount_path) + "\", which has a name longer than 255 bytes");
      }
    }
    if (!mount.source) {
      const Result<Entry> source = index_.find(*mount.fs, mount.live, mount.source_path);
      if (!source) {
        if (source.error() == ENOENT || source.error() == ENOTDIR) {
          reject(mount, "that path doesn't exist");
        } else if (const Error error = system_error("that path can't be read", source.error()); error.is_of_machine()) {
          throw Error(error).context(mapping_text(mount));
        } else {
          reject(mount, error.message(), true);
        }
        return false;
      }
      mount.source = *source;
    }
    if (mount.mount_path == "/" && mount.source->attributes.type != FileType::kDirectory) {
      reject(mount, "that is not a directory and can't be mounted at \"/\"");
      return false;
    }
    return true;
  }

  static std::string mapping_text(const Mount& mount) {
    return "The \"" + mount.package.text() + "\" package maps \"" + shortened(mount.source_path) + "\" of its \"" +
           mount.volume + "\" volume";
  }

  void reject(const Mount& mount, const std::string& reason, bool is_damaged = false) {
    const std::string message = mapping_text(mount) + ", but " + reason;
    if (is_damaged && (lost_pages::ever() || !mount.fs->is_intact(mount.fs->root()))) {
      throw Error(ErrorCode::kIo, message);  // the next attempt may find it
    }
    if (strict_ || (is_damaged && mount.limits->refuses_damage)) {
      throw Error(is_damaged ? ErrorCode::kCorrupt : ErrorCode::kLoad, message);
    }
    unusable_.add("{}", message);
  }

  const OverlayOptions& options_;
  bool strict_;
  NameIndex& index_;
  std::set<std::string> taken_;
  RepeatedWarning unusable_{"mappings can't be shown"};
};

// One warning for each file that is a directory now because something is mounted there, or below it
// (docs/rules/filesystem.md, 9.2 rule 1).
void warn_of_hidden_files(const std::vector<Mount>& mounts, NameIndex& index) {
  RepeatedWarning hidden("files are hidden by mount points");
  for (const HiddenFile& file : find_hidden_files(mounts, index)) {
    const Mount& mount = mounts[file.mount];
    hidden.add("\"{}\" of \"{}\" hides the file \"{}\" of \"{}\"", shortened(mount.mount_path), mount.package.text(),
               shortened(std::string_view(mount.mount_path).substr(0, file.length)), mounts[file.other].package.text());
  }
  hidden.end();
}

// The mounts as layers, each mapped to its path.
std::vector<Layer> to_layers(std::vector<Mount> mounts, const OverlayOptions& options) {
  std::vector<Layer> layers;
  layers.reserve(mounts.size());
  for (Mount& mount : mounts) {
    auto mapped = std::make_unique<MappedPathFileSystem>(std::move(mount.fs), *mount.source, mount.source_path,
                                                         mount.mount_path, options.synthetic_modified);
    if (!mount.key.empty()) {
      mount.key.append(1, '\0').append(mount.mount_path).append(1, '\0').append(mount.source_path);
    }
    layers.push_back({.fs = std::move(mapped),
                      .mount_path = std::move(mount.mount_path),
                      .source_path = std::move(mount.source_path),
                      .package = std::move(mount.package),
                      .volume = std::move(mount.volume),
                      .live = mount.live,
                      .fallback = mount.fallback,
                      .key = std::move(mount.key)});
  }
  return layers;
}

// Runs of layers that never change, as one layer each; live ones stay what they are.
std::vector<Layer> group(std::vector<Layer> layers, const OverlayOptions& options) {
  std::vector<Layer> groups;
  std::vector<Layer> run;
  const auto close_run = [&] {
    if (run.empty()) {
      return;
    }
    Layer as_one{.fs = nullptr,
                 .mount_path = run.front().mount_path,
                 .source_path = run.front().source_path,
                 .package = run.front().package,
                 .volume = run.front().volume,
                 .live = false,
                 .fallback = run.front().fallback,
                 .number_base = 0};  // its numbers are final
    const bool has_key = std::ranges::none_of(run, [](const Layer& layer) { return layer.key.empty(); });
    for (const Layer& layer : run) {
      as_one.key.append(has_key ? layer.key : "").append(has_key ? 1 : 0, '\0');
    }
    as_one.fs =
        std::make_unique<OverlayFileSystem>(std::exchange(run, {}), options, OverlayFileSystem::Inodes::kAddresses);
    groups.push_back(std::move(as_one));
  };
  for (Layer& layer : layers) {
    // A shadowing mount is told from what it hides by its depth: every layer keeps its own then. The commands change
    // more often than the packages.
    if (layer.live || options.conflicts == Conflicts::kShadow || (options.replaceable && layer.fallback)) {
      close_run();
    }
    (layer.live ? groups : run).push_back(std::move(layer));
  }
  close_run();
  return groups;
}

void refuse(const std::vector<OverlayConflict>& conflicts) {
  if (conflicts.empty()) {
    return;
  }
  std::vector<std::string> chain{std::to_string(conflicts.size()) +
                                 (conflicts.size() == 1 ? " path is" : " paths are") +
                                 " provided by more than one mapping"};
  for (std::size_t i = 0; i < std::min(conflicts.size(), kConflictsShown); ++i) {
    chain.push_back("\"" + shortened(conflicts[i].path) + "\" of " + conflicts[i].winner + " hides that of " +
                    conflicts[i].loser);
  }
  throw Error(ErrorCode::kLoad, std::move(chain));
}

}  // namespace

void check_paths(const Label& package, std::string_view mount_path, std::string_view source_path,
                 const limits::PackageLimits& limits) {
  using limits::PackageLimits;
  if (const std::size_t longest = std::max(mount_path.size(), source_path.size()); longest > limits.path_bytes) {
    throw limit_error(package.text(), "bytes in the path of a mapping", longest, limits, &PackageLimits::path_bytes);
  }
  if (const std::size_t depth = path_depth(mount_path); depth > limits.mount_depth) {
    throw limit_error(package.text(), "directories in a mount path", depth, limits, &PackageLimits::mount_depth);
  }
}

std::unique_ptr<FileSystem> make_union_file_system(std::vector<Mount> mounts, const OverlayOptions& options,
                                                   bool strict) {
  NameIndex index;
  std::vector<Mount> kept = Preparation(options, strict, index).run(std::move(mounts));
  if (kept.empty()) {
    auto empty = std::make_unique<EmptyFileSystem>(options.synthetic_modified);
    if (!options.replaceable) {
      return empty;
    }
    const Entry root{empty->root(), empty->metadata(empty->root()).value_or(Attributes{})};
    kept.push_back({.fs = std::move(empty), .package = "", .volume = "", .source = root});
  }
  warn_of_hidden_files(kept, index);
  std::vector<Layer> layers = to_layers(std::move(kept), options);
  const std::uint64_t base = number_layers(layers, options.first_number);
  const bool live = options.replaceable || std::ranges::any_of(layers, &Layer::live);
  if (!live) {
    auto overlay = std::make_unique<OverlayFileSystem>(std::move(layers), options);
    if (options.conflicts == Conflicts::kError) {
      refuse(overlay->visit_all());
    }
    return overlay;
  }
  auto overlay = std::make_unique<LiveOverlayFileSystem>(group(std::move(layers), options), options, base);
  if (options.conflicts == Conflicts::kError) {
    refuse(overlay->find_conflicts());
  }
  return overlay;
}

}  // namespace pkgfs::vfs
