// SPDX-License-Identifier: MIT
#include "core/source/multi_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/base/log.h"

namespace pkgfs {
namespace {

/// Which error of several sources is reported: the one with the highest priority.
int error_priority(QueryError::Kind kind) {
  switch (kind) {
    case QueryError::Kind::kUnsupported:
      return 0;
    case QueryError::Kind::kNotFound:
      return 1;
    case QueryError::Kind::kNoMatches:
      return 2;
    case QueryError::Kind::kUnusable:
      return 3;
    case QueryError::Kind::kOther:
      break;
  }
  return 4;
}

/// Merges the answer of one source into that of the sources before it.
void merge_into(Source::Answer& merged, Source::Answer answer) {
  if (!answer.error) {
    for (PackageSummary& package : answer.packages) {
      const auto same = [&](const PackageSummary& other) { return other.pkg.id == package.pkg.id; };
      if (std::none_of(merged.packages.begin(), merged.packages.end(), same)) {
        merged.packages.push_back(std::move(package));
      }
    }
    return;
  }
  if (answer.error->kind() == QueryError::Kind::kOther && !merged.packages.empty()) {
    log::warn("{}; using the packages that other sources have", *answer.error);
  } else if (!merged.error || error_priority(answer.error->kind()) > error_priority(merged.error->kind())) {
    merged.error = std::move(answer.error);
  }
}

/// Completes the answer after all sources were asked.
void finish(Source::Answer& merged, const PackageSpecifier& specifier) {
  if (merged.packages.empty()) {
    if (!merged.error) {
      merged.error.emplace(QueryError::Kind::kNotFound, specifier);
    }
    return;
  }
  merged.error.reset();
  std::sort(merged.packages.begin(), merged.packages.end(),
            [](const PackageSummary& a, const PackageSummary& b) { return a.pkg.id < b.pkg.id; });
}

}  // namespace

void MultiSource::add(std::unique_ptr<Source> source, When when) { parts_.push_back({std::move(source), when}); }

std::vector<PackageSummary> MultiSource::query(const PackageSpecifier& specifier) {
  Answer answer = std::move(query_all({&specifier, 1}).front());
  if (answer.error) {
    throw QueryError(*answer.error);
  }
  return std::move(answer.packages);
}

std::vector<Source::Answer> MultiSource::query_all(std::span<const PackageSpecifier> specifiers) {
  std::vector<Answer> merged(specifiers.size());
  for (const Part& part : parts_) {
    std::vector<std::size_t> which;
    std::vector<PackageSpecifier> asked;
    for (std::size_t i = 0; i < specifiers.size(); ++i) {
      const bool is_settled = merged[i].error && merged[i].error->kind() == QueryError::Kind::kOther;
      const bool is_enough = part.when == When::kIfNothingFound && has_wanted(specifiers[i], merged[i].packages);
      if (!is_settled && !is_enough) {
        which.push_back(i);
        asked.push_back(specifiers[i]);
      }
    }
    if (asked.empty()) {
      continue;
    }
    std::vector<Answer> answers = part.source->query_all(asked);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      merge_into(merged[which[i]], std::move(answers[i]));
    }
  }
  for (std::size_t i = 0; i < specifiers.size(); ++i) {
    finish(merged[i], specifiers[i]);
  }
  return merged;
}

}  // namespace pkgfs
