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

/// Tells the user what is being downloaded: on a terminal a line a package that is redrawn with bytes, rate and total;
/// elsewhere a line when one is done. A thread writes, from the first download to the end of this: a terminal that is
/// stopped, or a pager that reads no more, doesn't stop the downloads.
class ProgressPrinter final : public DownloadObserver {
 public:
  /// `err` must outlive this.
  ProgressPrinter(std::ostream& err, bool is_terminal);
  ~ProgressPrinter() override;
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) override;
  void received(std::string_view name, std::uint64_t have) override;
  /// A second one for the same download is ignored.
  void finished(std::string_view name, std::uint64_t have, bool success) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Line {
    std::string name;
    Clock::time_point begun;
    std::uint64_t before = 0;  // what an earlier attempt left
    std::uint64_t have = 0;
    std::optional<std::uint64_t> total;
  };

  [[nodiscard]] static std::string text(const Line& line, std::size_t columns);
  [[nodiscard]] Line* find(std::string_view name);
  void draw_until(const std::stop_token& stop);
  void draw();

  std::shared_ptr<Console> console_;
  bool is_terminal_;
  std::mutex draw_mutex_;    // taken before mutex_, and held while the terminal is written to
  std::mutex mutex_;         // for what follows; never held for long
  std::vector<Line> lines_;  // of what is going on, oldest first
  std::string said_;         // lines that stay and weren't written yet
  std::jthread drawer_;
};

/// The same for scripts: one JSON object a line (`pkgfs pull --json`), written by a thread of its own.
class ProgressEvents final : public DownloadObserver {
 public:
  /// `out` must outlive this, and is nobody else's while this lives.
  explicit ProgressEvents(std::ostream& out) : out_(out) {}
  /// Waits until everything is written.
  ~ProgressEvents() override;
  ProgressEvents(const ProgressEvents&) = delete;
  ProgressEvents& operator=(const ProgressEvents&) = delete;

  /// Any other event, in its order.
  void tell(const nlohmann::json& event);
  void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) override;
  void received(std::string_view name, std::uint64_t have) override;
  void finished(std::string_view name, std::uint64_t have, bool success) override;

 private:
  using Clock = std::chrono::steady_clock;

  void append(const nlohmann::json& event);
  void write_until(const std::stop_token& stop);

  std::ostream& out_;
  std::mutex mutex_;  // for what follows; never held for long
  std::map<std::string, Clock::time_point, std::less<>> last_;
  std::set<std::string> done_;  // what has been told to have ended
  std::string pending_;         // lines that weren't written yet
  std::condition_variable_any appended_;
  std::jthread writer_;
};

}  // namespace pkgfs
