// SPDX-License-Identifier: MIT
// Risk: a page is missing from the index, or has lines that are too long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"

namespace fs = std::filesystem;

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

/// Every Markdown page at the root and directly in docs.
std::vector<fs::path> pages() {
  std::vector<fs::path> found;
  for (const fs::path& directory : {source_directory(), source_directory() / "docs"}) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() == ".md") {
        found.push_back(entry.path());
      }
    }
  }
  std::ranges::sort(found);
  return found;
}

TEST(Documents, AreInTheIndex) {
  const std::string index = read_text(source_directory() / "docs/README.md");
  for (const auto& entry : fs::directory_iterator(source_directory() / "docs")) {
    const std::string name = entry.path().filename();
    if (entry.path().extension() == ".md" && name != "README.md") {
      EXPECT_THAT(index, HasSubstr("](" + name + ")"));
    }
  }
}

/// Columns, not bytes: continuation bytes of UTF-8 don't count.
std::ptrdiff_t width_of(const std::string& line) {
  return std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

/// Tables, pictures, comments and lines to be typed can't be wrapped.
bool is_prose(const std::string& line) {
  return !line.starts_with('|') && !line.starts_with("![") && !line.starts_with("<!--") && !line.starts_with("    ");
}

TEST(Documents, WrapAt100Columns) {
  for (const fs::path& page : pages()) {
    std::istringstream lines(read_text(page));
    bool code = false;
    for (std::string line; std::getline(lines, line);) {
      code ^= line.starts_with("```");
      EXPECT_TRUE(code || !is_prose(line) || width_of(line) <= 100) << page << ": " << line;
    }
  }
}

}  // namespace
}  // namespace pkgfs::test
