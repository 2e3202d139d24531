// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <optional>
#include <string_view>

#include "core/base/error.h"

namespace pkgfs {

/// The Error `{what}: {text of errnum}` for a path that can't be looked up in a package's tree. EIO is damage, so the
/// code is kCorrupt then.
[[nodiscard]] Error look_up_error(std::string_view what, int errnum);
/// The Error for the entry `path`, which a walk came to and which can't be read. EIO is damage, and so is ELOOP: too
/// many levels of directories.
[[nodiscard]] Error entry_error(std::string_view path, int errnum);

/// Reports the entries that a command can't read. The command goes on with the other entries and fails at its end.
class Damage {
 public:
  explicit Damage(std::ostream& err) : err_(err) {}
  /// Prints `entry_error` at once.
  void report(std::string_view path, int errnum) { report(entry_error(path, errnum)); }
  void report(const Error& error);
  /// 0 if nothing was reported. If damage was reported (kCorrupt), the exit code for damage. Otherwise, the exit code
  /// of the first error.
  [[nodiscard]] int exit_code() const;

 private:
  std::ostream& err_;
  std::optional<ErrorCode> code_;
};

}  // namespace pkgfs
