// SPDX-License-Identifier: MIT
#include "core/base/repeated_warning.h"

#include <utility>

namespace pkgfs {

void RepeatedWarning::end() {
  if (const std::size_t count = std::exchange(count_, 0); count > limits::kRepeatedWarnings) {
    log::warn("and {} more {} ({} in all)", count - limits::kRepeatedWarnings, rest_, count);
  }
}

}  // namespace pkgfs
