// SPDX-License-Identifier: MIT
#include "daemon/progress.h"

#include <algorithm>
#include <ostream>

#include <fmt/format.h>

#include "daemon/json_output.h"
#include "daemon/text_output.h"

namespace pkgfs {
namespace {

constexpr auto kDrawEvery = std::chrono::milliseconds(100);
constexpr auto kEventEvery = std::chrono::milliseconds(500);
constexpr std::size_t kNameWidth = 48;

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace

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
  if (is_terminal_) {
    draw();
  } else if (have > 0) {
    err_ << "pkgfs: " << printable(name) << ": continuing the download at " << size_text(have) << std::endl;
  }
}

void ProgressPrinter::received(std::string_view name, std::uint64_t have) {
  const std::lock_guard lock(mutex_);
  if (Line* line = find(name)) {
    line->have = have;
  }
  if (is_terminal_ && Clock::now() - last_draw_ >= kDrawEvery) {
    draw();
  }
}

void ProgressPrinter::finished(std::string_view name, std::uint64_t have, bool success) {
  const std::lock_guard lock(mutex_);
  const Line* line = find(name);
  if (line == nullptr) {
    return;  // nothing ever came
  }
  if (success) {
    erase();
    err_ << fmt::format("pkgfs: downloaded {}: {} in {:.1f} s", printable(name), size_text(have),
                        seconds_since(line->begun))
         << std::endl;
  }
  std::erase_if(lines_, [&](const Line& other) { return other.name == name; });
  if (is_terminal_) {
    draw();
  }
}

std::string ProgressPrinter::text(const Line& line) {
  const double elapsed = std::max(seconds_since(line.begun), 1e-3);
  const auto rate =
      static_cast<std::uint64_t>(static_cast<double>(line.have - std::min(line.before, line.have)) / elapsed);
  std::string name = printable(line.name);
  if (name.size() > kNameWidth) {
    name = "…" + name.substr(name.size() - kNameWidth + 1);
  }
  std::string of;
  if (line.total && *line.total > 0) {
    constexpr std::uint64_t kPercent = 100;
    of = fmt::format(" of {} ({} %)", size_text(*line.total), line.have * kPercent / *line.total);
  }
  return fmt::format("{:<{}} {}{}, {}/s", name, kNameWidth, size_text(line.have), of, size_text(rate));
}

void ProgressPrinter::draw() {
  erase();
  constexpr std::size_t kMostLines = 16;  // more than that scrolls
  for (const Line& line : lines_) {
    if (drawn_ == kMostLines) {
      break;
    }
    err_ << text(line) << '\n';
    ++drawn_;
  }
  err_.flush();
  last_draw_ = Clock::now();
}

void ProgressPrinter::erase() {
  if (drawn_ > 0) {
    err_ << "\033[" << drawn_ << "A\033[J";
    drawn_ = 0;
  }
}

void ProgressEvents::started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) {
  const std::lock_guard lock(mutex_);
  nlohmann::json event{{"event", "started"}, {"package", name}, {"bytes", have}, {"total", nullptr}};
  if (total) {
    event["total"] = *total;
  }
  out_ << json_line(event) << std::endl;
  last_.insert_or_assign(std::string(name), Clock::now());
}

void ProgressEvents::received(std::string_view name, std::uint64_t have) {
  const std::lock_guard lock(mutex_);
  const auto last = last_.find(name);
  if (last != last_.end() && Clock::now() - last->second >= kEventEvery) {
    last->second = Clock::now();
    out_ << json_line({{"event", "progress"}, {"package", name}, {"bytes", have}}) << std::endl;
  }
}

void ProgressEvents::finished(std::string_view name, std::uint64_t have, bool success) {
  const std::lock_guard lock(mutex_);
  out_ << json_line({{"event", success ? "finished" : "failed"}, {"package", name}, {"bytes", have}}) << std::endl;
}

}  // namespace pkgfs
