// SPDX-License-Identifier: MIT
#include "tests/unit/markdown.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>

namespace pkgfs::test {
namespace {

bool is_decimal(char c) { return c >= '0' && c <= '9'; }

/// Calls `visit(line, number)` for each line that is not in a fenced code block.
template <typename Visit>
void for_each_prose_line(std::string_view text, Visit visit) {
  std::istringstream lines{std::string(text)};
  bool fenced = false;
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.starts_with("```")) {
      fenced = !fenced;
    } else if (!fenced) {
      visit(line, number);
    }
  }
}

/// GitHub's rule: lower case, blanks as "-", and of other punctuation only "-" and "_". Letters beyond ASCII stay.
std::string anchor_of(std::string_view title) {
  std::string anchor;
  for (const char c : title) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ' ') {
      anchor += '-';
    } else if (std::isalnum(byte) != 0 || c == '-' || c == '_' || byte >= 0x80) {
      anchor += static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte);
    }
  }
  return anchor;
}

/// The text of a heading without the targets of its links.
std::string title_of(std::string_view text) {
  std::string title;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ']' && text.substr(i + 1).starts_with('(')) {
      i = std::min(text.find(')', i), text.size() - 1);
    } else if (text[i] != '[') {
      title += text[i];
    }
  }
  return title;
}

/// "4.2" of "4.2 The choice of versions", or of "1." of a list item; empty if there is no number.
std::string leading_number(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size() && (is_decimal(text[length]) || (text[length] == '.' && length > 0))) {
    ++length;
  }
  if (length < text.size() && text[length] != ' ') {
    return {};
  }
  std::string number(text.substr(0, length));
  if (number.ends_with('.')) {
    number.pop_back();
  }
  return number;
}

/// The same line with blanks in the place of what stands between backticks, to the same length.
std::string without_code(std::string line) {
  for (std::size_t open = line.find('`'); open != std::string::npos; open = line.find('`', open)) {
    const std::size_t run = std::min(line.find_first_not_of('`', open), line.size()) - open;
    const std::size_t close = line.find(std::string(run, '`'), open + run);
    if (close == std::string::npos) {
      break;
    }
    std::fill_n(line.begin() + static_cast<std::ptrdiff_t>(open), close + run - open, ' ');
    open = close + run;
  }
  return line;
}

/// Adds what stands between each `before` and the next character of `ends`.
void add_targets(const std::string& line, std::string_view before, std::string_view ends, std::size_t number,
                 std::vector<Link>& found) {
  for (std::size_t at = line.find(before); at != std::string::npos; at = line.find(before, at)) {
    at += before.size();
    const std::size_t end = line.find_first_of(ends, at);
    if (end == std::string::npos) {
      return;
    }
    found.push_back({line.substr(at, end - at), number});
  }
}

}  // namespace

std::vector<Heading> headings(std::string_view text) {
  std::vector<Heading> found;
  std::map<std::string, int> seen;
  for_each_prose_line(text, [&](const std::string& line, std::size_t) {
    const std::size_t marks = std::min(line.find_first_not_of('#'), line.size());
    if (marks > 0 && marks <= 6 && marks < line.size() && line[marks] == ' ') {
      const std::string title = title_of(std::string_view(line).substr(marks + 1));
      std::string anchor = anchor_of(title);
      if (const int before = seen[anchor]++; before > 0) {
        anchor += "-" + std::to_string(before);
      }
      found.push_back({leading_number(title), std::move(anchor), {}});
    } else if (const std::string item = leading_number(line); !item.empty() && !found.empty()) {
      found.back().items.insert(item);
    }
  });
  return found;
}

std::vector<Link> links(std::string_view text) {
  std::vector<Link> found;
  for_each_prose_line(text, [&](const std::string& raw, std::size_t number) {
    const std::string line = without_code(raw);
    add_targets(line, "](", " )", number, found);
    add_targets(line, "href=\"", "\"", number, found);
    add_targets(line, "src=\"", "\"", number, found);
    if (const std::size_t close = line.find("]: ");
        line.starts_with('[') && !line.starts_with("[^") && close != std::string::npos) {
      const std::size_t at = close + 3;
      found.push_back({line.substr(at, line.find(' ', at) - at), number});
    }
  });
  return found;
}

}  // namespace pkgfs::test
