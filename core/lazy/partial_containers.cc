// SPDX-License-Identifier: MIT
#include "core/lazy/partial_containers.h"

#include <utility>

#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"
#include "core/cache/cache_files.h"
#include "core/cache/lazy_files.h"
#include "core/lazy/block_map.h"

namespace pkgfs {

std::vector<PartialContainer> partial_containers(const std::string& directory, const std::string& boot) {
  std::vector<PartialContainer> all;
  const auto opened = PrivateDirectory::find(directory);
  for (const lazy_files::Pair& pair : opened ? lazy_files::list(*opened) : std::vector<lazy_files::Pair>()) {
    const std::string name = pair.key + std::string(cache_files::kLazyMap);
    const UniqueFd map = opened->find_file(name);
    if (!map) {
      continue;
    }
    PartialContainer partial{.key = pair.key,
                             .path = opened->path_of(pair.key + std::string(cache_files::kLazy)),
                             .is_in_use = lazy_files::is_in_use(*opened, pair.key),
                             .used = pair.used};
    const std::string path = opened->path_of(name);
    if (const auto header = BlockMap::read_header(map.get(), path)) {
      const bool only_synced = boot.empty() || header->boot != boot;
      partial.size = header->size;
      partial.bytes_present =
          BlockMap::count(map.get(), *header, only_synced, path).bytes(header->size, header->block_size);
    }
    all.push_back(std::move(partial));
  }
  return all;
}

}  // namespace pkgfs
