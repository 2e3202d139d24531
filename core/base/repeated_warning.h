// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/limits.h"
#include "core/base/log.h"

namespace pkgfs {

/// Warnings of one kind. The first three are told as they come, the others only as a count, because a package can have
/// a fault in each of 20,000 commands. Not thread-safe.
class RepeatedWarning {
 public:
  /// `rest` goes on from "and 17 more": "commands are broken".
  explicit RepeatedWarning(std::string_view rest) : rest_(rest) {}

  template <typename... Args>
  void add(MessageFormat<Args...> format, const Args&... args) {
    if (count_++ < limits::kRepeatedWarnings) {
      log::warn<Args...>(format, args...);
    }
  }
  /// Tells how many there were beyond the first three, and begins anew.
  void end();

 private:
  std::string rest_;
  std::size_t count_ = 0;
};

}  // namespace pkgfs
