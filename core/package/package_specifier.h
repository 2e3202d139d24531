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
  /// The build metadata of the requirement, without the "+"; the first one if several comparators have some
  /// (docs/rules/resolution.md, 2.5).
  std::string build = {};

  [[nodiscard]] std::string full_name() const;
  /// The requirement; `*` without a tag or with a named one (docs/rules/resolution.md, 2.4).
  [[nodiscard]] VersionReq requirement() const;
  [[nodiscard]] const std::string* named_tag() const { return std::get_if<std::string>(&tag); }
  /// The one build that `=x.y.z+build` asks for; nothing for any other tag.
  [[nodiscard]] std::optional<Version> wanted_build() const;
  /// Whether the package `id` satisfies this ident: same full name, and the tag's requirement holds. Unlike in
  /// `requirement`, a named tag isn't `*` here: it must equal the printed version.
  [[nodiscard]] bool matches(const NamedId& id) const;
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const NamedIdent&, const NamedIdent&) = default;
};

/// A request for a package, by a user or a manifest: a name, a hash, a URL or a path. An immutable value.
/// The reference calls it PackageSource.
class PackageSpecifier {
 public:
  struct Url {
    std::string text;
    friend bool operator==(const Url&, const Url&) = default;
  };
  struct Path {
    std::string text;
    friend bool operator==(const Path&, const Path&) = default;
  };

  PackageSpecifier(NamedIdent ident) : value_(std::move(ident)) {}  // NOLINT(google-explicit-constructor)
  PackageSpecifier(PackageHash hash) : value_(std::move(hash)) {}   // NOLINT(google-explicit-constructor)
  PackageSpecifier(Url url) : value_(std::move(url)) {}             // NOLINT(google-explicit-constructor)
  PackageSpecifier(Path path) : value_(std::move(path)) {}          // NOLINT(google-explicit-constructor)

  /// Parses a specifier (docs/rules/resolution.md, 1.2 and 1.4). A `file:` URL gives a path. Refuses malformed
  /// `sha256:` digests, dangerous names, and tags that are neither a version requirement nor a word. Throws
  /// Error(kUsage) `could not parse value as package identifier: {message} (value: '{value}')`.
  [[nodiscard]] static PackageSpecifier parse(std::string_view text);

  [[nodiscard]] const NamedIdent* named() const { return std::get_if<NamedIdent>(&value_); }
  [[nodiscard]] const PackageHash* hash() const { return std::get_if<PackageHash>(&value_); }
  [[nodiscard]] const Url* url() const { return std::get_if<Url>(&value_); }
  [[nodiscard]] const Path* path() const { return std::get_if<Path>(&value_); }
  /// The specifier in normal form: `ns/name@1.2` becomes `ns/name@^1.2`.
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const PackageSpecifier&, const PackageSpecifier&) = default;

 private:
  std::variant<NamedIdent, PackageHash, Url, Path> value_;
};

}  // namespace pkgfs
