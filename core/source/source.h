// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/package/package_info.h"
#include "core/package/package_specifier.h"

namespace pkgfs {

/// Why a source has no package for a specifier (docs/rules/resolution.md, 6.2). The chain of messages starts with
/// `failed to query package '{specifier}': {reason}`.
class QueryError : public Error {
 public:
  enum class Kind {
    kUnsupported,  // the source doesn't answer specifiers of this kind
    kNotFound,     // there is no such package
    kNoMatches,    // the package exists, but no version matches
    kUnusable,     // versions match, but none of them can be used
    kOther,        // the source itself failed
  };

  QueryError(Kind kind, const PackageSpecifier& specifier);
  /// kNoMatches, with the versions that match but are archived.
  QueryError(const PackageSpecifier& specifier, const std::vector<std::string>& archived);
  /// kUnusable. `version` is the newest of the `count` versions that match, and `why` says why it can't be used. Has
  /// the code of `why`.
  QueryError(const PackageSpecifier& specifier, const std::string& version, std::size_t count, const Error& why);
  /// kOther, with the failure of the source.
  QueryError(const PackageSpecifier& specifier, const Error& cause);

  [[nodiscard]] Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

/// Finds packages for specifiers. An implementation finds them in a local registry directory, a directory of
/// containers, memory, the cache of downloads, or a lock file. Others find them at a path, at a URL, or in a registry
/// on the network. A MultiSource makes several of them one. A source may be used by one thread at a time.
class Source {
 public:
  /// Either at least one package or an error.
  struct Answer {
    std::vector<PackageSummary> packages;
    std::optional<QueryError> error;
  };

  virtual ~Source() = default;

  /// All packages that satisfy `specifier`, at least one; packages of one name ascend by version. Throws QueryError and
  /// Error(kInterrupted).
  [[nodiscard]] virtual std::vector<PackageSummary> query(const PackageSpecifier& specifier) = 0;
  /// The answers for many specifiers, in their order. A source that waits for the network overrides this function, to
  /// send all requests at the same time. Throws only an Error that `is_of_run`.
  [[nodiscard]] virtual std::vector<Answer> query_all(std::span<const PackageSpecifier> specifiers);
};

/// Calls `query` and returns its packages. If `query` throws or returns none, the answer has an error. Throws only an
/// Error that `is_of_run`.
[[nodiscard]] Source::Answer answer_of(const PackageSpecifier& specifier,
                                       const std::function<std::vector<PackageSummary>()>& query);
/// `answer_of` for many specifiers at once, in their order: `query` is called from up to 32 threads at a time. Throws
/// only an Error that `is_of_run`.
[[nodiscard]] std::vector<Source::Answer> answers_in_parallel(
    std::span<const PackageSpecifier> specifiers, const CancelFlag& cancel,
    const std::function<std::vector<PackageSummary>(const PackageSpecifier& specifier, const CancelFlag& cancel)>&
        query);

/// The best of `answers` (docs/rules/resolution.md, 6.1). For a name it is the newest by semver precedence, and the
/// last one if several are equally new. For any other specifier it is the first. Throws QueryError if `answers` is
/// empty.
[[nodiscard]] const PackageSummary& latest_of(const PackageSpecifier& specifier,
                                              const std::vector<PackageSummary>& answers);
/// Queries `source`, warns of a named tag, and returns the best answer. Throws as `Source::query`.
[[nodiscard]] PackageSummary query_latest(Source& source, const PackageSpecifier& specifier);
/// Whether `a` has a higher version than `b` by semver precedence. An id without a version is older than any with one.
[[nodiscard]] bool is_newer(const PackageId& a, const PackageId& b);
/// Whether `answers` has what `specifier` asks for: the build that it names, or any package if it names no build.
[[nodiscard]] bool has_wanted(const PackageSpecifier& specifier, std::span<const PackageSummary> answers);
/// If `specifier` asks for one build (`=1.2.3+b`) and it is among `answers`, removes all others.
void keep_wanted_build(const PackageSpecifier& specifier, std::vector<PackageSummary>& answers);
/// Warns if `specifier` has build metadata that didn't select `chosen` (docs/rules/resolution.md, 2.5).
void warn_of_build_metadata(const PackageSpecifier& specifier, const PackageId& chosen);
/// If `specifier` has a named tag, warns that the tag was treated as `*` (docs/rules/resolution.md, 2.4).
void warn_of_named_tag(const PackageSpecifier& specifier);

}  // namespace pkgfs
