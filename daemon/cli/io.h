// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace pkgfs {

/// Looks up an environment variable; nothing if it isn't set.
using Environment = std::function<std::optional<std::string>(const char* name)>;

/// The streams and the environment of a run of the program. A test passes its own, and so can run every command within
/// the test's process.
struct Io {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  Environment environment;
  bool err_is_terminal = false;
  bool err_is_journal = false;  // `err` goes to systemd's journal (JOURNAL_STREAM)
  int report_fd = -1;           // for the pkgfs process that started this one (run_report.h); -1: none
  std::vector<int> inherited =
      {};  // the other descriptors that the caller of the program left open, without the streams

  /// Standard output, standard error and the environment of this process. Call it before there are threads.
  [[nodiscard]] static Io process();
};

}  // namespace pkgfs
