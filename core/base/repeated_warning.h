// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/limits.h"
#include "core/base/log.h"

namespace pkgfs {

/// Logs warnings of one kind, because a package can have a fault in each of 20,000 commands. The first three are logged
/// in full; `end` logs the number of the others. Not thread-safe.
class RepeatedWarning {
 public:
  /// `rest` follows the number of the other warnings: "commands are broken" makes "and 17 more commands are broken (20
  /// in all)".
  explicit RepeatedWarning(std::string_view rest) : rest_(rest) {}

  /// Logs the warning if it is one of the first three, and counts it.
  template <typename... Args>
  void add(MessageFormat<Args...> format, const Args&... args) {
    if (count_++ < limits::kRepeatedWarnings) {
      log::warn<Args...>(format, args...);
    }
  }
  /// Logs how many warnings came after the first three, if any. Then counts from zero again.
  void end();

 private:
  std::string rest_;
  std::size_t count_ = 0;
};

}  // namespace pkgfs
