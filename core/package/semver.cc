// SPDX-License-Identifier: MIT
#include "core/package/semver.h"

#include <algorithm>

#include "core/package/digits.h"

namespace pkgfs {
namespace {

/// Removes the part before the next dot from `rest` and returns it.
std::optional<std::string_view> next_identifier(std::optional<std::string_view>& rest) {
  if (!rest) {
    return std::nullopt;
  }
  const std::size_t dot = rest->find('.');
  const std::string_view head = rest->substr(0, dot);
  if (dot == std::string_view::npos) {
    rest.reset();
  } else {
    rest->remove_prefix(dot + 1);
  }
  return head;
}

std::strong_ordering compare_text(std::string_view a, std::string_view b) { return a.compare(b) <=> 0; }

/// Compares digit strings of any length by value; equal values by length (`0 < 00 < 1 < 01`).
std::strong_ordering compare_digits(std::string_view a, std::string_view b) {
  const std::string_view a_value = a.substr(std::min(a.find_first_not_of('0'), a.size()));
  const std::string_view b_value = b.substr(std::min(b.find_first_not_of('0'), b.size()));
  if (a_value.size() != b_value.size()) {
    return a_value.size() <=> b_value.size();
  }
  if (const auto order = compare_text(a_value, b_value); order != 0) {
    return order;
  }
  return a.size() <=> b.size();
}

/// Compares dot-separated identifiers from left to right: numbers below words, a shorter list below its extension.
std::strong_ordering compare_identifiers(std::string_view a, std::string_view b) {
  std::optional<std::string_view> a_rest = a;
  std::optional<std::string_view> b_rest = b;
  while (true) {
    const std::optional<std::string_view> left = next_identifier(a_rest);
    const std::optional<std::string_view> right = next_identifier(b_rest);
    if (!left || !right) {
      return left.has_value() <=> right.has_value();
    }
    const bool left_number = all_digits(*left);
    const bool right_number = all_digits(*right);
    if (left_number != right_number) {
      return left_number ? std::strong_ordering::less : std::strong_ordering::greater;
    }
    const auto order = left_number ? compare_digits(*left, *right) : compare_text(*left, *right);
    if (order != 0) {
      return order;
    }
  }
}

std::strong_ordering compare_pre(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) {
    return a.empty() <=> b.empty();  // a release is above its pre-releases
  }
  return compare_identifiers(a, b);
}

using Comparator = VersionReq::Comparator;

bool matches_exact(const Comparator& want, const Version& have) {
  return have.major == want.major && (!want.minor || have.minor == *want.minor) &&
         (!want.patch || have.patch == *want.patch) && have.pre == want.pre;
}

/// The order of `have` relative to the parts that `want` gives; nothing if they are equal and `want` lacks a part.
std::optional<std::strong_ordering> compare_written(const Comparator& want, const Version& have) {
  if (have.major != want.major) {
    return have.major <=> want.major;
  }
  if (!want.minor) {
    return std::nullopt;
  }
  if (have.minor != *want.minor) {
    return have.minor <=> *want.minor;
  }
  if (!want.patch) {
    return std::nullopt;
  }
  if (have.patch != *want.patch) {
    return have.patch <=> *want.patch;
  }
  return compare_pre(have.pre, want.pre);
}

bool matches_tilde(const Comparator& want, const Version& have) {
  if (have.major != want.major || (want.minor && have.minor != *want.minor)) {
    return false;
  }
  if (want.patch && have.patch != *want.patch) {
    return have.patch > *want.patch;
  }
  return compare_pre(have.pre, want.pre) >= 0;
}

bool matches_caret(const Comparator& want, const Version& have) {
  if (have.major != want.major) {
    return false;
  }
  if (!want.minor) {
    return true;
  }
  if (!want.patch) {
    return want.major > 0 ? have.minor >= *want.minor : have.minor == *want.minor;
  }
  if (have.minor != *want.minor) {
    return want.major > 0 && have.minor > *want.minor;
  }
  if (have.patch != *want.patch) {
    return (want.major > 0 || *want.minor > 0) && have.patch > *want.patch;
  }
  return compare_pre(have.pre, want.pre) >= 0;
}

bool matches_comparator(const Comparator& want, const Version& have) {
  using Op = VersionReq::Op;
  switch (want.op) {
    case Op::kExact:
    case Op::kWildcard:
      return matches_exact(want, have);
    case Op::kGreater:
    case Op::kGreaterEq: {
      const auto order = compare_written(want, have);
      return (order && *order > 0) || (want.op == Op::kGreaterEq && matches_exact(want, have));
    }
    case Op::kLess:
    case Op::kLessEq: {
      const auto order = compare_written(want, have);
      return (order && *order < 0) || (want.op == Op::kLessEq && matches_exact(want, have));
    }
    case Op::kTilde:
      return matches_tilde(want, have);
    case Op::kCaret:
      return matches_caret(want, have);
  }
  return false;
}

/// Whether `want` admits the pre-release `have`: only a comparator with a pre-release and the same major, minor and
/// patch does (`>=1.2.3-beta` admits `1.2.3-rc`, but not `1.2.4-rc`).
bool allows_pre(const Comparator& want, const Version& have) {
  return want.major == have.major && want.minor == have.minor && want.patch == have.patch && !want.pre.empty();
}

std::string_view operator_text(VersionReq::Op op) {
  using Op = VersionReq::Op;
  switch (op) {
    case Op::kExact:
      return "=";
    case Op::kGreater:
      return ">";
    case Op::kGreaterEq:
      return ">=";
    case Op::kLess:
      return "<";
    case Op::kLessEq:
      return "<=";
    case Op::kTilde:
      return "~";
    case Op::kCaret:
      return "^";
    case Op::kWildcard:
      return "";
  }
  return "";
}

void append_comparator(std::string& text, const Comparator& value) {
  text += operator_text(value.op);
  text += std::to_string(value.major);
  const bool wildcard = value.op == VersionReq::Op::kWildcard;
  if (!value.minor) {
    text += wildcard ? ".*" : "";
    return;
  }
  text += "." + std::to_string(*value.minor);
  if (!value.patch) {
    text += wildcard ? ".*" : "";
    return;
  }
  text += "." + std::to_string(*value.patch);
  if (!value.pre.empty()) {
    text += "-" + value.pre;
  }
}

}  // namespace

std::string Version::to_string() const {
  std::string text = std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
  if (!pre.empty()) {
    text += "-" + pre;
  }
  if (!build.empty()) {
    text += "+" + build;
  }
  return text;
}

std::strong_ordering compare_precedence(const Version& a, const Version& b) {
  if (const auto order = a.major <=> b.major; order != 0) {
    return order;
  }
  if (const auto order = a.minor <=> b.minor; order != 0) {
    return order;
  }
  if (const auto order = a.patch <=> b.patch; order != 0) {
    return order;
  }
  return compare_pre(a.pre, b.pre);
}

std::strong_ordering operator<=>(const Version& a, const Version& b) {
  const auto order = compare_precedence(a, b);
  return order != 0 ? order : compare_identifiers(a.build, b.build);
}

bool operator==(const Version& a, const Version& b) { return (a <=> b) == 0; }

VersionReq VersionReq::exactly(const Version& version) {
  return VersionReq({Comparator{Op::kExact, version.major, version.minor, version.patch, version.pre}});
}

bool VersionReq::matches(const Version& version) const {
  const auto holds = [&](const Comparator& want) { return matches_comparator(want, version); };
  if (!std::all_of(comparators_.begin(), comparators_.end(), holds)) {
    return false;
  }
  return version.pre.empty() || std::any_of(comparators_.begin(), comparators_.end(),
                                            [&](const Comparator& want) { return allows_pre(want, version); });
}

bool VersionReq::is_exact() const {
  return comparators_.size() == 1 && comparators_.front().op == Op::kExact && comparators_.front().patch.has_value();
}

std::string VersionReq::to_string() const {
  if (comparators_.empty()) {
    return "*";
  }
  std::string text;
  for (const Comparator& comparator : comparators_) {
    text += text.empty() ? "" : ", ";
    append_comparator(text, comparator);
  }
  return text;
}

}  // namespace pkgfs
