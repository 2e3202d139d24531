// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string_view>

namespace pkgfs {

/// Reports the entries that a command can't read. The command goes on with the other entries and fails at its end.
class Damage {
 public:
  explicit Damage(std::ostream& err) : err_(err) {}
  /// Prints a message at once. `error` is an errno number.
  void report(std::string_view path, int error);
  /// The exit code for the first failure; 0 if there was none.
  [[nodiscard]] int exit_code() const;

 private:
  std::ostream& err_;
  int first_ = 0;
};

}  // namespace pkgfs
