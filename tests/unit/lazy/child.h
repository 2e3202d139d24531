// SPDX-License-Identifier: MIT
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

namespace pkgfs::test {

/// Another process, which runs `work` and then ends with the exit code 0, or with 1 if `work` returned false or threw.
/// The destructor kills it.
class Child {
 public:
  explicit Child(const std::function<bool()>& work) : pid_(::fork()) {
    if (pid_ == 0) {
      bool done = false;
      try {
        done = work();
      } catch (...) {  // NOLINT(bugprone-empty-catch): the exit code says it
      }
      ::_exit(done ? 0 : 1);
    }
  }
  ~Child() {
    if (pid_ > 0) {
      kill();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void kill() {
    ::kill(pid_, SIGKILL);
    static_cast<void>(wait());
  }
  /// Waits for the end of the process. Whether its `work` returned true.
  [[nodiscard]] bool wait() {
    int status = -1;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status == 0;
  }

 private:
  pid_t pid_;
};

/// A pipe on which one process says something and another one waits for that. Neither waits for ever: if the other
/// process has died, `wait` returns false.
class Signal {
 public:
  Signal() { static_cast<void>(::pipe(ends_)); }
  ~Signal() {
    close_end(0);
    close_end(1);
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void say() { static_cast<void>(::write(ends_[1], "x", 1)); }
  [[nodiscard]] bool wait() {
    close_end(1);
    char said = 0;
    return ::read(ends_[0], &said, 1) == 1;
  }

 private:
  void close_end(int end) {
    if (ends_[end] >= 0) {
      ::close(ends_[end]);
      ends_[end] = -1;
    }
  }
  int ends_[2]{-1, -1};
};

}  // namespace pkgfs::test
