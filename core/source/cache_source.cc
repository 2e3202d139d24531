// SPDX-License-Identifier: MIT
#include "core/source/cache_source.h"

#include "core/base/log.h"
#include "core/source/container_summary.h"

namespace pkgfs {

std::vector<PackageSummary> CacheSource::query(const PackageSpecifier& specifier) {
  if (specifier.hash() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  try {
    if (const auto path = cache_.find(specifier.hash()->digest())) {
      PackageSummary summary = container_summary(*path, PackageId(*specifier.hash()));
      // The loader finds it by its hash; where the cache happens to be is nobody else's business.
      summary.dist = {"file://" + *path, std::nullopt, specifier.hash()->digest()};
      return {std::move(summary)};
    }
  } catch (const Error& error) {
    log::info("the cache is of no help: {}", error.what());  // whoever is asked next may be
  }
  throw QueryError(QueryError::Kind::kNotFound, specifier);
}

}  // namespace pkgfs
