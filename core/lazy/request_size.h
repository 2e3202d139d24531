// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/lazy/sparse_file.h"

namespace pkgfs {

/// How many blocks the background asks for in one request. The request of a reader waits until the bytes of requests
/// before it have passed the connection. So the size follows the rate at which bytes come: a request keeps the
/// connection busy for a moment that a reader hardly notices. If no reader has missed a block for some time, requests
/// may take longer, because the connection is used better then. Not thread-safe.
class RequestSize {
 public:
  using Duration = std::chrono::steady_clock::duration;
  /// The time that the bytes of a request should take: at least a third of this, and not much more.
  static constexpr auto kWithReaders = std::chrono::milliseconds(40);
  static constexpr auto kWithoutReaders = std::chrono::milliseconds(160);

  static constexpr std::uint64_t kMost = SparseFile::blocks_in(4U << 20U);
  static constexpr std::uint64_t kLeast = SparseFile::blocks_in(64U << 10U);

  [[nodiscard]] std::uint64_t blocks() const { return blocks_; }
  /// A request of `blocks` blocks has ended. `transfer` is the time from its first byte to its last, and `wanted` one
  /// of the times above.
  void took(std::uint64_t blocks, Duration transfer, Duration wanted) {
    if (transfer > wanted) {
      blocks_ = std::max(std::min(blocks_, blocks) / 2, kLeast);
    } else if (transfer < wanted / 3 && blocks >= blocks_) {
      blocks_ = std::min(2 * blocks_, kMost);
    }
  }
  /// Readers are there again: no long requests.
  void shrink() { blocks_ = std::min(blocks_, kFirst); }

 private:
  static constexpr std::uint64_t kFirst = SparseFile::blocks_in(256U << 10U);

  std::uint64_t blocks_ = kFirst;
};

}  // namespace pkgfs
