// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

/// A client's end of a Unix socket, for what no ordinary client sends.
class RawClient {
 public:
  explicit RawClient(const std::string& path);
  [[nodiscard]] bool connected() const { return connected_; }
  bool send(const std::string& text) const;
  /// What comes until `limit`, the other end closes, or `enough` was read.
  [[nodiscard]] std::string read(std::chrono::milliseconds limit, const std::string& enough = {}) const;
  /// Whether the other end closes within `limit`.
  [[nodiscard]] bool is_closed_within(std::chrono::milliseconds limit) const;
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

}  // namespace pkgfs::test
