// SPDX-License-Identifier: MIT
#include "core/source/downloaded_source.h"

#include "core/base/log.h"
#include "core/source/container_summary.h"

namespace pkgfs {

std::vector<PackageSummary> DownloadedSource::query(const PackageSpecifier& specifier) {
  if (specifier.hash() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  try {
    if (const auto path = cache_.find(specifier.hash()->digest())) {
      PackageSummary summary = container_summary(*path, PackageId(*specifier.hash()));
      // Without a path: the loader finds the container by its hash, and then checks the cache entry.
      summary.dist = {"file://" + *path, std::nullopt, specifier.hash()->digest()};
      return {std::move(summary)};
    }
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    log::info("the cache can't be used: {}", error);  // the next source may have the package
  }
  throw QueryError(QueryError::Kind::kNotFound, specifier);
}

}  // namespace pkgfs
