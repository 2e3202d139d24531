// SPDX-License-Identifier: MIT
#include "daemon/commands/cache_items.h"

#include <algorithm>
#include <iterator>

#include "core/base/private_directory.h"
#include "core/cache/lazy_files.h"
#include "core/cache/profile_files.h"
#include "core/lazy/partial_containers.h"
#include "daemon/packages/artifact_files.h"

namespace pkgfs {

namespace {

std::vector<CacheItem> partial_items_in(const char* kind, const std::string& directory) {
  std::vector<CacheItem> all;
  for (const PartialContainer& partial : partial_containers(directory)) {
    const auto remove = [directory, key = partial.key] {
      const auto opened = PrivateDirectory::find(directory);
      return opened && lazy_files::remove(*opened, key).has_value();
    };
    all.push_back({kind, partial.key, partial.path, partial.bytes_present, partial.used, remove,
                   PartialItem{partial.size, partial.is_in_use}});
  }
  return all;
}

}  // namespace

std::vector<CacheItem> Caches::items() {
  std::vector<CacheItem> all;
  for (const ContainersByHash::Entry& entry : packages.entries()) {
    all.push_back({"package",
                   to_hex(entry.hash),
                   entry.path,
                   entry.size,
                   entry.used,
                   [this, entry] {
                     packages.remove(entry);
                     return true;
                   },
                   {}});
  }
  for (const ContainersByUrl::Entry& entry : urls.entries()) {
    all.push_back({"url",
                   entry.key,
                   entry.path,
                   entry.size,
                   entry.used,
                   [this, entry] {
                     urls.remove(entry.path);
                     return true;
                   },
                   {}});
  }
  std::ranges::stable_sort(all, {}, &CacheItem::used);
  return all;
}

std::vector<CacheItem> Caches::partial_items() const {
  std::vector<CacheItem> all = partial_items_in("package", packages.temporary_directory());
  std::ranges::move(partial_items_in("url", urls.temporary_directory()), std::back_inserter(all));
  std::ranges::stable_sort(all, {}, &CacheItem::used);
  return all;
}

std::vector<CacheItem> Caches::profile_items() const {
  std::vector<CacheItem> all;
  for (const profile_files::File& file : profile_files::list(packages.directory())) {
    all.push_back({"profile",
                   to_hex(file.hash),
                   file.path,
                   file.size,
                   file.used,
                   [file] {
                     profile_files::remove(file);
                     return true;
                   },
                   {}});
  }
  return all;
}

std::vector<CacheItem> Caches::image_items() const {
  std::vector<CacheItem> all;
  for (const CachedImage& image : images.entries()) {
    all.push_back({"image",
                   to_hex(image.key),
                   image.path,
                   image.size,
                   image.used,
                   [image] {
                     ImageCache::remove(image);
                     return true;
                   },
                   {},
                   image.label});
  }
  return all;
}

std::vector<CacheItem> Caches::artifact_items() const {
  std::vector<CacheItem> all;
  for (const artifact_files::File& file : artifact_files::list(artifacts)) {
    all.push_back({"artifact",
                   file.hash,
                   file.path(),
                   file.size,
                   file.used,
                   [file] {
                     artifact_files::remove(file);
                     return true;
                   },
                   {}});
  }
  return all;
}

}  // namespace pkgfs
