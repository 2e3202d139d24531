// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/unique_fd.h"

namespace pkgfs::fuzz {

/// A server that answers each connection with the next of the given texts, whatever is asked, and closes it. When no
/// text is left, it closes at once. Listens on a port of this machine. Thread-safe.
class RawServer {
 public:
  RawServer();
  ~RawServer();
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  /// `http://127.0.0.1:PORT`.
  [[nodiscard]] std::string address() const;
  void set_answers(std::deque<std::string> answers);

 private:
  void serve();
  [[nodiscard]] std::string next_answer();

  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::deque<std::string> answers_;
  std::thread thread_;
};

}  // namespace pkgfs::fuzz
