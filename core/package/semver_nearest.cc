// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/package/semver.h"

namespace pkgfs {
namespace {

constexpr std::string_view kOperators = "=<>~^!";
constexpr std::string_view kSeparators = " \t,;&";

bool is_version_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '*' ||
         c == '-' || c == '+';
}

/// Removes the characters for which `condition` holds from the start of `rest` and returns them.
template <typename Condition>
std::string_view take_while(std::string_view& rest, Condition condition) {
  const auto* const end = std::find_if_not(rest.begin(), rest.end(), condition);
  const std::string_view taken = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
  rest.remove_prefix(taken.size());
  return taken;
}

/// The operator that a run of operator characters stands for: `^` for `^^`, `>=` for `=>`. Nothing for `!=` and `<>`.
std::optional<std::string> operator_for(std::string_view run) {
  const auto has = [&](char c) { return run.find(c) != std::string_view::npos; };
  if (has('!') || (has('<') && has('>'))) {
    return std::nullopt;
  }
  for (const char c : {'~', '^'}) {
    if (has(c)) {
      return std::string(1, c);
    }
  }
  for (const char c : {'>', '<'}) {
    if (has(c)) {
      return std::string(1, c) + (has('=') ? "=" : "");
    }
  }
  return run.empty() ? "" : "=";
}

}  // namespace

std::optional<std::string> VersionReq::nearest(std::string_view text) {
  const auto is_separator = [](char c) { return kSeparators.find(c) != std::string_view::npos; };
  const auto is_operator = [](char c) { return kOperators.find(c) != std::string_view::npos; };
  std::string_view rest = text;
  std::vector<std::string> parts;
  bool is_range = false;  // a hyphen stands before this version: `1 - 2`
  while (true) {
    take_while(rest, is_separator);
    if (rest.empty()) {
      break;
    }
    const auto op = operator_for(take_while(rest, is_operator));
    take_while(rest, [](char c) { return c == ' '; });
    const std::string_view written = take_while(rest, is_version_char);
    if (!op || written.empty()) {
      return std::nullopt;
    }
    if (written == "-") {
      if (is_range || parts.size() != 1 || !op->empty()) {
        return std::nullopt;
      }
      is_range = true;
      continue;
    }
    const bool has_v = written.size() > 1 && (written.front() == 'v' || written.front() == 'V');
    parts.push_back(*op + std::string(written.substr(has_v ? 1 : 0)));
  }
  if (is_range) {
    if (parts.size() != 2) {
      return std::nullopt;
    }
    parts.front().insert(0, ">=");
    parts.back().insert(0, "<=");
  }
  std::string joined;
  for (const std::string& part : parts) {
    joined += (joined.empty() ? "" : ", ") + part;
  }
  return try_parse(joined) ? std::optional(joined) : std::nullopt;
}

}  // namespace pkgfs
