// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <condition_variable>
#include <iosfwd>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/cache/download_observer.h"
#include "daemon/cli/console.h"

namespace pkgfs {

/// Shows the downloads to the user. On a terminal, each package has a line with bytes, total and rate, which is
/// redrawn. Elsewhere, a line is printed when a download ends. From the first download to the destructor, a thread of
/// its own writes. So a stopped terminal doesn't stop the downloads. Only a call of `finished` may wait for the
/// terminal, because this function writes, too. Thread-safe.
class ProgressPrinter final : public DownloadObserver {
 public:
  /// `err` must outlive this.
  ProgressPrinter(std::ostream& err, bool is_terminal);
  ~ProgressPrinter() override;
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) override;
  void received(std::string_view name, std::uint64_t have) override;
  /// A second call for the same download is ignored.
  void finished(std::string_view name, std::uint64_t have, bool success) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Line {
    std::string name;
    Clock::time_point begun;
    std::uint64_t before = 0;  // bytes from an earlier attempt
    std::uint64_t have = 0;
    std::optional<std::uint64_t> total;
  };

  [[nodiscard]] static std::string text(const Line& line, std::size_t columns);
  [[nodiscard]] Line* find(std::string_view name);
  void draw_until(const std::stop_token& stop);
  void draw();

  std::shared_ptr<Console> console_;
  bool is_terminal_;
  std::mutex draw_mutex_;    // locked before mutex_, and held while writing to the terminal
  std::mutex mutex_;         // guards the members below; never held during I/O
  std::vector<Line> lines_;  // the running downloads, oldest first
  std::string said_;         // lines that stay and aren't written yet
  std::jthread drawer_;
};

/// Prints the downloads for scripts, as one JSON object on a line (`pkgfs pull --json`). A thread of its own writes.
/// Thread-safe.
class ProgressEvents final : public DownloadObserver {
 public:
  /// `out` must outlive this. No other code may write to `out` until the destructor has returned.
  explicit ProgressEvents(std::ostream& out) : out_(out) {}
  /// Returns when all events are written.
  ~ProgressEvents() override;
  ProgressEvents(const ProgressEvents&) = delete;
  ProgressEvents& operator=(const ProgressEvents&) = delete;

  /// Adds another event, after those before it.
  void tell(const nlohmann::json& event);
  void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) override;
  void received(std::string_view name, std::uint64_t have) override;
  void finished(std::string_view name, std::uint64_t have, bool success) override;

 private:
  using Clock = std::chrono::steady_clock;

  void append(const nlohmann::json& event);
  void write_until(const std::stop_token& stop);

  std::ostream& out_;
  std::mutex mutex_;  // guards the members below; never held during I/O
  std::map<std::string, Clock::time_point, std::less<>> last_;
  std::set<std::string> done_;  // downloads whose end was printed
  std::string pending_;         // lines that aren't written yet
  std::condition_variable_any appended_;
  std::jthread writer_;
};

}  // namespace pkgfs
