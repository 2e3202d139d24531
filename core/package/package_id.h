// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/base/hash.h"
#include "core/package/semver.h"

namespace pkgfs {

/// The content hash of a package. It is computed on first use, if it isn't known yet. An unnamed container has the
/// SHA-256 of its whole file as its id, which most mounts never need. Copies share the result. Thread-safe.
class PackageHash {
 public:
  explicit PackageHash(const Sha256& digest);
  /// The first use calls `compute`, on any thread. After `compute` has returned, it isn't called again. If it throws,
  /// the caller gets the exception, and the next use calls `compute` again.
  explicit PackageHash(std::function<Sha256()> compute);

  [[nodiscard]] const Sha256& digest() const;
  /// The digest, if it is known already.
  [[nodiscard]] std::optional<Sha256> known() const;
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

/// The identity of a package. Order: every hash before every name (docs/rules/resolution.md, 1.1).
class PackageId {
 public:
  PackageId(PackageHash hash) : value_(std::move(hash)) {}  // NOLINT(google-explicit-constructor)
  PackageId(NamedId named) : value_(std::move(named)) {}    // NOLINT(google-explicit-constructor)

  [[nodiscard]] const NamedId* named() const { return std::get_if<NamedId>(&value_); }
  [[nodiscard]] const PackageHash* hash() const { return std::get_if<PackageHash>(&value_); }
  /// `full_name@version` or `sha256:…`.
  [[nodiscard]] std::string to_string() const;
  /// Parses what `to_string` writes.
  [[nodiscard]] static std::optional<PackageId> parse(std::string_view text);

  friend bool operator==(const PackageId&, const PackageId&) = default;
  friend std::strong_ordering operator<=>(const PackageId&, const PackageId&) = default;

 private:
  std::variant<PackageHash, NamedId> value_;
};

}  // namespace pkgfs
