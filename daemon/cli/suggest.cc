// SPDX-License-Identifier: MIT
#include "daemon/cli/suggest.h"

#include <algorithm>
#include <vector>

namespace pkgfs {

namespace {

/// The optimal string alignment distance: a swap of two neighbours counts as one change.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::optional<std::string_view> suggest(std::string_view wrong, std::span<const std::string_view> names) {
  constexpr std::size_t kFar = 3;
  constexpr std::size_t kLongest = 64;  // a longer word isn't a misspelled option
  std::size_t best = kFar;
  std::optional<std::string_view> found;
  if (wrong.size() > kLongest) {
    return found;
  }
  for (const std::string_view name : names) {
    const std::size_t d = distance(wrong, name);
    if (d < best && 2 * d < name.size()) {
      best = d;
      found = name;
    }
  }
  return found;
}

}  // namespace pkgfs
