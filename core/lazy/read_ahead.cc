// SPDX-License-Identifier: MIT
#include "core/lazy/read_ahead.h"

#include <algorithm>

namespace pkgfs {

std::uint64_t ReadAhead::missed(BlockRange need, std::uint64_t tolerance) {
  for (std::size_t i = 0; i < kStreams; ++i) {
    Stream& stream = streams_.at(i);
    if (stream.next == kNone || need.first + tolerance < stream.from || need.first > stream.next + tolerance) {
      continue;
    }
    stream.from = need.end();
    stream.used = ++uses_;
    // `arriving` lets a steady stream go on.
    if (need.end() + (stream.window < kSteady ? stream.window / 2 : 0) >= stream.next) {
      stream.window = std::clamp(stream.window * 2, std::min(need.count, kFirst), kMost);
      // One request has at most kMost, with `need`.
      stream.next = std::max(need.end(), std::min(need.end() + stream.window, need.first + kMost));
    }
    mark(i, stream.next - (stream.window + 1) / 2);  // from the middle of what is fetched now
    return stream.next - need.end();
  }
  const auto oldest = std::ranges::min_element(streams_, {}, &Stream::used);
  *oldest = {.from = need.end(), .next = need.end(), .window = 0, .used = ++uses_};
  mark(static_cast<std::size_t>(oldest - streams_.begin()), kNone);
  return 0;
}

BlockRange ReadAhead::reached(BlockRange read) {
  for (std::size_t i = 0; i < kStreams; ++i) {
    const std::uint64_t block = marks_.at(i).load(std::memory_order_relaxed);
    if (block < read.first || block >= read.end()) {
      continue;
    }
    Stream& stream = streams_.at(i);
    stream.window = std::clamp<std::uint64_t>(stream.window * 2, 1, kMost);
    stream.from = read.end();
    stream.used = ++uses_;
    const bool is_far = stream.next > read.end() + stream.window;
    const BlockRange ahead{stream.next, is_far ? 0 : stream.window};
    stream.next = ahead.end();
    mark(i, stream.next - (stream.window + 1) / 2);
    return ahead;
  }
  return {};
}

BlockRange ReadAhead::arriving(BlockRange request) {
  for (Stream& stream : streams_) {
    if (stream.next != request.end() || stream.window < kSteady || stream.next > stream.from + kMost) {
      continue;
    }
    stream.window = std::min(2 * stream.window, kMost);
    const BlockRange ahead{stream.next, stream.window};
    stream.next = ahead.end();
    stream.used = ++uses_;
    return ahead;
  }
  return {};
}

}  // namespace pkgfs
