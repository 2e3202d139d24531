// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs::test {

/// A heading of a Markdown page, with what stands below it before the next heading.
struct Heading {
  std::string number;           // "4.2"; empty for a heading that doesn't begin with a number
  std::string anchor;           // as GitHub makes it: "42-the-choice-of-versions"; a second one gets "-1"
  std::set<std::string> items;  // numbers of the ordered list items at the left margin: "1", "2"
};

/// The headings of the page `text`, in order. Lines in fenced code blocks are no headings.
[[nodiscard]] std::vector<Heading> headings(std::string_view text);

/// A link or image of a page.
struct Link {
  std::string target;    // as written, without a title
  std::size_t line = 0;  // from 1
};

/// The targets of `[text](target)`, `![text](target)`, `[label]: target`, `href="target"` and `src="target"`, in order.
/// What stands in code, fenced or between backticks, is no link.
[[nodiscard]] std::vector<Link> links(std::string_view text);

}  // namespace pkgfs::test
