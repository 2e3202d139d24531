// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

/// A server on a loopback port that sends any bytes, so that it can break the rules of HTTP at any of them. Takes one
/// request from each connection; each has a thread of its own.
class RawServer {
 public:
  struct Reply {
    enum class End {
      kClose,  ///< the connection is closed after the bytes
      kReset,  ///< the same with a RST
      kHang,   ///< nothing more comes, until the client closes
    };
    std::string bytes = {};  ///< the status line and all after it
    End end = End::kClose;
    std::size_t piece = 0;               ///< so many bytes at a time; 0: all at once
    std::chrono::milliseconds pause{0};  ///< after each piece
  };
  /// Is given the request, from its first line to the end of its body, and its number, from 0. Called from many
  /// threads, one after the other.
  using Answer = std::function<Reply(const std::string& request, std::size_t number)>;

  explicit RawServer(Answer answer);
  ~RawServer();
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  /// "http://127.0.0.1:P".
  [[nodiscard]] std::string authority() const;
  /// The requests so far.
  [[nodiscard]] std::vector<std::string> requests() const;

 private:
  void accept_all();
  void serve(int connection);

  Answer answer_;
  UniqueFd listening_;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<std::thread> threads_;  // used by the accepting thread, and after its end
  std::thread accepting_;
};

/// The value of the header `name` of a request; empty if there is none.
[[nodiscard]] std::string header_of(const std::string& request, const std::string& name);

}  // namespace pkgfs::test
