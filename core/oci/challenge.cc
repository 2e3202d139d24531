// SPDX-License-Identifier: MIT
#include "core/oci/challenge.h"

#include "core/base/ascii.h"

namespace pkgfs::oci {
namespace {

/// Reads a header from left to right.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] std::size_t place() const { return at_; }
  void go_to(std::size_t place) { at_ = place; }

  void skip_blanks() {
    while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\t')) {
      ++at_;
    }
  }
  bool take(char c) {
    if (at_end() || text_[at_] != c) {
      return false;
    }
    ++at_;
    return true;
  }
  /// A token of RFC 9110, 5.6.2; empty if there is none.
  std::string token() {
    constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
    const std::size_t begin = at_;
    const auto is_part = [&](char c) {
      const char small = to_lower(c);
      return (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || kOthers.find(c) != std::string_view::npos;
    };
    while (!at_end() && is_part(text_[at_])) {
      ++at_;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }
  /// A token or a quoted string; nothing for a string without an end.
  std::optional<std::string> value() {
    if (!take('"')) {
      return token();
    }
    std::string value;
    while (!at_end()) {
      const char c = text_[at_++];
      if (c == '"') {
        return value;
      }
      if (c == '\\' && !at_end()) {
        value += text_[at_++];
      } else {
        value += c;
      }
    }
    return std::nullopt;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string Challenge::parameter(const std::string& name) const {
  const auto found = parameters.find(name);
  return found == parameters.end() ? std::string() : found->second;
}

std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> challenges;
  Scanner scanner(header);
  while (true) {
    scanner.skip_blanks();
    while (scanner.take(',')) {
      scanner.skip_blanks();
    }
    const std::size_t begin = scanner.place();
    std::string word = to_lower(scanner.token());
    if (word.empty()) {
      return challenges;
    }
    scanner.skip_blanks();
    if (!scanner.take('=')) {
      challenges.push_back({.scheme = std::move(word), .parameters = {}});
      continue;
    }
    scanner.skip_blanks();
    std::optional<std::string> value = scanner.value();
    if (!value || challenges.empty() || scanner.place() == begin) {
      return challenges;
    }
    challenges.back().parameters.emplace(std::move(word), *std::move(value));
  }
}

}  // namespace pkgfs::oci
