// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <ostream>
#include <string_view>

#include "core/base/message.h"

namespace pkgfs {

/// Writes text for people to standard output. A text that isn't a literal is made printable (printable.h), so that no
/// call can forget it: names, paths and ids come from packages, and one that could print a line of its own could speak
/// in the name of pkgfs. Tables, lists and trees are written with it; tests/unit/output_test.cc allows no other way.
class TextWriter {
 public:
  /// `out` must outlive this.
  explicit TextWriter(std::ostream& out) : out_(out) {}

  /// A literal, as it is.
  TextWriter& operator<<(const char* literal) {
    out_ << literal;
    return *this;
  }
  TextWriter& operator<<(char literal) {
    out_ << literal;
    return *this;
  }
  TextWriter& operator<<(std::string_view text) {
    out_ << printable(text);
    return *this;
  }
  template <std::integral Number>
  TextWriter& operator<<(Number number) {
    out_ << number;
    return *this;
  }
  /// A format with its arguments (message.h).
  template <typename... Args>
  void print(MessageFormat<Args...> format, const Args&... args) {
    out_ << format_message<Args...>(format, args...);
  }
  /// A text whose line breaks are meant, because its parts are printable.
  void print_lines(std::string_view text) { out_ << printable(text, true); }

  [[nodiscard]] bool fail() const { return out_.fail(); }

 private:
  std::ostream& out_;
};

}  // namespace pkgfs
