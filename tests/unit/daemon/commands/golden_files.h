// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"

namespace pkgfs::test {

/// The path of a package among the fixtures, as a command line takes it.
std::string package(const std::string& name);

/// The files below `dir` whose name ends with `ending`, sorted.
std::vector<std::filesystem::path> files_ending(const std::filesystem::path& dir, const std::string& ending);

/// `document` with every `from` in its texts replaced by `to`.
nlohmann::json replaced(const nlohmann::json& document, const std::string& from, const std::string& to);

/// The package directories of fixtures/sources with their modification times, unpacked for as long as it lives.
class SourceDirectories {
 public:
  SourceDirectories();
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return dir_.path() / name; }

 private:
  TempDir dir_;
};

}  // namespace pkgfs::test
