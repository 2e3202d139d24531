// SPDX-License-Identifier: MIT
#include "core/base/age_text.h"

#include <array>

namespace pkgfs {

std::string age_text(std::optional<std::chrono::seconds> age) {
  if (!age) {
    return "an unknown time";
  }
  struct Unit {
    long seconds;
    const char* name;
  };
  constexpr std::array<Unit, 4> kUnits{{{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}}};
  for (const Unit& unit : kUnits) {
    const long count = age->count() / unit.seconds;
    if (count > 0) {
      return std::to_string(count) + " " + unit.name + (count == 1 ? "" : "s");
    }
  }
  return "less than a second";
}

}  // namespace pkgfs
