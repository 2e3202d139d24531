// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/package/package_info.h"
#include "core/package/package_source.h"

namespace pkgfs {

/// Why a source has no answer (docs/rules/resolution.md, 6.2). The chain starts with
/// `failed to query package '{specifier}': {reason}`.
class QueryError : public Error {
 public:
  enum class Kind { kUnsupported, kNotFound, kNoMatches, kOther };

  QueryError(Kind kind, const PackageSource& specifier);
  /// NoMatches, with the versions that would match but are archived.
  QueryError(const PackageSource& specifier, const std::vector<std::string>& archived);
  /// Other: `cause` is what went wrong inside the source.
  QueryError(const PackageSource& specifier, const Error& cause);

  [[nodiscard]] Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

/// Where packages are known. Implementations: a local registry directory, a directory of containers, a path, memory,
/// a registry or a URL on the network, several of these (multi_source.h).
class Source {
 public:
  /// At least one package, or why there is none.
  struct Answer {
    std::vector<PackageSummary> packages;
    std::optional<QueryError> error;
  };

  virtual ~Source() = default;

  /// All packages that satisfy `specifier`, at least one, ascending by version where that means something.
  /// Throws QueryError. May be called from one thread at a time.
  [[nodiscard]] virtual std::vector<PackageSummary> query(const PackageSource& specifier) = 0;
  /// The same for many at once, in their order. Sources that wait for others override it, to wait for all together.
  /// Throws Error(kInterrupted) only.
  [[nodiscard]] virtual std::vector<Answer> query_all(std::span<const PackageSource> specifiers);
};

/// What `query` answers or throws for `specifier`, as a value. Throws Error(kInterrupted) only.
[[nodiscard]] Source::Answer answer_of(const PackageSource& specifier,
                                       const std::function<std::vector<PackageSummary>()>& query);

/// The answer to take when there is no other constraint: for a name the newest by precedence (the last of equals), else
/// the first (docs/rules/resolution.md, 6.1).
[[nodiscard]] const PackageSummary& latest_of(const PackageSource& specifier,
                                              const std::vector<PackageSummary>& answers);
[[nodiscard]] PackageSummary query_latest(Source& source, const PackageSource& specifier);
/// Whether `a` has a higher version than `b` by precedence. An id without a version is older than any with one.
[[nodiscard]] bool is_newer(const PackageId& a, const PackageId& b);
/// Logs that the named tag of `specifier`, if it has one, was taken as `*` (docs/rules/resolution.md, 2.4).
void warn_of_named_tag(const PackageSource& specifier);

}  // namespace pkgfs
