// SPDX-License-Identifier: MIT
// Regular expressions (ECMAScript). One file includes <regex>, since that costs the compiler five seconds a file.
#pragma once

#include <string>
#include <vector>

namespace pkgfs::test {

/// What a pattern found: the whole text that it matched, then its groups. Empty: it wasn't found.
using Groups = std::vector<std::string>;

/// Whether the whole of `text` is of the form `pattern`.
[[nodiscard]] bool matches(const std::string& text, const std::string& pattern);
/// The groups of the whole of `text`.
[[nodiscard]] Groups match_groups(const std::string& text, const std::string& pattern);
/// The first place in `text` that matches.
[[nodiscard]] Groups find_groups(const std::string& text, const std::string& pattern);
/// All places in `text` that match.
[[nodiscard]] std::vector<Groups> find_all_groups(const std::string& text, const std::string& pattern);
/// `text` with `replacement` for each place that matches.
[[nodiscard]] std::string replace_all(const std::string& text, const std::string& pattern,
                                      const std::string& replacement);

}  // namespace pkgfs::test
