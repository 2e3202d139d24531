// SPDX-License-Identifier: MIT
#include "core/source/directory_source.h"

#include <filesystem>
#include <utility>

#include "core/base/log.h"
#include "core/cache/file_hash.h"
#include "core/source/container_summary.h"
#include "core/source/files_below.h"

namespace pkgfs {

DirectorySource::DirectorySource(std::string dir, Options options) : dir_(std::move(dir)), options_(options) {
  std::error_code failed;
  if (!std::filesystem::is_directory(dir_, failed)) {
    throw Error(ErrorCode::kNotFound, "package directory does not exist: \"" + dir_ + "\"");
  }
}

std::vector<PackageSummary> DirectorySource::query(const PackageSpecifier& specifier) {
  if (specifier.named() == nullptr && specifier.hash() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  try {
    if (!packages_) {
      packages_ = scan();
    }
    return packages_->query(specifier);
  } catch (const QueryError& error) {
    if (specifier.hash() != nullptr && error.kind() == QueryError::Kind::kNoMatches) {
      throw QueryError(QueryError::Kind::kNotFound, specifier);  // a hash has no other versions
    }
    throw;
  } catch (const Error& error) {
    throw QueryError(specifier, error);
  }
}

MemorySource DirectorySource::scan() const {
  MemorySource packages;
  try {
    for (const std::string& file : files_below(dir_, options_.depth)) {
      if (!has_container_magic(file)) {
        continue;
      }
      try {
        packages.add(container_summary(file), PackageHash([file] { return hash_file(file); }));
      } catch (Error& error) {
        error.context("Unable to load \"" + file + "\"");
        if (!options_.skip_damaged || error.is_of_run()) {
          throw;
        }
        log::warn("{}", error);
      }
    }
  } catch (Error& error) {
    error.context("Unable to add entries from \"" + dir_ + "\"");
    throw;
  }
  return packages;
}

}  // namespace pkgfs
