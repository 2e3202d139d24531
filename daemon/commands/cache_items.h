// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/export/image_cache.h"
#include "daemon/cli/settings.h"

namespace pkgfs {

/// A container that a mount has fetched in parts, and that isn't complete.
struct PartialItem {
  std::uint64_t whole_size = 0;
  bool is_in_use = false;
};

/// An entry of one of the caches, or what lazy mounts recorded of a package.
struct CacheItem {
  /// "package": the key is the hash of the content; "url": the hash of the URL; "profile": of a package; "image": the
  /// hash of what the image was made of; "artifact": the hash in the name of a file (artifact_files).
  const char* kind;
  std::string key;
  std::string path;
  std::uint64_t size = 0;  // of a partial entry, the bytes that are there
  std::chrono::system_clock::time_point used;
  std::function<bool()> remove;  // false if a process has begun to use it; throws Error
  std::optional<PartialItem> partial;
  std::string label = {};  // of an image: the package

  [[nodiscard]] bool is(std::string_view of_kind) const { return of_kind == kind; }
};

/// The caches in the cache directory.
struct Caches {
  explicit Caches(const Settings& settings)
      : packages(settings.packages_directory()),
        urls(settings.urls_directory()),
        images(settings.images_directory()),
        artifacts(settings.artifacts_directory()) {}

  /// All complete containers, the longest unused first.
  std::vector<CacheItem> items();
  /// All partial containers, the longest unused first.
  [[nodiscard]] std::vector<CacheItem> partial_items() const;
  /// What lazy mounts recorded of packages.
  [[nodiscard]] std::vector<CacheItem> profile_items() const;
  [[nodiscard]] std::vector<CacheItem> image_items() const;
  /// What is kept of artifacts in OCI registries, without their containers.
  [[nodiscard]] std::vector<CacheItem> artifact_items() const;

  ContainersByHash packages;
  ContainersByUrl urls;
  ImageCache images;
  std::string artifacts;  // the directory of artifact_files
};

}  // namespace pkgfs
