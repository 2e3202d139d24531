// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/package/package_info.h"
#include "core/package/package_specifier.h"
#include "core/webc/manifest.h"

/// The requests to a registry and the contents of its answers (docs/rules/resolution.md, 7.1). Does no I/O.
namespace pkgfs::graphql {

/// The container version of a package that is preferred. If the registry doesn't have it, or if it can't be used, the
/// other version is used.
enum class Prefer { kV3, kV2 };

/// Whether `text` may be inserted into a query: it has only ASCII letters, digits, "-", "_", ".", "/" and ":", at least
/// one. As in Wasmer, names and hashes are a part of the query's text. Other characters could change its meaning.
[[nodiscard]] bool is_safe(std::string_view text);

/// Whether `a` and `b` are names of one package for a registry. Upper and lower case are equal there, and so are "-"
/// and "_". The namespace "_" means that there is none.
[[nodiscard]] bool is_same_name(std::string_view a, std::string_view b);

/// The body of the request for all versions of the package `full_name`, or for the release whose container has `hash`
/// (`sha256:…`). The text is the same as Wasmer's. The parameters must be safe.
[[nodiscard]] std::string package_query(std::string_view full_name);
[[nodiscard]] std::string release_query(std::string_view hash);

/// Parses the body of an answer, and checks that it has data. Throws Error(kNetwork) `Unable to deserialize the
/// response`. The error also has the messages of the registry (`errors`), or the reason why the text can't be used.
[[nodiscard]] webc::Json parse_response(std::string_view body);

/// The versions that a registry has of one name.
struct Published {
  bool found = false;                    // the package exists
  std::vector<PackageSummary> packages;  // versions that match and can be downloaded, ascending
  std::vector<std::string> archived;     // versions that match but are archived
  /// A version that matches, but can't be downloaded or used.
  struct Unusable {
    NamedId id;
    Error why;  // kCorrupt: a damaged manifest; kNetwork: a missing or wrong field
  };
  std::vector<Unusable> unusable;  // ascending
};
/// The versions in `response`, an answer to `package_query`, that match `ident`. A version with unusable fields is left
/// out of `packages`, as Wasmer does. Throws Error(kNetwork) for an answer of another shape, for one with errors but no
/// package, and for one about another package than `ident` names.
[[nodiscard]] Published published(const webc::Json& response, const NamedIdent& ident, Prefer prefer);

/// Throws as `published` for an answer of another shape, or about another package than `full_name`. Called before an
/// answer is used, and before it is stored.
void check_published(const webc::Json& response, std::string_view full_name);

/// The release in `response`, an answer to `release_query`; none if the registry doesn't have it. Throws
/// Error(kNetwork) for an answer of another shape, and for one with errors but no release.
[[nodiscard]] std::optional<PackageSummary> release(const webc::Json& response, const PackageHash& hash);

}  // namespace pkgfs::graphql
