// SPDX-License-Identifier: MIT
#include "daemon/serve/name_syntax.h"

#include <algorithm>
#include <optional>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/package/package_specifier.h"
#include "core/package/semver.h"

namespace pkgfs {
namespace {

using Kind = NameSyntax::Kind;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/// What a registry takes as a part of a name.
bool is_plain(std::string_view part) {
  return !part.empty() && is_letter_or_digit(part.front()) &&
         std::ranges::all_of(part, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

/// `space`: the namespace; empty: none.
NameSyntax package_syntax(std::string_view space, std::string_view name) {
  const std::string prefix = space.empty() ? "" : std::string(space) + "/";
  const std::size_t at = name.find('@');
  const std::string_view bare = name.substr(0, at);
  if (bare.empty() || bare.front() == '.' || at + 1 == name.size()) {
    return {};
  }
  const std::string_view tag = at == std::string_view::npos ? "*" : name.substr(at + 1);
  const std::optional<Version> version = Version::try_parse(tag);
  NameSyntax syntax{.kind = version ? Kind::kExact : Kind::kRequirement,
                    .full_name = prefix + std::string(bare),
                    .specifier = {},
                    .is_plain = is_plain(bare) && (space.empty() || is_plain(space))};
  syntax.specifier = syntax.full_name + "@" + (version ? "=" : "") + std::string(tag);
  try {
    const PackageSpecifier parsed = PackageSpecifier::parse(syntax.specifier);
    if (parsed.named() == nullptr || parsed.named()->full_name() != syntax.full_name || parsed.named()->registry) {
      return {};
    }
  } catch (const Error&) {
    return {};
  }
  return syntax;
}

}  // namespace

NameSyntax syntax_of(std::string_view directory, std::string_view name) {
  if (directory == "sha256") {
    const std::optional<Sha256> hash = sha256_from_hex(name);
    if (!hash || to_hex(*hash) != name) {
      return {};
    }
    return {.kind = Kind::kExact, .full_name = {}, .specifier = "sha256:" + std::string(name)};
  }
  if (directory == "locked") {
    if (name.empty() || name.front() == '.') {
      return {};
    }
    return {.kind = Kind::kLockedPackage, .full_name = {}, .specifier = std::string(name)};
  }
  if (!directory.empty()) {
    return package_syntax(directory, name);
  }
  if (name == "sha256") {
    return {.kind = Kind::kHashes};
  }
  if (name == "locked") {
    return {.kind = Kind::kLocked};
  }
  if (name == ".locks") {
    return {.kind = Kind::kLocks};
  }
  if (name.find('@') != std::string_view::npos) {
    return package_syntax({}, name);
  }
  if (name.empty() || name.front() == '.' || name.find(':') != std::string_view::npos) {
    return {};
  }
  return {.kind = Kind::kNamespace, .full_name = std::string(name), .specifier = {}, .is_plain = is_plain(name)};
}

}  // namespace pkgfs
