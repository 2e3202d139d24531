// SPDX-License-Identifier: MIT
#include "core/base/limit_error.h"

#include <fmt/core.h>

#include "core/base/printable.h"

namespace pkgfs {

Error limit_error(std::string_view package, std::string_view what, std::size_t value, std::size_t limit) {
  return {ErrorCode::kUnsupported,
          fmt::format("The \"{}\" package exceeds the limit of {} {}: {}", shortened(package), limit, what, value)};
}

}  // namespace pkgfs
