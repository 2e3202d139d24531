// SPDX-License-Identifier: MIT
#include "core/base/limit_error.h"

#include <fmt/core.h>

#include "core/base/printable.h"

namespace pkgfs {

Error limit_error(std::string_view package, std::string_view what, std::size_t value, const limits::PackageLimits& set,
                  std::size_t limits::PackageLimits::* member) {
  Error error(ErrorCode::kUnsupported, fmt::format("The \"{}\" package exceeds the limit of {} {} for {}: {}",
                                                   shortened(package), set.*member, what, set.name, value));
  if (set.*member < value && value <= limits::kLocal.*member) {
    error.caused_by(
        fmt::format("{} may have {}: a package file is one if the command line names it without "
                    "--untrusted",
                    limits::kLocal.name, limits::kLocal.*member));
  }
  return error;
}

}  // namespace pkgfs
