// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace pkgfs {

/// A semantic version, with the semantics of Cargo's `semver` 1.x (docs/rules/resolution.md, 2).
struct Version {
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  std::uint64_t patch = 0;
  std::string pre;    // without the "-"
  std::string build;  // without the "+"

  /// Throws Error(kUsage) with the reference's text, e.g. `unexpected character 'o' while parsing major version
  /// number`.
  [[nodiscard]] static Version parse(std::string_view text);
  [[nodiscard]] static std::optional<Version> try_parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;

  /// Total order: precedence, then build metadata (docs/rules/resolution.md, 2.3).
  friend std::strong_ordering operator<=>(const Version& a, const Version& b);
  friend bool operator==(const Version& a, const Version& b);
};

/// The order by precedence only, which ignores build metadata.
[[nodiscard]] std::strong_ordering compare_precedence(const Version& a, const Version& b);

/// A version requirement: a list of comparators that must all hold; empty is `*`.
class VersionReq {
 public:
  enum class Op { kExact, kGreater, kGreaterEq, kLess, kLessEq, kTilde, kCaret, kWildcard };
  struct Comparator {
    Op op = Op::kCaret;
    std::uint64_t major = 0;
    std::optional<std::uint64_t> minor;
    std::optional<std::uint64_t> patch;
    std::string pre;
    friend bool operator==(const Comparator&, const Comparator&) = default;
  };

  /// The requirement `*`.
  VersionReq() = default;
  explicit VersionReq(std::vector<Comparator> comparators) : comparators_(std::move(comparators)) {}

  /// Why a text is no requirement.
  struct Fault {
    std::size_t at = 0;  // the first byte that doesn't fit
    std::string reason;  // the reference's text
  };

  /// Throws Error(kUsage) with the reference's text. A requirement has no build metadata: the parser drops it. If
  /// `build` is given, it gets the first build metadata that was dropped, without the "+".
  [[nodiscard]] static VersionReq parse(std::string_view text, std::string* build = nullptr);
  [[nodiscard]] static std::optional<VersionReq> try_parse(std::string_view text, std::string* build = nullptr,
                                                           Fault* fault = nullptr);
  /// The requirement that a user probably meant by `text`, which is none: `^1` for `^^1`, `>1, <2` for `>1 <2`.
  [[nodiscard]] static std::optional<std::string> nearest(std::string_view text);
  /// `=x.y.z-pre`.
  [[nodiscard]] static VersionReq exactly(const Version& version);

  [[nodiscard]] bool matches(const Version& version) const;
  [[nodiscard]] std::string to_string() const;
  /// Whether it names one version: `=x.y.z` or `=x.y.z-pre`.
  [[nodiscard]] bool is_exact() const;
  [[nodiscard]] const std::vector<Comparator>& comparators() const { return comparators_; }
  friend bool operator==(const VersionReq&, const VersionReq&) = default;

 private:
  std::vector<Comparator> comparators_;
};

}  // namespace pkgfs
