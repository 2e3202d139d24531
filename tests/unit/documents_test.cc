// SPDX-License-Identifier: MIT
// Risk: a page is missing from the index, defines PACKAGE in its own way, or has lines that are too long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>
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
    if (page.filename() == "ARCHITECTURE.md") {
      continue;
    }
    std::istringstream lines(read_text(page));
    bool code = false;
    for (std::string line; std::getline(lines, line);) {
      code ^= line.starts_with("```");
      EXPECT_TRUE(code || !is_prose(line) || width_of(line) <= 100) << page << ": " << line;
    }
  }
}

/// `text` on one line, without the marks of Markdown and scdoc.
std::string plain(const std::string& text) {
  const std::string unmarked = std::regex_replace(text, std::regex("[`*\"\\\\]"), "");
  return std::regex_replace(unmarked, std::regex("\\s+"), " ");
}

TEST(Documents, DefinePackageOnce) {
  const std::string definition =
      "PACKAGE is a .webc file, a directory with a wasmer.toml, a package tarball (.tar.gz), a URL, or a specifier "
      "such "
      "as namespace/name@^1.2.";
  for (const char* page : {"README.md", "packaging/man/pkgfs.1.scd"}) {
    EXPECT_THAT(plain(read_text(source_directory() / page)), HasSubstr(definition)) << page;
  }
}

}  // namespace
}  // namespace pkgfs::test
