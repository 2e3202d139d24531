// SPDX-License-Identifier: MIT
#include "daemon/cli/progress.h"

#include <algorithm>
#include <condition_variable>
#include <ostream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/text_output.h"

namespace pkgfs {
namespace {

constexpr auto kDrawEvery = std::chrono::milliseconds(100);
constexpr auto kEventEvery = std::chrono::milliseconds(500);
constexpr std::size_t kMostLines = 16;
constexpr std::size_t kMostNameWidth = 48;
constexpr std::size_t kLeastNameWidth = 8;
constexpr std::size_t kNumbersWidth = 48;  // "1023.9 MiB of 1023.9 MiB (100 %), 1023.9 MiB/s"

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace

ProgressPrinter::ProgressPrinter(std::ostream& err, bool is_terminal)
    : console_(Console::of(err)), is_terminal_(is_terminal) {}

ProgressPrinter::~ProgressPrinter() {
  if (drawer_.joinable()) {
    drawer_.request_stop();
    drawer_.join();
    const std::lock_guard lock(mutex_);
    lines_.clear();
  }
  draw();
}

ProgressPrinter::Line* ProgressPrinter::find(std::string_view name) {
  const auto found = std::ranges::find(lines_, name, &Line::name);
  return found == lines_.end() ? nullptr : &*found;
}

void ProgressPrinter::started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) {
  const std::lock_guard lock(mutex_);
  Line* line = find(name);
  if (line == nullptr) {
    line = &lines_.emplace_back();
  }
  *line = {std::string(name), Clock::now(), have, have, total};
  if (!is_terminal_ && have > 0) {
    said_ += "pkgfs: " + printable(name) + ": continuing the download at " + size_text(have) + "\n";
  }
  if (!drawer_.joinable()) {
    try {
      drawer_ = std::jthread([this](const std::stop_token& stop) { draw_until(stop); });
    } catch (const std::system_error& error) {  // the download is what counts
      log::debug("progress isn't shown: no thread can be started: {}", start_text(error.code().value()));
    }
  }
}

void ProgressPrinter::received(std::string_view name, std::uint64_t have) {
  const std::lock_guard lock(mutex_);
  if (Line* line = find(name)) {
    line->have = have;
  }
}

void ProgressPrinter::finished(std::string_view name, std::uint64_t have, bool success) {
  bool is_last = false;
  {
    const std::lock_guard lock(mutex_);
    const Line* line = find(name);
    if (line == nullptr) {
      return;  // it never started, or its end was printed before
    }
    if (success) {
      said_ += fmt::format("pkgfs: downloaded {}: {} in {:.1f} s\n", printable(name), size_text(have),
                           seconds_since(line->begun));
    }
    std::erase_if(lines_, [&](const Line& other) { return other.name == name; });
    is_last = lines_.empty();
  }
  if (!is_terminal_ || is_last) {
    draw();  // the next text on the terminal may come from code that doesn't use the console
  }
}

void ProgressPrinter::draw_until(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    draw();
    stopped.wait_for(lock, stop, kDrawEvery, [] { return false; });
  }
}

void ProgressPrinter::draw() {
  const std::lock_guard drawing(draw_mutex_);  // texts are written in the order in which they were taken
  std::string said;
  std::vector<std::string> block;
  {
    const std::lock_guard lock(mutex_);
    said = std::exchange(said_, {});
    if (is_terminal_) {
      const std::size_t columns = Console::terminal_size().columns;
      for (const Line& line : lines_) {
        if (block.size() == kMostLines) {
          break;
        }
        block.push_back(text(line, columns));
      }
    }
  }
  console_->draw(said, std::move(block));
}

std::string ProgressPrinter::text(const Line& line, std::size_t columns) {
  const double elapsed = std::max(seconds_since(line.begun), 1e-3);
  const auto rate =
      static_cast<std::uint64_t>(static_cast<double>(line.have - std::min(line.before, line.have)) / elapsed);
  const std::size_t width = std::clamp(columns - std::min(columns, kNumbersWidth), kLeastNameWidth, kMostNameWidth);
  std::string name = printable(line.name);
  if (columns_of(name) > width) {
    name = "…" + std::string(fit_end(name, width - 1));
  }
  name.append(width - std::min(width, columns_of(name)), ' ');
  std::string of;
  if (line.total && *line.total > 0) {
    constexpr double kPercent = 100;
    of = fmt::format(" of {} ({:.0f} %)", size_text(*line.total),
                     static_cast<double>(line.have) * kPercent / static_cast<double>(*line.total));
  }
  return fmt::format("{} {}{}, {}/s", name, size_text(line.have), of, size_text(rate));
}

void ProgressEvents::started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) {
  const std::lock_guard lock(mutex_);
  nlohmann::json event{{"event", "started"}, {"package", name}, {"bytes", have}, {"total", nullptr}};
  if (total) {
    event["total"] = *total;
  }
  append(event);
  done_.erase(std::string(name));
  last_.insert_or_assign(std::string(name), Clock::now());
}

void ProgressEvents::received(std::string_view name, std::uint64_t have) {
  const std::lock_guard lock(mutex_);
  const auto last = last_.find(name);
  if (last != last_.end() && Clock::now() - last->second >= kEventEvery) {
    last->second = Clock::now();
    append({{"event", "progress"}, {"package", name}, {"bytes", have}});
  }
}

void ProgressEvents::finished(std::string_view name, std::uint64_t have, bool success) {
  const std::lock_guard lock(mutex_);
  if (!done_.emplace(name).second) {
    return;
  }
  append({{"event", success ? "finished" : "failed"}, {"package", name}, {"bytes", have}});
}

void ProgressEvents::tell(const nlohmann::json& event) {
  const std::lock_guard lock(mutex_);
  append(event);
}

ProgressEvents::~ProgressEvents() {
  if (writer_.joinable()) {
    writer_.request_stop();
    writer_.join();
  }
}

void ProgressEvents::append(const nlohmann::json& event) {
  pending_ += json_line(event) + "\n";
  appended_.notify_one();
  if (!writer_.joinable()) {
    try {
      writer_ = std::jthread([this](const std::stop_token& stop) { write_until(stop); });
    } catch (const std::system_error&) {  // then a slow reader holds up the download
      out_ << std::exchange(pending_, {}) << std::flush;
    }
  }
}

void ProgressEvents::write_until(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (appended_.wait(lock, stop, [this] { return !pending_.empty(); })) {
    const std::string lines = std::exchange(pending_, {});
    lock.unlock();
    out_ << lines << std::flush;
    lock.lock();
  }
}

}  // namespace pkgfs
