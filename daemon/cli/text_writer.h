// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <ostream>
#include <string_view>

#include "core/base/message.h"

namespace pkgfs {

/// Writes text for people to standard output. It makes every text printable (printable.h) that isn't a literal, so that
/// no caller can forget that. Names, paths and ids come from packages. A name with a line end in it could write a line
/// that looks like one of pkgfs. Tables, lists and trees are written with this class. tests/unit/output_test.cc allows
/// no other way.
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
  /// A text of several lines: its line ends are kept, and all else is made printable. The parts of the text must be
  /// printable already.
  void print_lines(std::string_view text) { out_ << printable(text, true); }

  [[nodiscard]] bool fail() const { return out_.fail(); }

 private:
  std::ostream& out_;
};

}  // namespace pkgfs
