// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/package/package_info.h"
#include "core/package/package_source.h"
#include "core/webc/manifest.h"

/// What is said to a registry and what it answers (docs/rules/resolution.md, 7.1). Nothing here touches the network.
namespace pkgfs::graphql {

/// Which of the containers that a registry holds of a package is taken; the other one when that is missing.
enum class Prefer { kV3, kV2 };

/// Names and hashes go into the text of the query as Wasmer does it, so nothing but these may stand in them: letters,
/// digits, "-", "_", ".", "/" and ":".
[[nodiscard]] bool is_safe(std::string_view text);

/// The body of the request for everything about the package `full_name`, or for the release with `hash`
/// (`sha256:…`). The text is Wasmer's own. Both must be safe.
[[nodiscard]] std::string package_query(std::string_view full_name);
[[nodiscard]] std::string release_query(std::string_view hash);

/// Reads the body of an answer and checks its shape. Throws Error(kNetwork) `Unable to deserialize the response` with
/// the registry's own messages (`errors`) or what is wrong with the text.
[[nodiscard]] webc::Json parse_response(std::string_view body);

/// What a registry publishes under a name.
struct Published {
  bool found = false;                    // the package exists
  std::vector<PackageSummary> packages;  // that match and can be had, ascending by version
  std::vector<std::string> archived;     // versions that match but are archived
};
/// The versions in `response`, from `package_query`, that `ident` asks for. Versions with unusable fields are left out,
/// as Wasmer does. Throws Error(kNetwork) for an answer of another shape, and for one that says nothing but errors.
[[nodiscard]] Published published(const webc::Json& response, const NamedIdent& ident, Prefer prefer);

/// Throws as `published` does, whatever is asked for: before an answer is believed, and before it is kept.
void check_published(const webc::Json& response);

/// The release in `response`, from `release_query`; nothing if the registry doesn't know it. Throws Error(kNetwork).
[[nodiscard]] std::optional<PackageSummary> release(const webc::Json& response, const PackageHash& hash);

}  // namespace pkgfs::graphql
