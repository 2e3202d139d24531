// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <iosfwd>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/net/download.h"

namespace pkgfs {

/// Tells the user what is being downloaded: on a terminal a line a package that is redrawn with bytes, rate and total;
/// elsewhere a line when one is done.
class ProgressPrinter final : public DownloadObserver {
 public:
  /// `err` must outlive this.
  ProgressPrinter(std::ostream& err, bool is_terminal) : err_(err), is_terminal_(is_terminal) {}

  void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) override;
  void received(std::string_view name, std::uint64_t have) override;
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

  [[nodiscard]] static std::string text(const Line& line);
  [[nodiscard]] Line* find(std::string_view name);
  void draw();
  void erase();

  std::ostream& err_;
  bool is_terminal_;
  std::mutex mutex_;
  std::vector<Line> lines_;  // of what is going on, oldest first
  std::size_t drawn_ = 0;    // lines on the terminal that are ours
  Clock::time_point last_draw_;
};

/// The same for scripts: one JSON object a line (`pkgfs pull --json`).
class ProgressEvents final : public DownloadObserver {
 public:
  explicit ProgressEvents(std::ostream& out) : out_(out) {}

  void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) override;
  void received(std::string_view name, std::uint64_t have) override;
  void finished(std::string_view name, std::uint64_t have, bool success) override;

 private:
  using Clock = std::chrono::steady_clock;

  std::ostream& out_;
  std::mutex mutex_;
  std::map<std::string, Clock::time_point, std::less<>> last_;
};

}  // namespace pkgfs
