// SPDX-License-Identifier: MIT
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "daemon/program.h"

namespace pkgfs::test {

/// What a run of the program left.
struct Run {
  int code;
  std::string out;
  std::string err;
};

/// Runs `pkgfs ARGUMENTS...` in this process with an empty environment.
inline Run run(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  arguments.insert(arguments.begin(), "pkgfs");
  const Io io{&out, &err, [](const char*) { return std::nullopt; }, false};
  const int code = run_program(arguments, io);
  return {code, out.str(), err.str()};
}

}  // namespace pkgfs::test
