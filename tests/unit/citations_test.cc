// SPDX-License-Identifier: MIT
// Every rule that the code cites is in docs/rules, cited in the one form that docs/rules/README.md gives.
#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/unit/markdown.h"

namespace fs = std::filesystem;

namespace pkgfs::test {
namespace {

constexpr std::string_view kFolder = "docs/rules/";

/// By the number of its heading, the numbered items of a section.
using Sections = std::map<std::string, std::set<std::string>>;
/// The pages of rules, by their file names.
using Rules = std::map<std::string, Sections>;

Sections sections_of(std::string_view page) {
  Sections sections;
  for (const Heading& heading : headings(page)) {
    if (!heading.number.empty()) {
      sections[heading.number].insert(heading.items.begin(), heading.items.end());
    }
  }
  return sections;
}

/// A text as one line: without the marks of comments and without line breaks, which may stand inside a citation.
struct Flat {
  std::string text;
  std::vector<std::size_t> starts;  // where each line of the file begins in `text`
  std::vector<bool> comments;       // which lines are comments from their beginning

  [[nodiscard]] std::size_t line_at(std::size_t position) const {
    return static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), position) - starts.begin());
  }
};

Flat flatten(const std::string& text) {
  Flat flat;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    flat.starts.push_back(flat.text.size());
    const std::size_t indent = std::min(line.find_first_not_of(" \t"), line.size());
    const std::size_t mark = std::min(line.find_first_not_of("/#", indent), line.size());
    const bool is_comment = mark > indent && (mark == line.size() || line[mark] == ' ');
    flat.comments.push_back(is_comment);
    std::string_view content = std::string_view(line).substr(is_comment ? mark : indent);
    content.remove_prefix(std::min(content.find_first_not_of(' '), content.size()));
    flat.text += content;
    flat.text += ' ';
  }
  return flat;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-'; }

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) {
    return false;
  }
  text.remove_prefix(what.size());
  return true;
}

/// Takes "4.2" off the front; nothing, and `text` as it was, if no number ends there.
std::string take_number(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() &&
         (is_digit(text[length]) || (text[length] == '.' && length + 1 < text.size() && is_digit(text[length + 1])))) {
    ++length;
  }
  if (length == 0 || text.front() == '.' || (length < text.size() && is_word(text[length]))) {
    return {};
  }
  const std::string number(text.substr(0, length));
  text.remove_prefix(length);
  return number;
}

/// A place that a citation names: a section, and perhaps a numbered item of it.
struct Place {
  std::string section;
  std::string item;
};

std::optional<Place> take_place(std::string_view& text) {
  Place place{.section = take_number(text), .item = {}};
  if (place.section.empty()) {
    return std::nullopt;
  }
  for (const std::string_view word : {" rule ", " step "}) {
    std::string_view rest = text;
    if (!take(rest, word)) {
      continue;
    }
    if (place.item = take_number(rest); !place.item.empty()) {
      text = rest;
    }
  }
  return place;
}

/// Whether `text`, which stands behind the name of a page, names a section of it in some other form.
bool names_a_section(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of("`*_)\"'"), text.size()));
  take(text, ",");
  take(text, " ");
  take(text, "section ") || take(text, "sections ") || take(text, "\u00a7");
  return !take_number(text).empty();
}

/// The citations of one file.
class Reader {
 public:
  Reader(std::string path, const std::string& text, const Rules& rules)
      : path_(std::move(path)), flat_(flatten(text)), rules_(rules), is_page_(path_.ends_with(".md")) {}

  void read() {
    const std::string_view text = flat_.text;
    for (std::size_t at = text.find(".md"); at != std::string_view::npos; at = text.find(".md", at + 1)) {
      const std::size_t end = at + 3;
      if (end < text.size() && is_word(text[end])) {
        continue;
      }
      std::size_t begin = at;
      while (begin > 0 && (is_word(text[begin - 1]) || text[begin - 1] == '/' || text[begin - 1] == '.')) {
        --begin;
      }
      at_ = begin;
      read_mention(text.substr(begin, end - begin), text.substr(end));
    }
    if (!is_page_) {
      read_bare_numbers();
    }
  }

  [[nodiscard]] const std::vector<std::string>& wrong() const { return wrong_; }
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  void complain(const std::string& what) {
    wrong_.push_back(path_ + ":" + std::to_string(flat_.line_at(at_)) + ": " + what);
  }

  /// `name` is the name of a page as it is written, `rest` what follows.
  void read_mention(std::string_view name, std::string_view rest) {
    const std::string file(name.substr(name.rfind('/') + 1));
    const auto page = rules_.find(file);
    if (name != std::string(kFolder) + file) {
      // A page links to others by name; source code cites rules in the one form only.
      if (names_a_section(rest) || (page != rules_.end() && !is_page_)) {
        complain("\"" + std::string(name) + "\" is cited in another form than \"docs/rules/PAGE.md, NUMBER\"");
      }
      return;
    }
    if (file == "README.md") {
      return;
    }
    if (page == rules_.end()) {
      complain("there is no page \"" + std::string(name) + "\"");
      return;
    }
    if (!take(rest, ", ") || rest.empty() || !is_digit(rest.front())) {
      if (!is_page_ || names_a_section(rest)) {
        complain("\"" + std::string(name) + "\" is cited without \", NUMBER\" behind it");
      }
      return;
    }
    read_places(file, page->second, rest);
  }

  void read_places(const std::string& file, const Sections& sections, std::string_view rest) {
    while (const std::optional<Place> place = take_place(rest)) {
      ++count_;
      const auto section = sections.find(place->section);
      if (section == sections.end()) {
        complain(file + " has no section " + place->section);
      } else if (!place->item.empty() && !section->second.contains(place->item)) {
        complain(file + " has no item " + place->item + " in section " + place->section);
      }
      if (!take(rest, " and ") && !take(rest, " to ")) {
        return;
      }
    }
  }

  /// "(4.2)" in a comment says no page.
  void read_bare_numbers() {
    const std::string_view text = flat_.text;
    for (std::size_t open = text.find('('); open != std::string_view::npos; open = text.find('(', open + 1)) {
      std::string_view rest = text.substr(open + 1);
      const std::string number = take_number(rest);
      if (number.find('.') != std::string::npos && take(rest, ")") && is_comment(open)) {
        at_ = open;
        complain("(" + number + ") says no page");
      }
    }
  }

  /// Whether what stands at `position` is in a comment. Code has numbers in parentheses, too.
  [[nodiscard]] bool is_comment(std::size_t position) const {
    const std::size_t line = flat_.line_at(position) - 1;
    const std::size_t mark = flat_.text.find("// ", flat_.starts[line]);
    return flat_.comments[line] || mark < position;
  }

  std::string path_;
  Flat flat_;
  const Rules& rules_;
  bool is_page_;
  std::size_t at_ = 0;
  std::vector<std::string> wrong_;
  std::size_t count_ = 0;
};

/// What the check reads: sources, scripts, manual pages and pages for people; no fixtures.
std::vector<std::string> files() {
  constexpr std::array<std::string_view, 9> kEndings{"", ".cc", ".h", ".md", ".py", ".sh", ".scd", ".txt", ".cmake"};
  std::vector<std::string> found{"tests/fixtures/README.md"};
  const auto add = [&](const fs::path& file) {
    const std::string path = fs::relative(file, source_directory()).string();
    // The cases of this check are wrong on purpose.
    if (fs::is_regular_file(file) && std::ranges::find(kEndings, file.extension().string()) != kEndings.end() &&
        !path.starts_with("tests/fixtures/") && path != "tests/unit/citations_test.cc") {
      found.push_back(path);
    }
  };
  for (const auto& entry : fs::directory_iterator(source_directory())) {
    if (entry.path().extension() == ".md" || entry.path().extension() == ".txt") {
      add(entry.path());
    }
  }
  for (const char* folder : {"core", "fuse", "daemon", "tests", "packaging", "docs"}) {
    for (const auto& entry : fs::recursive_directory_iterator(source_directory() / folder)) {
      add(entry.path());
    }
  }
  std::ranges::sort(found);
  return found;
}

Rules rules() {
  Rules found;
  for (const auto& entry : fs::directory_iterator(source_directory() / kFolder)) {
    if (entry.path().extension() == ".md" && entry.path().filename() != "README.md") {
      found[entry.path().filename()] = sections_of(read_text(entry.path()));
    }
  }
  return found;
}

TEST(Citations, LeadToASectionOfARule) {
  const Rules known = rules();
  ASSERT_EQ(known.size(), 5U);
  std::size_t count = 0;
  for (const std::string& file : files()) {
    Reader reader(file, read_text(source_directory() / file), known);
    reader.read();
    count += reader.count();
    for (const std::string& wrong : reader.wrong()) {
      ADD_FAILURE() << wrong;
    }
  }
  EXPECT_GT(count, 100U) << "the sources weren't found";
}

TEST(Citations, TheCheckFindsEveryKindOfWrongCitation) {
  const Rules known{{"trees.md", sections_of("# Trees\n## 4 Four\n### 4.2 Two\n1. one\n2. two\n## 5. Five\n")}};
  const auto wrong = [&](const std::string& path, const std::string& text) {
    Reader reader(path, text, known);
    reader.read();
    return reader.wrong().size();
  };
  const auto cited = [&](const std::string& text) {
    Reader reader("x.h", text, known);
    reader.read();
    return reader.wrong().empty() ? reader.count() : 0;
  };
  EXPECT_EQ(wrong("x.h", "/// As docs/rules/trees.md, 4.3 says.\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/rules/trees.md, 4 and 6)\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/rules/trees.md, 4.2 rule 3)\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/rules/roots.md, 4.2)\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/rules/trees.md,\n/// 4.3)\n"), 1U);
  EXPECT_EQ(wrong("x.md", "As `docs/rules/trees.md, 4.3` says.\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/rules/trees.md 4.2)\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/rules/trees.md)\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (trees.md 4.2)\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (trees.md, 4.2)\n"), 1U);
  EXPECT_EQ(wrong("x.cc", "// trees.md tells it\n"), 1U);
  EXPECT_EQ(wrong("x.cc", "  {\"a\", \"trees.md 4.2 says so\"},\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// (docs/trees.md section 4)\n"), 1U);
  EXPECT_EQ(wrong("x.py", "# architecture.md 3\n"), 1U);
  EXPECT_EQ(wrong("x.md", "the rules of `../docs/trees.md` section 4\n"), 1U);
  EXPECT_EQ(wrong("x.h", "/// One entry (4.2), in order.\n"), 1U);
  EXPECT_EQ(wrong("x.h", "  int order;  // the root first (4.2)\n"), 1U);

  EXPECT_EQ(cited("/// As docs/rules/trees.md, 4.2 says.\n"), 1U);
  EXPECT_EQ(cited("/// (docs/rules/trees.md, 4 and 4.2 rule 1 and 5).\n"), 3U);
  EXPECT_EQ(cited("/// The rows (docs/rules/trees.md, 4.2 to 5, every row).\n"), 2U);
  EXPECT_EQ(cited("/// (docs/rules/trees.md,\n/// 4.2 and\n/// 5.)\n"), 2U);
  EXPECT_EQ(cited("  \"docs/rules/trees.md, 4.2 step 2 gives the text\"\n"), 1U);
  EXPECT_EQ(wrong("x.md", "[trees.md](trees.md#42-two), docs/rules/trees.md and docs/rules/README.md\n"), 0U);
  EXPECT_EQ(wrong("x.h", "/// (docs/METRICS.md), ARCHITECTURE.md. 4 of them\n"), 0U);
  EXPECT_EQ(wrong("x.cc", "  call(1.5);\n  wait(0.2);  // seconds\n"), 0U);
}

}  // namespace
}  // namespace pkgfs::test
