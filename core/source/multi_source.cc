// SPDX-License-Identifier: MIT
#include "core/source/multi_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/log.h"

namespace pkgfs {
namespace {

int telling(QueryError::Kind kind) {
  switch (kind) {
    case QueryError::Kind::kUnsupported:
      return 0;
    case QueryError::Kind::kNotFound:
      return 1;
    case QueryError::Kind::kNoMatches:
      return 2;
    case QueryError::Kind::kOther:
      break;
  }
  return 3;
}

}  // namespace

void MultiSource::add(std::unique_ptr<Source> source, When when) { parts_.push_back({std::move(source), when}); }

std::vector<PackageSummary> MultiSource::query(const PackageSource& specifier) {
  std::vector<PackageSummary> found;
  std::optional<QueryError> failure;
  for (const Part& part : parts_) {
    if (part.when == When::kIfNothingFound && !found.empty()) {
      continue;
    }
    try {
      for (PackageSummary& answer : part.source->query(specifier)) {
        const auto same = [&](const PackageSummary& other) { return other.pkg.id == answer.pkg.id; };
        if (std::none_of(found.begin(), found.end(), same)) {
          found.push_back(std::move(answer));
        }
      }
    } catch (const QueryError& error) {
      if (error.kind() == QueryError::Kind::kOther) {
        if (found.empty()) {
          throw;
        }
        log::warn("{}; going on with what other sources know", error.what());
      } else if (!failure || telling(error.kind()) > telling(failure->kind())) {
        failure = error;
      }
    }
  }
  if (found.empty()) {
    throw failure ? *failure : QueryError(QueryError::Kind::kNotFound, specifier);
  }
  std::sort(found.begin(), found.end(),
            [](const PackageSummary& a, const PackageSummary& b) { return a.pkg.id < b.pkg.id; });
  return found;
}

}  // namespace pkgfs
