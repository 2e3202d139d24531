// SPDX-License-Identifier: MIT
#include "daemon/packages/flags_elsewhere.h"

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

namespace pkgfs {

namespace fs = std::filesystem;

std::string absolute_from(const std::string& directory, const std::string& path) {
  return directory.empty() ? path : (fs::path(directory) / path).lexically_normal().string();
}

TreeFlags flags_from(const std::string& directory, TreeFlags flags) {
  NetworkFlags& network = flags.network;
  network.working_directory = directory;
  for (std::string& registry : network.registries) {
    std::error_code failed;
    if (std::string path = absolute_from(directory, registry); fs::is_directory(path, failed)) {
      registry = std::move(path);
    }
  }
  for (std::optional<std::string>* const path : {&network.lock, &network.cache_dir}) {
    if (*path) {
      *path = absolute_from(directory, **path);
    }
  }
  return flags;
}

}  // namespace pkgfs
