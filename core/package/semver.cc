// SPDX-License-Identifier: MIT
#include "core/package/semver.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace pkgfs {
namespace {

constexpr std::size_t kMaxComparators = 32;  // the reference's limit

constexpr std::string_view kMajor = "major version number";
constexpr std::string_view kMinor = "minor version number";
constexpr std::string_view kPatch = "patch version number";
constexpr std::string_view kPre = "pre-release identifier";
constexpr std::string_view kBuild = "build metadata";

[[noreturn]] void reject(std::string message) { throw Error(ErrorCode::kUsage, std::move(message)); }

std::string concat(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) {
    text += part;
  }
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_identifier(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'; }

bool all_digits(std::string_view text) { return std::all_of(text.begin(), text.end(), is_digit); }

/// The first character of `text` (all bytes of a UTF-8 sequence) in single quotes, escaped as Rust's `{:?}` does.
std::string quoted_char(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  switch (first) {
    case '\0':
      return R"('\0')";
    case '\t':
      return R"('\t')";
    case '\n':
      return R"('\n')";
    case '\r':
      return R"('\r')";
    case '\'':
      return R"('\'')";
    case '\\':
      return R"('\\')";
    default:
      break;
  }
  if (first < 0x20 || first == 0x7f) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string escaped = "'\\u{";
    if (first >= 0x10) {
      escaped += kHex[first >> 4U];
    }
    escaped += kHex[first & 0xfU];
    return escaped + "}'";
  }
  std::size_t length = 1;
  while (first >= 0x80 && length < 4 && length < text.size() &&
         (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80U) {
    ++length;
  }
  return concat({"'", text.substr(0, length), "'"});
}

/// Reads a version or a requirement from the left. Every method leaves `rest` after what it took.
struct Scanner {
  std::string_view rest;

  bool take(char c) {
    if (!rest.starts_with(c)) {
      return false;
    }
    rest.remove_prefix(1);
    return true;
  }

  void skip_blanks() { rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size())); }

  bool take_wildcard() { return take('*') || take('x') || take('X'); }

  std::uint64_t number(std::string_view position) {
    std::uint64_t value = 0;
    std::size_t length = 0;
    for (; length < rest.size() && is_digit(rest[length]); ++length) {
      if (value == 0 && length > 0) {
        reject(concat({"invalid leading zero in ", position}));
      }
      const auto digit = static_cast<std::uint64_t>(rest[length] - '0');
      constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
      if (value > kMax / 10 || value * 10 > kMax - digit) {
        reject(concat({"value of ", position, " exceeds u64::MAX"}));
      }
      value = value * 10 + digit;
    }
    if (length == 0) {
      if (rest.empty()) {
        reject(concat({"unexpected end of input while parsing ", position}));
      }
      reject(concat({"unexpected character ", quoted_char(rest), " while parsing ", position}));
    }
    rest.remove_prefix(length);
    return value;
  }

  void dot(std::string_view position) {
    if (take('.')) {
      return;
    }
    if (rest.empty()) {
      reject(concat({"unexpected end of input while parsing ", position}));
    }
    reject(concat({"unexpected character ", quoted_char(rest), " after ", position}));
  }

  /// Dot-separated identifiers after a `-` or `+`.
  std::string identifiers(std::string_view position, bool leading_zeros) {
    std::size_t start = 0;
    while (true) {
      std::size_t end = start;
      while (end < rest.size() && is_identifier(rest[end])) {
        ++end;
      }
      const std::string_view segment = rest.substr(start, end - start);
      if (segment.empty()) {
        reject(concat({"empty identifier segment in ", position}));
      }
      if (!leading_zeros && segment.size() > 1 && segment.front() == '0' && all_digits(segment)) {
        reject(concat({"invalid leading zero in ", position}));
      }
      if (end == rest.size() || rest[end] != '.') {
        std::string text(rest.substr(0, end));
        rest.remove_prefix(end);
        return text;
      }
      start = end + 1;
    }
  }
};

VersionReq::Op take_operator(Scanner& in, bool& written) {
  using Op = VersionReq::Op;
  written = true;
  if (in.take('=')) {
    return Op::kExact;
  }
  if (in.take('>')) {
    return in.take('=') ? Op::kGreaterEq : Op::kGreater;
  }
  if (in.take('<')) {
    return in.take('=') ? Op::kLessEq : Op::kLess;
  }
  if (in.take('~')) {
    return Op::kTilde;
  }
  written = in.take('^');
  return Op::kCaret;
}

/// One comparator; `position` is what an error about the text behind it names.
VersionReq::Comparator take_comparator(Scanner& in, std::string_view& position, bool& had_build) {
  VersionReq::Comparator result;
  bool written = false;
  result.op = take_operator(in, written);
  in.skip_blanks();
  position = kMajor;
  result.major = in.number(position);
  bool wildcard = false;
  if (in.take('.')) {
    position = kMinor;
    if (in.take_wildcard()) {
      wildcard = true;
    } else {
      result.minor = in.number(position);
    }
    if (in.take('.')) {
      position = kPatch;
      if (in.take_wildcard()) {
        wildcard = true;
      } else if (wildcard) {
        reject("unexpected character after wildcard in version req");
      } else {
        result.patch = in.number(position);
      }
    }
  }
  if (wildcard && !written) {
    result.op = VersionReq::Op::kWildcard;
  }
  if (result.patch && in.take('-')) {
    position = kPre;
    result.pre = in.identifiers(position, false);
  }
  if (result.patch && in.take('+')) {
    position = kBuild;
    (void)in.identifiers(position, true);
    had_build = true;
  }
  in.skip_blanks();
  return result;
}

[[noreturn]] void reject_wildcard(char c) {
  reject(concat({"wildcard req (", std::string_view(&c, 1), ") must be the only comparator in the version req"}));
}

/// Cuts the part before the next dot off `rest`; nothing is left after the last one.
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

/// Digit strings by value, without a bound on their length; equal values by length (`0 < 00 < 1 < 01`).
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

/// Dot-separated identifiers, left to right; numbers below words, a shorter list below its extension.
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

/// The order of `have` against the written parts of `want`; nothing if they are equal and a part is missing.
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

/// Whether `want` names the very release that the pre-release `have` leads to, with a pre-release of its own.
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

Version Version::parse(std::string_view text) {
  if (text.empty()) {
    reject("empty string, expected a semver version");
  }
  Scanner in{text};
  Version version;
  version.major = in.number(kMajor);
  in.dot(kMajor);
  version.minor = in.number(kMinor);
  in.dot(kMinor);
  version.patch = in.number(kPatch);
  std::string_view position = kPatch;
  if (in.take('-')) {
    position = kPre;
    version.pre = in.identifiers(position, false);
  }
  if (in.take('+')) {
    position = kBuild;
    version.build = in.identifiers(position, true);
  }
  if (!in.rest.empty()) {
    reject(concat({"unexpected character ", quoted_char(in.rest), " after ", position}));
  }
  return version;
}

std::optional<Version> Version::try_parse(std::string_view text) {
  try {
    return parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

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

VersionReq VersionReq::parse(std::string_view text, bool* had_build) {
  Scanner in{text};
  in.skip_blanks();
  const std::string_view start = in.rest;
  if (in.take_wildcard()) {
    in.skip_blanks();
    if (in.rest.empty()) {
      return {};
    }
    if (in.rest.starts_with(',')) {
      reject_wildcard(start.front());
    }
    reject("unexpected character after wildcard in version req");
  }
  std::vector<Comparator> comparators;
  bool build = false;
  while (true) {
    Scanner ahead = in;
    if (ahead.take_wildcard()) {
      ahead.skip_blanks();
      if (ahead.rest.empty() || ahead.rest.starts_with(',')) {
        reject_wildcard(in.rest.front());
      }
    }
    std::string_view position;
    comparators.push_back(take_comparator(in, position, build));
    if (in.rest.empty()) {
      break;
    }
    if (!in.take(',')) {
      reject(concat({"expected comma after ", position, ", found ", quoted_char(in.rest)}));
    }
    in.skip_blanks();
    if (comparators.size() == kMaxComparators) {
      reject("excessive number of version comparators");
    }
  }
  if (had_build != nullptr && build) {
    *had_build = true;
  }
  return VersionReq(std::move(comparators));
}

std::optional<VersionReq> VersionReq::try_parse(std::string_view text, bool* had_build) {
  try {
    return parse(text, had_build);
  } catch (const Error&) {
    return std::nullopt;
  }
}

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
