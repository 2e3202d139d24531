// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/package/package_id.h"
#include "core/package/semver.h"

namespace pkgfs {

/// `[registry:][namespace/]name[@tag]` (docs/rules/resolution.md, 1.3). A tag is a version requirement or a word.
struct NamedIdent {
  std::optional<std::string> registry;
  std::optional<std::string> namespace_;
  std::string name;
  std::variant<std::monostate, VersionReq, std::string> tag;

  [[nodiscard]] std::string full_name() const;
  /// The requirement; `*` without a tag or with a named one (docs/rules/resolution.md, 2.4).
  [[nodiscard]] VersionReq requirement() const;
  [[nodiscard]] const std::string* named_tag() const { return std::get_if<std::string>(&tag); }
  /// Whether a package called `id` answers this ident: same full name, and the tag's requirement holds (a named tag
  /// must equal the printed version).
  [[nodiscard]] bool matches(const NamedId& id) const;
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const NamedIdent&, const NamedIdent&) = default;
};

/// What a user or a manifest asks for: a name, a hash, a URL or a path.
class PackageSource {
 public:
  struct Url {
    std::string text;
    friend bool operator==(const Url&, const Url&) = default;
  };
  struct Path {
    std::string text;
    friend bool operator==(const Path&, const Path&) = default;
  };

  PackageSource(NamedIdent ident) : value_(std::move(ident)) {}  // NOLINT(google-explicit-constructor)
  PackageSource(PackageHash hash) : value_(std::move(hash)) {}   // NOLINT(google-explicit-constructor)
  PackageSource(Url url) : value_(std::move(url)) {}             // NOLINT(google-explicit-constructor)
  PackageSource(Path path) : value_(std::move(path)) {}          // NOLINT(google-explicit-constructor)

  /// Parses a specifier (docs/rules/resolution.md, 1.2 and 1.4: `file:` URLs are paths, malformed
  /// `sha256:` digests and dangerous names are refused). Throws Error(kUsage) `could not parse value as package
  /// identifier: {message} (value: '{value}')`.
  [[nodiscard]] static PackageSource parse(std::string_view text);

  [[nodiscard]] const NamedIdent* named() const { return std::get_if<NamedIdent>(&value_); }
  [[nodiscard]] const PackageHash* hash() const { return std::get_if<PackageHash>(&value_); }
  [[nodiscard]] const Url* url() const { return std::get_if<Url>(&value_); }
  [[nodiscard]] const Path* path() const { return std::get_if<Path>(&value_); }
  /// Prints back what was parsed, in normal form (`ns/name@1.2` becomes `ns/name@^1.2`).
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const PackageSource&, const PackageSource&) = default;

 private:
  std::variant<NamedIdent, PackageHash, Url, Path> value_;
};

}  // namespace pkgfs
