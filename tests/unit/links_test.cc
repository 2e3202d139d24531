// SPDX-License-Identifier: MIT
// Links between the pages for people lead to files and headings that exist.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/unit/markdown.h"

namespace fs = std::filesystem;

namespace pkgfs::test {
namespace {

/// The text of the file at a path from the root of the project, empty for what is no page; nothing if it isn't there.
using Read = std::function<std::optional<std::string>(const std::string& path)>;

bool is_elsewhere(std::string_view target) {
  return target.starts_with("http://") || target.starts_with("https://") || target.starts_with("mailto:");
}

bool has_anchor(std::string_view page, std::string_view anchor) {
  const std::vector<Heading> all = headings(page);
  return std::ranges::find(all, anchor, &Heading::anchor) != all.end();
}

/// Each link of the page at `path` that leads nowhere.
std::vector<std::string> dead_links(const std::string& path, std::string_view text, const Read& read) {
  std::vector<std::string> found;
  for (const Link& link : links(text)) {
    if (is_elsewhere(link.target)) {
      continue;
    }
    const std::string place = path + ":" + std::to_string(link.line) + ": ";
    const std::size_t hash = link.target.find('#');
    const std::string file = link.target.substr(0, hash);
    const std::string anchor = hash == std::string::npos ? "" : link.target.substr(hash + 1);
    const std::string target = file.empty() ? path : (fs::path(path).parent_path() / file).lexically_normal().string();
    const std::optional<std::string> page = file.empty() ? std::string(text) : read(target);
    if (!page) {
      found.push_back(place + "there is no \"" + target + "\"");
    } else if (!anchor.empty() && !has_anchor(*page, anchor)) {
      found.push_back(place + "\"" + target + "\" has no heading \"#" + anchor + "\"");
    }
  }
  return found;
}

std::optional<std::string> read_from_root(const std::string& path) {
  const fs::path file = source_directory() / path;
  if (!fs::exists(file)) {
    return std::nullopt;
  }
  return fs::is_regular_file(file) && file.extension() == ".md" ? read_text(file) : std::string();
}

std::vector<std::string> linked_pages() {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(source_directory())) {
    if (entry.path().extension() == ".md") {
      found.push_back(entry.path().filename().string());
    }
  }
  for (const auto& entry : fs::recursive_directory_iterator(source_directory() / "docs")) {
    if (entry.path().extension() == ".md") {
      found.push_back(fs::relative(entry.path(), source_directory()).string());
    }
  }
  std::ranges::sort(found);
  return found;
}

TEST(Links, LeadToFilesAndHeadingsThatExist) {
  std::size_t read = 0;
  for (const std::string& page : linked_pages()) {
    const std::string text = read_text(source_directory() / page);
    read += links(text).size();
    for (const std::string& dead : dead_links(page, text, read_from_root)) {
      ADD_FAILURE() << dead;
    }
  }
  EXPECT_GT(read, 50U) << "the pages weren't found";
}

TEST(Links, TheCheckFindsEveryKindOfDeadLink) {
  const std::map<std::string, std::string> files{
      {"docs/A.md", "# Top\n\n## 4.2 The `x` rule, so\n\n## Twice\n## Twice\n"},
      {"docs/picture.svg", ""},
      {"README.md", "# R\n"}};
  const Read read = [&](const std::string& path) {
    const auto found = files.find(path);
    return found == files.end() ? std::nullopt : std::optional(found->second);
  };
  const auto count = [&](const std::string& path, const std::string& text) {
    return dead_links(path, text, read).size();
  };
  EXPECT_EQ(count("README.md", "see [it](docs/B.md)\n"), 1U);
  EXPECT_EQ(count("README.md", "[a](docs/A.md) and [b](docs/B.md), [c](C.md)\n"), 2U);
  EXPECT_EQ(count("README.md", "![it](docs/none.svg)\n"), 1U);
  EXPECT_EQ(count("README.md", "[it](docs/A.md#no-such)\n"), 1U);
  EXPECT_EQ(count("README.md", "[it](#no-such)\n"), 1U);
  EXPECT_EQ(count("README.md", "[label]: docs/B.md\n"), 1U);
  EXPECT_EQ(count("README.md", "<img src=\"docs/none.svg\"> <a href=\"B.md\">b</a>\n"), 2U);
  EXPECT_EQ(count("docs/A.md", "[it](docs/A.md)\n"), 1U) << "relative to the page, not to the project";
  EXPECT_EQ(count("docs/A.md", "# Top\n```\n# Fenced\n```\n[it](#fenced)\n"), 1U);
  EXPECT_EQ(count("README.md", "[it](docs/A.md#twice-2)\n"), 1U);

  EXPECT_EQ(count("README.md", "[a](docs/A.md), ![p](docs/picture.svg \"title\")\n[label]: docs/A.md \"title\"\n"), 0U);
  EXPECT_EQ(count("README.md", "[it](docs/A.md#42-the-x-rule-so), [it](docs/A.md#twice-1)\n"), 0U);
  EXPECT_EQ(count("docs/A.md", "# Top\n[it](#top), [up](../README.md#r)\n"), 0U);
  EXPECT_EQ(count("README.md", "[it](https://example.com/none.md), `[it](none.md)`\n```\n[it](none.md)\n```\n"), 0U);
}

}  // namespace
}  // namespace pkgfs::test
