// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

using Arguments = std::vector<std::string>;

struct ProcessOptions {
  /// After this the whole process group is killed.
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
  /// Working directory; empty: that of the calling process.
  std::string directory = {};
  /// Added to the environment.
  std::vector<std::pair<std::string, std::string>> environment = {};
};

/// How a program ended and what it wrote.
struct ProcessResult {
  int exit_code = -1;  // -1 when a signal ended it
  int signal = 0;
  bool timed_out = false;
  long peak_memory = 0;  // bytes that were resident at a time
  std::string out;
  std::string err;

  [[nodiscard]] bool ok() const { return exit_code == 0; }
  /// Everything on a few lines, for the message of a failing assertion.
  [[nodiscard]] std::string describe() const;
};

/// A program that runs in its own process group and writes its output to memory files. So a grandchild that keeps the
/// output open doesn't delay `wait`. The destructor continues and kills the group, and waits for the program.
class Process {
 public:
  /// Throws std::runtime_error when the program can't be started; a program that isn't there ends with exit code 127.
  explicit Process(const Arguments& arguments, ProcessOptions options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Waits for the end, at most the time-out counted from now.
  const ProcessResult& wait();
  /// Whether the program ends within `limit`. If it doesn't, it continues to run.
  [[nodiscard]] bool ends_within(std::chrono::milliseconds limit) const;
  void signal(int number) const;
  /// What has been written to standard output and error so far.
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;

 private:
  void collect(int status);

  ProcessOptions options_;
  pid_t pid_ = -1;
  bool ended_ = false;
  UniqueFd out_;
  UniqueFd err_;
  ProcessResult result_;
};

/// Runs a program to its end.
[[nodiscard]] ProcessResult run(const Arguments& arguments, const ProcessOptions& options = {});
/// Runs a line of shell.
[[nodiscard]] ProcessResult shell(const std::string& line, const ProcessOptions& options = {});
/// True when `program` is found in PATH.
[[nodiscard]] bool have_program(const std::string& program);

/// Polls `condition` until it is true or `limit` is over; returns its last answer.
template <typename Condition>
[[nodiscard]] bool eventually(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds(5));

void sleep_ms(int milliseconds);

template <typename Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      return condition();
    }
    sleep_ms(10);
  }
  return true;
}

}  // namespace pkgfs::test
