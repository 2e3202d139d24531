// SPDX-License-Identifier: MIT
#include "core/lazy/access_profile.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/base/hash.h"

namespace pkgfs {
namespace {

constexpr std::string_view kProfileFormat = "2";
constexpr std::size_t kSumDigits = 8;
/// The blocks of the longest gap between two ranges that is fetched with them.
constexpr std::uint64_t kFetchedGap = SparseFile::blocks_in(64U << 10U);
/// The most blocks of one request for a profile.
constexpr std::uint64_t kMostExpected = SparseFile::blocks_in(1U << 20U);

using Ranges = AccessProfile::Ranges;

Error wrong(std::string what) { return {ErrorCode::kCorrupt, "it isn't a profile of accesses: " + std::move(what)}; }

std::string sum_of(std::string_view text) { return to_hex(sha256(text)).substr(0, kSumDigits); }

void print(std::string& text, const Ranges& ranges) {
  text += ' ';
  if (ranges.empty()) {
    text += '-';
  }
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}{:x}", i == 0 ? "" : ",", ranges[i].first);
    if (ranges[i].count != 1) {
      fmt::format_to(std::back_inserter(text), "+{:x}", ranges[i].count);
    }
  }
}

std::uint64_t parse_number(std::string_view digits) {
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  if (digits.empty() || failed != std::errc() || end != digits.data() + digits.size()) {
    throw wrong("a number is wrong");
  }
  return number;
}

/// The text up to `separator`, which is removed from `rest` with it.
std::string_view take(std::string_view& rest, char separator) {
  const std::size_t at = rest.find(separator);
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return taken;
}

/// `left`: how many blocks the ranges may have.
Ranges parse_ranges(std::string_view list, std::uint64_t blocks, std::uint64_t& left) {
  Ranges ranges;
  if (list == "-") {
    return ranges;
  }
  while (!list.empty()) {
    std::string_view item = take(list, ',');
    const std::uint64_t first = parse_number(take(item, '+'));
    const std::uint64_t count = item.empty() ? 1 : parse_number(item);
    if (count == 0 || first >= blocks || count > blocks - first) {
      throw wrong("a range is outside of the container");
    }
    if (count > left) {
      throw wrong("it has too many blocks");
    }
    left -= count;
    ranges.push_back({first, count});
  }
  return ranges;
}

void refuse_duplicates(const AccessProfile& profile) {
  Ranges all = profile.opening;
  for (const Ranges& ranges : profile.mounts) {
    all.insert(all.end(), ranges.begin(), ranges.end());
  }
  std::ranges::sort(all, {}, &BlockRange::first);
  const auto overlap = [](const BlockRange& a, const BlockRange& b) { return a.end() > b.first; };
  if (std::ranges::adjacent_find(all, overlap) != all.end()) {
    throw wrong("it has a block twice");
  }
}

}  // namespace

std::string AccessProfile::text() const {
  std::string text = fmt::format("{} {:x}", kProfileFormat, size);
  print(text, opening);
  for (const Ranges& ranges : mounts) {
    print(text, ranges);
  }
  return text + " " + sum_of(text);
}

AccessProfile AccessProfile::parse(std::string_view text) {
  if (text.size() > kMostText) {
    throw wrong("it is too long");
  }
  const std::size_t last = text.rfind(' ');
  if (last == std::string_view::npos || text.substr(last + 1) != sum_of(text.substr(0, last))) {
    throw wrong("its checksum is wrong");
  }
  std::string_view rest = text.substr(0, last);
  if (take(rest, ' ') != kProfileFormat) {
    throw wrong("its version isn't known");
  }
  AccessProfile profile;
  profile.size = parse_number(take(rest, ' '));
  if (profile.size > SparseFile::kMostBytes) {
    throw wrong("the container is too large");
  }
  const std::uint64_t blocks = SparseFile::blocks_of(0, profile.size).count;
  std::uint64_t left = kMostBlocks;
  profile.opening = parse_ranges(take(rest, ' '), blocks, left);
  left = kMostBlocks;
  for (Ranges& ranges : profile.mounts) {
    ranges = parse_ranges(take(rest, ' '), blocks, left);
  }
  refuse_duplicates(profile);
  if (profile.text() != text) {
    throw wrong("it isn't written as pkgfs writes it");
  }
  return profile;
}

std::vector<BlockRange> requests_for(const AccessProfile::Ranges& ranges, const SparseFile& file) {
  struct Run {
    BlockRange blocks;
    std::size_t order;
  };
  std::vector<Run> runs;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const std::uint64_t end = std::min(ranges[i].end(), file.blocks());
    for (std::uint64_t at = ranges[i].first; at < end;) {
      const BlockRange missing = file.missing({at, end - at});
      if (missing.empty()) {
        break;
      }
      runs.push_back({missing, i});
      at = missing.end();
    }
  }
  std::ranges::sort(runs, {}, [](const Run& run) { return run.blocks.first; });
  std::vector<Run> requests;
  for (Run run : runs) {
    if (!requests.empty()) {
      Run& before = requests.back();
      const std::uint64_t end = before.blocks.end();
      const BlockRange gap{end, run.blocks.first - end};
      const std::uint64_t count = std::min(run.blocks.end() - before.blocks.first, kMostExpected);
      if (gap.count <= kFetchedGap && file.missing(gap) == (gap.empty() ? BlockRange{} : gap) &&
          before.blocks.first + count > run.blocks.first) {
        before.blocks.count = count;
        before.order = std::min(before.order, run.order);
        run.blocks = {before.blocks.end(), run.blocks.end() - before.blocks.end()};
      }
    }
    while (!run.blocks.empty()) {
      const std::uint64_t count = std::min(run.blocks.count, kMostExpected);
      requests.push_back({{run.blocks.first, count}, run.order});
      run.blocks = {run.blocks.first + count, run.blocks.count - count};
    }
  }
  std::ranges::sort(requests, {}, [](const Run& run) { return std::pair(run.order, run.blocks.first); });
  std::vector<BlockRange> result;
  result.reserve(requests.size());
  for (const Run& request : requests) {
    result.push_back(request.blocks);
  }
  return result;
}

}  // namespace pkgfs
