// SPDX-License-Identifier: MIT
#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

#include "core/base/utf8.h"
#include "core/package/digits.h"
#include "core/package/semver.h"

namespace pkgfs {
namespace {

constexpr std::size_t kMaxComparators = 32;  // the reference's limit

constexpr std::string_view kMajor = "major version number";
constexpr std::string_view kMinor = "minor version number";
constexpr std::string_view kPatch = "patch version number";
constexpr std::string_view kPre = "pre-release identifier";
constexpr std::string_view kBuild = "build metadata";

[[noreturn]] void reject_version(std::string message) { throw Error(ErrorCode::kUsage, std::move(message)); }

std::string concat(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) {
    text += part;
  }
  return text;
}

bool is_identifier(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'; }

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
  while (first >= 0x80 && length < 4 && length < text.size() && continues_character(text[length])) {
    ++length;
  }
  return concat({"'", text.substr(0, length), "'"});
}

/// Reads a version or a requirement from the left. Every method removes what it has read from `rest`.
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
        reject_version(concat({"invalid leading zero in ", position}));
      }
      const auto digit = static_cast<std::uint64_t>(rest[length] - '0');
      constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
      if (value > kMax / 10 || value * 10 > kMax - digit) {
        reject_version(concat({"value of ", position, " exceeds u64::MAX"}));
      }
      value = value * 10 + digit;
    }
    if (length == 0) {
      if (rest.empty()) {
        reject_version(concat({"unexpected end of input while parsing ", position}));
      }
      reject_version(concat({"unexpected character ", quoted_char(rest), " while parsing ", position}));
    }
    rest.remove_prefix(length);
    return value;
  }

  void dot(std::string_view position) {
    if (take('.')) {
      return;
    }
    if (rest.empty()) {
      reject_version(concat({"unexpected end of input while parsing ", position}));
    }
    reject_version(concat({"unexpected character ", quoted_char(rest), " after ", position}));
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
        reject_version(concat({"empty identifier segment in ", position}));
      }
      if (!leading_zeros && segment.size() > 1 && segment.front() == '0' && all_digits(segment)) {
        reject_version(concat({"invalid leading zero in ", position}));
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

/// Reads one comparator. Sets `position`, the part that an error in the text behind it names, and `build` if it is
/// empty and the comparator has build metadata.
VersionReq::Comparator take_comparator(Scanner& in, std::string_view& position, std::string& build) {
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
        reject_version("unexpected character after wildcard in version req");
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
    std::string dropped = in.identifiers(position, true);
    if (build.empty()) {
      build = std::move(dropped);
    }
  }
  in.skip_blanks();
  return result;
}

[[noreturn]] void reject_wildcard(char c) {
  reject_version(
      concat({"wildcard req (", std::string_view(&c, 1), ") must be the only comparator in the version req"}));
}

}  // namespace

Version Version::parse(std::string_view text) {
  if (text.empty()) {
    reject_version("empty string, expected a semver version");
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
    reject_version(concat({"unexpected character ", quoted_char(in.rest), " after ", position}));
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

namespace {

/// Reads a requirement up to its end. If it throws, `in` is where the fault is.
VersionReq take_requirement(Scanner& in, std::string* build) {
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
    reject_version("unexpected character after wildcard in version req");
  }
  std::vector<VersionReq::Comparator> comparators;
  std::string dropped;
  while (true) {
    Scanner ahead = in;
    if (ahead.take_wildcard()) {
      ahead.skip_blanks();
      if (ahead.rest.empty() || ahead.rest.starts_with(',')) {
        reject_wildcard(in.rest.front());
      }
    }
    std::string_view position;
    comparators.push_back(take_comparator(in, position, dropped));
    if (in.rest.empty()) {
      break;
    }
    if (!in.take(',')) {
      reject_version(concat({"expected comma after ", position, ", found ", quoted_char(in.rest)}));
    }
    in.skip_blanks();
    if (comparators.size() == kMaxComparators) {
      reject_version("excessive number of version comparators");
    }
  }
  if (build != nullptr && !dropped.empty()) {
    *build = std::move(dropped);
  }
  return VersionReq(std::move(comparators));
}

}  // namespace

VersionReq VersionReq::parse(std::string_view text, std::string* build) {
  Scanner in{text};
  return take_requirement(in, build);
}

std::optional<VersionReq> VersionReq::try_parse(std::string_view text, std::string* build, Fault* fault) {
  Scanner in{text};
  try {
    return take_requirement(in, build);
  } catch (const Error& error) {
    if (fault != nullptr) {
      *fault = {text.size() - in.rest.size(), error.message()};
    }
    return std::nullopt;
  }
}

}  // namespace pkgfs
