// SPDX-License-Identifier: MIT
#include "core/source/source.h"

#include <algorithm>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/parallel.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

std::string failed_to_query(const PackageSpecifier& specifier, const std::string& reason) {
  return "failed to query package '" + without_password(specifier.to_string()) + "': " + reason;
}

const char* reason_of(QueryError::Kind kind) {
  switch (kind) {
    case QueryError::Kind::kUnsupported:
      return "unsupported package specifier";
    case QueryError::Kind::kNotFound:
      return "not found";
    case QueryError::Kind::kNoMatches:
      return "the package was found, but no published versions matched the constraint";
    case QueryError::Kind::kUnusable:
    case QueryError::Kind::kOther:
      break;
  }
  return "unknown error";
}

std::string no_matches(const std::vector<std::string>& archived) {
  if (archived.empty()) {
    return reason_of(QueryError::Kind::kNoMatches);
  }
  if (archived.size() == 1) {
    return "the only version satisfying the constraint, " + archived.front() + ", is archived";
  }
  return "unable to satisfy the request - version " + archived.front() + ", and " +
         std::to_string(archived.size() - 1) + " are all archived";
}

std::vector<std::string> chain_of(const PackageSpecifier& specifier, const std::string& reason, const Error& cause) {
  std::vector<std::string> chain = {failed_to_query(specifier, reason)};
  chain.insert(chain.end(), cause.chain().begin(), cause.chain().end());
  return chain;
}

std::string unusable(const std::string& version, std::size_t count) {
  if (count == 1) {
    return "version " + version + " was found, but it can't be used";
  }
  return "version " + version + " was found, but neither it nor " + std::to_string(count - 1) + " older can be used";
}

}  // namespace

QueryError::QueryError(Kind kind, const PackageSpecifier& specifier)
    : Error(kind == Kind::kUnsupported ? ErrorCode::kUnsupported : ErrorCode::kNotFound,
            failed_to_query(specifier, reason_of(kind))),
      kind_(kind) {}

QueryError::QueryError(const PackageSpecifier& specifier, const std::vector<std::string>& archived)
    : Error(ErrorCode::kNotFound, failed_to_query(specifier, no_matches(archived))), kind_(Kind::kNoMatches) {}

QueryError::QueryError(const PackageSpecifier& specifier, const Error& cause)
    : Error(cause.code(), chain_of(specifier, cause.message(), cause)), kind_(Kind::kOther) {
  keep_origin(cause);
}

QueryError::QueryError(const PackageSpecifier& specifier, const std::string& version, std::size_t count,
                       const Error& why)
    : Error(why.code(), chain_of(specifier, unusable(version, count), why)), kind_(Kind::kUnusable) {
  keep_origin(why);
}

Source::Answer answer_of(const PackageSpecifier& specifier, const std::function<std::vector<PackageSummary>()>& query) {
  Source::Answer answer;
  try {
    answer.packages = query();
    if (answer.packages.empty()) {
      answer.error.emplace(QueryError::Kind::kNoMatches, specifier);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    const auto* const failure = dynamic_cast<const QueryError*>(&error);
    if (error.is_of_machine()) {  // no other source would do better
      throw failure != nullptr ? *failure : QueryError(specifier, error);
    }
    if (failure != nullptr) {
      answer.error = *failure;
    } else {
      answer.error.emplace(specifier, error);
    }
  }
  return answer;
}

std::vector<Source::Answer> answers_in_parallel(
    std::span<const PackageSpecifier> specifiers, const CancelFlag& cancel,
    const std::function<std::vector<PackageSummary>(const PackageSpecifier& specifier, const CancelFlag& cancel)>&
        query) {
  std::vector<Source::Answer> answers(specifiers.size());
  for_each_in_parallel(specifiers.size(), limits::kParallelRequests, cancel,
                       [&](std::size_t i, const CancelFlag& stop) {
                         answers[i] = answer_of(specifiers[i], [&] { return query(specifiers[i], stop); });
                       });
  return answers;
}

std::vector<Source::Answer> Source::query_all(std::span<const PackageSpecifier> specifiers) {
  std::vector<Answer> answers;
  for (const PackageSpecifier& specifier : specifiers) {
    answers.push_back(answer_of(specifier, [&] { return query(specifier); }));
  }
  return answers;
}

bool is_newer(const PackageId& a, const PackageId& b) {
  if (a.named() != nullptr && b.named() != nullptr) {
    return compare_precedence(a.named()->version, b.named()->version) > 0;
  }
  return a.named() != nullptr && b.named() == nullptr;
}

void warn_of_named_tag(const PackageSpecifier& specifier) {
  if (specifier.named() == nullptr || specifier.named()->named_tag() == nullptr) {
    return;
  }
  log::warn("no source resolves the tag of \"{}\": taking the newest release", specifier.to_string());
}

namespace {

bool is_build(const PackageSummary& answer, const Version& wanted) {
  return answer.pkg.id.named() != nullptr && answer.pkg.id.named()->version == wanted;
}

}  // namespace

bool has_wanted(const PackageSpecifier& specifier, std::span<const PackageSummary> answers) {
  const auto wanted = specifier.named() == nullptr ? std::nullopt : specifier.named()->wanted_build();
  return std::ranges::any_of(answers,
                             [&](const PackageSummary& answer) { return !wanted || is_build(answer, *wanted); });
}

void keep_wanted_build(const PackageSpecifier& specifier, std::vector<PackageSummary>& answers) {
  const auto wanted = specifier.named() == nullptr ? std::nullopt : specifier.named()->wanted_build();
  if (wanted && has_wanted(specifier, answers)) {
    std::erase_if(answers, [&](const PackageSummary& answer) { return !is_build(answer, *wanted); });
  }
}

void warn_of_build_metadata(const PackageSpecifier& specifier, const PackageId& chosen) {
  const NamedIdent* ident = specifier.named();
  if (ident == nullptr || ident->build.empty()) {
    return;
  }
  const auto wanted = ident->wanted_build();
  if (wanted && chosen.named() != nullptr && chosen.named()->version == *wanted) {
    return;
  }
  log::warn("\"{}\" takes \"{}\": {}", specifier.to_string(), chosen.to_string(),
            wanted
                ? "no registry has the build that it asks for, and versions that differ only in build metadata count "
                  "as equal"
                : "versions are compared without build metadata, so that \"+" + ident->build +
                      "\" selects nothing; only \"=\" with a whole version selects a build");
}

const PackageSummary& latest_of(const PackageSpecifier& specifier, const std::vector<PackageSummary>& answers) {
  if (answers.empty()) {
    throw QueryError(QueryError::Kind::kNoMatches, specifier);
  }
  const PackageSummary* latest = &answers.front();
  if (specifier.named() != nullptr) {
    for (const PackageSummary& answer : answers) {
      if (!is_newer(latest->pkg.id, answer.pkg.id)) {
        latest = &answer;
      }
    }
  }
  return *latest;
}

PackageSummary query_latest(Source& source, const PackageSpecifier& specifier) {
  std::vector<PackageSummary> answers = source.query(specifier);
  warn_of_named_tag(specifier);
  keep_wanted_build(specifier, answers);
  PackageSummary latest = latest_of(specifier, answers);
  warn_of_build_metadata(specifier, latest.pkg.id);
  return latest;
}

}  // namespace pkgfs
