// SPDX-License-Identifier: MIT
#include "core/source/remembering_source.h"

namespace pkgfs {
namespace {

/// Part of the key, because specifiers of two kinds may have the same text.
char kind_of(const PackageSpecifier& specifier) {
  if (specifier.named() != nullptr) {
    return 'n';
  }
  if (specifier.hash() != nullptr) {
    return 'h';
  }
  return specifier.url() != nullptr ? 'u' : 'p';
}

}  // namespace

std::vector<PackageSummary> RememberingSource::query(const PackageSpecifier& specifier) {
  const Answer& answer = ask(specifier);
  if (answer.error) {
    throw QueryError(*answer.error);
  }
  return answer.packages;
}

RememberingSource::Key RememberingSource::key_of(const PackageSpecifier& specifier) {
  return {kind_of(specifier), specifier.to_string()};
}

const Source::Answer& RememberingSource::ask(const PackageSpecifier& specifier) {
  const Key key = key_of(specifier);
  if (const auto known = answers_.find(key); known != answers_.end()) {
    return known->second;
  }
  prefetch({&specifier, 1});
  return answers_.at(key);
}

void RememberingSource::prefetch(std::span<const PackageSpecifier> specifiers) {
  std::map<Key, PackageSpecifier> unknown;
  for (const PackageSpecifier& specifier : specifiers) {
    Key key = key_of(specifier);
    if (!answers_.contains(key)) {
      unknown.emplace(std::move(key), specifier);
    }
  }
  std::vector<PackageSpecifier> asked;
  asked.reserve(unknown.size());
  for (const auto& [key, specifier] : unknown) {
    asked.push_back(specifier);
  }
  std::vector<Answer> answers = source_.query_all(asked);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (!answers[i].error) {
      warn_of_named_tag(asked[i]);
      keep_wanted_build(asked[i], answers[i].packages);
    }
    answers_.emplace(key_of(asked[i]), std::move(answers[i]));
  }
}

}  // namespace pkgfs
