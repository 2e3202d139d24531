// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string_view>

namespace pkgfs {

/// What a command does about entries that can't be read: says so at once, goes on with the others, fails at the end.
class Damage {
 public:
  explicit Damage(std::ostream& err) : err_(err) {}
  /// `error`: an errno number.
  void report(std::string_view path, int error);
  /// Of the first failure; 0 if there was none.
  [[nodiscard]] int exit_code() const;

 private:
  std::ostream& err_;
  int first_ = 0;
};

}  // namespace pkgfs
