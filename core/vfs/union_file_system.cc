// SPDX-License-Identifier: MIT
#include "core/vfs/union_file_system.h"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/vfs/empty_file_system.h"
#include "core/vfs/live_overlay_file_system.h"
#include "core/vfs/mapped_path_file_system.h"
#include "core/vfs/path_text.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {
namespace {

constexpr std::size_t kConflictsShown = 20;

void reject(const std::string& message, bool strict) {
  if (strict) {
    throw Error(ErrorCode::kLoad, message);
  }
  log::warn("{}", message);
}

// The mounts as layers in order of precedence, each mapped to its path.
std::vector<Layer> to_layers(std::vector<Mount> mounts, const OverlayOptions& options, bool strict) {
  std::stable_sort(mounts.begin(), mounts.end(), [](const Mount& a, const Mount& b) {
    if (a.fallback != b.fallback) {
      return b.fallback;
    }
    return path_components(a.mount_path).size() > path_components(b.mount_path).size();
  });
  std::vector<Layer> layers;
  std::set<std::string> taken;
  for (Mount& mount : mounts) {
    if (options.conflicts == Conflicts::kShadow && !mount.fallback && !taken.insert(mount.mount_path).second) {
      continue;  // of two mounts at one path the first is kept
    }
    for (const std::string_view name : path_components(mount.mount_path)) {
      if (name.size() > limits::kNameBytes) {
        throw Error(ErrorCode::kLoad, "The \"" + mount.package.text() + "\" package wants to mount a volume at \"" +
                                          mount.mount_path + "\", which has a name longer than 255 bytes");
      }
    }
    Result<std::unique_ptr<FileSystem>> mapped = MappedPathFileSystem::make(
        std::move(mount.fs), mount.source_path, mount.mount_path, options.synthetic_modified);
    const auto refuse_mapping = [&](const std::string& reason) {
      reject("The \"" + mount.package.text() + "\" package maps \"" + mount.source_path + "\" of its \"" +
                 mount.volume + "\" volume, but " + reason,
             strict);
    };
    if (!mapped) {
      refuse_mapping(mapped.error() == ENOENT || mapped.error() == ENOTDIR
                         ? "that path doesn't exist"
                         : "that path can't be read: " + std::generic_category().message(mapped.error()));
      continue;
    }
    const Result<Attributes> root = (*mapped)->metadata((*mapped)->root());
    if (root && root->type != FileType::kDirectory) {
      refuse_mapping("that is not a directory and can't be mounted at \"/\"");
      continue;
    }
    layers.push_back({.fs = std::move(*mapped),
                      .mount_path = std::move(mount.mount_path),
                      .source_path = std::move(mount.source_path),
                      .package = std::move(mount.package),
                      .volume = std::move(mount.volume),
                      .live = mount.live,
                      .fallback = mount.fallback});
  }
  return layers;
}

// One warning for each file that is a directory now because something is mounted there, or below it
// (docs/rules/filesystem.md, 9.2 rule 1).
void warn_of_hidden_files(const std::vector<Layer>& layers) {
  std::multimap<std::string_view, const Layer*> by_path;
  for (const Layer& layer : layers) {
    if (!layer.fallback) {
      by_path.emplace(layer.mount_path, &layer);
    }
  }
  std::set<std::pair<std::string, const Layer*>> warned;
  for (const Layer& mount : layers) {
    const std::vector<std::string_view> names = path_components(mount.mount_path);
    const auto path_above = [&](std::size_t length) {
      return absolute_path({names.begin(), names.begin() + static_cast<std::ptrdiff_t>(length)});
    };
    // Two mounts at one path are in their list's order: nothing to warn of.
    std::vector<const Layer*> others;
    for (std::size_t length = 0; length < names.size(); ++length) {
      const auto [first, last] = by_path.equal_range(path_above(length));
      std::for_each(first, last, [&](const auto& found) { others.push_back(found.second); });
    }
    std::sort(others.begin(), others.end());  // in their order of precedence
    for (std::size_t length = 1; length <= names.size() && !others.empty(); ++length) {
      const std::string above = path_above(length);
      for (const Layer* other : others) {
        if (!path_covers(other->mount_path, above)) {
          continue;
        }
        const Result<Entry> hidden = find_path(*other->fs, above);
        if (!hidden) {
          continue;
        }
        other->fs->forget(hidden->inode, 1);
        if (hidden->attributes.type != FileType::kDirectory && warned.insert({above, other}).second) {
          log::warn("\"{}\" of \"{}\" hides the file \"{}\" of \"{}\"", mount.mount_path, mount.package.text(), above,
                    other->package.text());
        }
      }
    }
  }
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
    as_one.fs =
        std::make_unique<OverlayFileSystem>(std::exchange(run, {}), options, OverlayFileSystem::Inodes::kAddresses);
    groups.push_back(std::move(as_one));
  };
  for (Layer& layer : layers) {
    // A shadowing mount is told from what it hides by its depth: every layer keeps its own then.
    if (layer.live || options.conflicts == Conflicts::kShadow) {
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
    chain.push_back("\"" + conflicts[i].path + "\" of " + conflicts[i].winner + " hides that of " + conflicts[i].loser);
  }
  throw Error(ErrorCode::kLoad, std::move(chain));
}

}  // namespace

std::unique_ptr<FileSystem> make_union_file_system(std::vector<Mount> mounts, const OverlayOptions& options,
                                                   bool strict) {
  std::vector<Layer> layers = to_layers(std::move(mounts), options, strict);
  if (layers.empty()) {
    return std::make_unique<EmptyFileSystem>(options.synthetic_modified);
  }
  warn_of_hidden_files(layers);
  const std::uint64_t base = number_layers(layers);
  const bool live = std::any_of(layers.begin(), layers.end(), [](const Layer& layer) { return layer.live; });
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
