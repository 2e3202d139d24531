// SPDX-License-Identifier: MIT
#include "core/source/caching_source.h"

namespace pkgfs {
namespace {

// Two kinds of specifier may print alike.
char kind_of(const PackageSource& specifier) {
  if (specifier.named() != nullptr) {
    return 'n';
  }
  if (specifier.hash() != nullptr) {
    return 'h';
  }
  return specifier.url() != nullptr ? 'u' : 'p';
}

}  // namespace

std::vector<PackageSummary> CachingSource::query(const PackageSource& specifier) {
  const Answer& answer = ask(specifier);
  if (answer.error) {
    throw QueryError(*answer.error);
  }
  return answer.packages;
}

const CachingSource::Answer& CachingSource::ask(const PackageSource& specifier) {
  auto [at, is_new] = answers_.try_emplace({kind_of(specifier), specifier.to_string()});
  Answer& answer = at->second;
  if (is_new) {
    try {
      answer.packages = source_.query(specifier);
      if (answer.packages.empty()) {
        answer.error.emplace(QueryError::Kind::kNoMatches, specifier);
      } else {
        warn_of_named_tag(specifier);
      }
    } catch (const QueryError& error) {
      answer.error = error;
    } catch (const Error& error) {
      answer.error.emplace(specifier, error);
    } catch (...) {
      answers_.erase(at);
      throw;
    }
  }
  return answer;
}

}  // namespace pkgfs
