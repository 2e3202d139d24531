// SPDX-License-Identifier: MIT
#include "core/source/container_summary.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/cache/file_hash.h"
#include "core/package/file_url.h"
#include "core/webc/container.h"

namespace pkgfs {
namespace {

std::shared_ptr<const webc::Container> open_container(const std::string& path) {
  return webc::Container::open(MappedFile::open(path));
}

PackageSummary summarize(const std::string& path, PackageId id, const webc::Container& container) {
  return {info_from_manifest(std::move(id), container.manifest(), static_cast<int>(container.version())),
          local_distribution(path)};
}

}  // namespace

bool has_container_magic(const std::string& path) {
  static constexpr std::string_view kMagic{"\0webc", 5};
  try {
    const auto file = MappedFile::open(path);
    std::array<std::byte, kMagic.size()> start{};
    return file->size() >= kMagic.size() && file->read(0, start) &&
           std::ranges::equal(start, std::as_bytes(std::span(kMagic)));
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    return false;
  }
}

DistributionInfo local_distribution(const std::string& path) {
  std::error_code failed;
  std::string absolute = std::filesystem::absolute(path, failed).string();
  if (failed) {
    absolute = path;
  }
  return {file_url(absolute), absolute, std::nullopt};
}

PackageSummary container_summary(const std::string& path) {
  const auto container = open_container(path);
  // By its path, not by the mapping: an open file for each known package would be too many.
  PackageHash hash([path] { return hash_file(path); });
  return summarize(path, id_from_manifest(container->manifest(), hash), *container);
}

PackageSummary container_summary(const std::string& path, PackageId id) {
  return summarize(path, std::move(id), *open_container(path));
}

}  // namespace pkgfs
