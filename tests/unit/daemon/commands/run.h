// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/commands/program.h"

namespace pkgfs::test {

/// The result of a run of the program.
struct Run {
  int code;
  std::string out;
  std::string err;
};

/// Runs `pkgfs ARGUMENTS...` in this process. Its environment has only the empty home directory and registry of the
/// tests (tests/support/home.h).
inline Run run(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  arguments.insert(arguments.begin(), "pkgfs");
  const auto environment = [](const char* name) -> std::optional<std::string> {
    for (const char* known : {"WASMER_DIR", "WASMER_REGISTRY", "SOURCE_DATE_EPOCH"}) {
      if (std::string_view(name) == known) {
        const char* const value = std::getenv(known);  // NOLINT(concurrency-mt-unsafe): no other thread changes it
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
      }
    }
    return std::nullopt;
  };
  const Io io{&out, &err, environment, false};
  const int code = run_program(arguments, io);
  return {code, out.str(), err.str()};
}

}  // namespace pkgfs::test
