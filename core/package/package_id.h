// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/base/hash.h"
#include "core/package/semver.h"

namespace pkgfs {

/// A package's content hash, possibly computed only when somebody looks at it: the id of an unnamed container is the
/// SHA-256 of the whole file, and mounting it needs no more than knowing that it has one. Copies share the result.
class PackageHash {
 public:
  explicit PackageHash(const Sha256& digest);
  /// `compute` is called at most once, on first use, from any thread; what it throws reaches that caller.
  explicit PackageHash(std::function<Sha256()> compute);

  [[nodiscard]] const Sha256& digest() const;
  /// `sha256:` + 64 lower-case hex digits.
  [[nodiscard]] std::string to_string() const;
  /// From `sha256:` (case-sensitive) + 64 hex digits of either case.
  [[nodiscard]] static std::optional<PackageHash> parse(std::string_view text);

  friend bool operator==(const PackageHash& a, const PackageHash& b) {
    return a.state_ == b.state_ || a.digest() == b.digest();
  }
  friend std::strong_ordering operator<=>(const PackageHash& a, const PackageHash& b) {
    return a.state_ == b.state_ ? std::strong_ordering::equal : a.digest() <=> b.digest();
  }

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The id of a package with a name and a version.
struct NamedId {
  std::string full_name;  // `namespace/name`, or `name`
  Version version;
  friend bool operator==(const NamedId&, const NamedId&) = default;
  friend std::strong_ordering operator<=>(const NamedId&, const NamedId&) = default;
};

/// What a package *is*. Order: every hash before every name (docs/rules/resolution.md, 1.1).
class PackageId {
 public:
  PackageId(PackageHash hash) : value_(std::move(hash)) {}  // NOLINT(google-explicit-constructor)
  PackageId(NamedId named) : value_(std::move(named)) {}    // NOLINT(google-explicit-constructor)

  [[nodiscard]] const NamedId* named() const { return std::get_if<NamedId>(&value_); }
  [[nodiscard]] const PackageHash* hash() const { return std::get_if<PackageHash>(&value_); }
  /// `full_name@version` or `sha256:…`.
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const PackageId&, const PackageId&) = default;
  friend std::strong_ordering operator<=>(const PackageId&, const PackageId&) = default;

 private:
  std::variant<PackageHash, NamedId> value_;
};

}  // namespace pkgfs
