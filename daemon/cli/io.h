// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>

namespace pkgfs {

/// Looks a variable up; nothing if it isn't set.
using Environment = std::function<std::optional<std::string>(const char* name)>;

/// What the program touches of its process: so that every command can be run inside a test.
struct Io {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  Environment environment;
  bool err_is_terminal = false;
  bool err_is_journal = false;  // systemd reads it (JOURNAL_STREAM)
  int report_fd = -1;           // for the pkgfs process that started this one (run_report.h); -1: none

  /// stdout, stderr and the real environment.
  [[nodiscard]] static Io process();
};

}  // namespace pkgfs
