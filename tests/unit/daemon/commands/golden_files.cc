// SPDX-License-Identifier: MIT
#include "tests/unit/daemon/commands/golden_files.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace pkgfs::test {

namespace fs = std::filesystem;

std::string package(const std::string& name) { return (fixtures() / name).string(); }

std::vector<fs::path> files_ending(const fs::path& dir, const std::string& ending) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().filename().string().ends_with(ending)) {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

nlohmann::json replaced(const nlohmann::json& document, const std::string& from, const std::string& to) {
  std::string text = document.dump();
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return nlohmann::json::parse(text);
}

SourceDirectories::SourceDirectories() {
  const std::string command =
      "tar -xzf '" + (fixtures() / "sources/sources.tar.gz").string() + "' -C '" + dir_.path().string() + "'";
  if (std::system(command.c_str()) != 0) {
    throw std::runtime_error(command);
  }
}

}  // namespace pkgfs::test
