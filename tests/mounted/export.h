// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {

/// Tests that export to a directory of their own.
class ExportTest : public MountedTest {
 protected:
  [[nodiscard]] std::filesystem::path at(const std::string& name) const { return dir_.path() / name; }
  /// Exports to the file `name`.
  [[nodiscard]] ProcessResult write(const std::string& format, const std::string& package, const std::string& name,
                                    const Arguments& options = {}) const {
    Arguments words{kPkgfs, "export", "--format=" + format};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {package, at(name).string()});
    return run(words);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      found.push_back(entry.path().filename());
    }
    return found;
  }

  TempDir dir_;
};

}  // namespace pkgfs::test
