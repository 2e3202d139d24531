// SPDX-License-Identifier: MIT
#include "daemon/doctor/finding.h"

namespace pkgfs::doctor {

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarning:
      return "warning";
    case Level::kProblem:
      return "problem";
  }
  return "";
}

}  // namespace pkgfs::doctor
