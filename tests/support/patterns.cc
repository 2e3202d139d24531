// SPDX-License-Identifier: MIT
#include "tests/support/patterns.h"

#include <map>
#include <regex>

namespace pkgfs::test {

namespace {

/// Compiled once, since some tests try a pattern on every line of the sources.
const std::regex& compiled(const std::string& pattern) {
  thread_local std::map<std::string, std::regex> known;
  const auto found = known.find(pattern);
  return found != known.end() ? found->second : known.emplace(pattern, pattern).first->second;
}

Groups groups_of(const std::smatch& match) { return {match.begin(), match.end()}; }

}  // namespace

bool matches(const std::string& text, const std::string& pattern) { return std::regex_match(text, compiled(pattern)); }

Groups match_groups(const std::string& text, const std::string& pattern) {
  std::smatch match;
  return std::regex_match(text, match, compiled(pattern)) ? groups_of(match) : Groups();
}

Groups find_groups(const std::string& text, const std::string& pattern) {
  std::smatch match;
  return std::regex_search(text, match, compiled(pattern)) ? groups_of(match) : Groups();
}

std::vector<Groups> find_all_groups(const std::string& text, const std::string& pattern) {
  std::vector<Groups> all;
  for (std::sregex_iterator it(text.begin(), text.end(), compiled(pattern)), end; it != end; ++it) {
    all.push_back(groups_of(*it));
  }
  return all;
}

std::string replace_all(const std::string& text, const std::string& pattern, const std::string& replacement) {
  return std::regex_replace(text, compiled(pattern), replacement);
}

}  // namespace pkgfs::test
