// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

// The checks of `pkgfs doctor`. A check appends its findings. It does not throw, whatever it finds. It changes nothing
// that another process sees, and takes a few seconds at most. An access to a mount may hang, so a check accesses a
// mount only in a child process (run_bounded.h).
namespace pkgfs::doctor {

enum class Level {
  kOk,
  kWarning,  // it works, but a part is missing or will matter later
  kProblem,  // a part does not work
};
[[nodiscard]] std::string_view to_string(Level level);

/// The advice if a limit of the process or the machine keeps a check from its work.
inline constexpr const char* kRaiseLimit = "raise the limit, or try again when other programs have ended";

/// The result of one check.
struct Finding {
  std::string check;  // the name of the check: "device", "cache", …
  Level level = Level::kOk;
  std::string said;    // what was found: one line
  std::string advice;  // what the user can do: one line; empty for kOk
};
using Findings = std::vector<Finding>;

}  // namespace pkgfs::doctor
