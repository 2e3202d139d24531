// SPDX-License-Identifier: MIT
#include "core/source/path_source.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "core/source/container_summary.h"

namespace pkgfs {
namespace {

std::string canonical(const std::string& path) {
  std::error_code failed;
  std::string result = std::filesystem::canonical(path, failed).string();
  if (failed) {
    const bool is_missing = failed == std::errc::no_such_file_or_directory || failed == std::errc::not_a_directory;
    throw Error(is_missing ? ErrorCode::kNotFound : ErrorCode::kIo,
                {"Unable to get the canonical form for \"" + path + "\"", failed.message()});
  }
  return result;
}

}  // namespace

PathSource::PathSource(Describe describe, std::string base) : describe_(std::move(describe)), base_(std::move(base)) {
  if (!describe_) {
    describe_ = [](const std::string& path) { return container_summary(path); };
  }
}

std::vector<PackageSummary> PathSource::query(const PackageSpecifier& specifier) {
  if (specifier.path() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  try {
    const std::string path = canonical((std::filesystem::path(base_) / specifier.path()->text).string());
    try {
      return {describe_(path)};
    } catch (Error& error) {
      error.context("Unable to parse \"" + path + "\"");
      throw;
    }
  } catch (const Error& error) {
    throw QueryError(specifier, error);
  }
}

}  // namespace pkgfs
