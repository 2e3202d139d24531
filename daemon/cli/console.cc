// SPDX-License-Identifier: MIT
#include "daemon/cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <ostream>

#include "core/base/utf8.h"

namespace pkgfs {
namespace {

/// The columns of the code point that begins with the byte `lead`. Wide code points begin at U+1100. A few narrow ones
/// count as wide, which can make a line shorter than necessary, but never too long.
std::size_t columns_of_lead(char lead) {
  constexpr unsigned char kWide = 0xE1;
  constexpr unsigned char kPunctuation = 0xE2;  // U+2000 to U+2FFF, with the ellipsis
  const auto byte = static_cast<unsigned char>(lead);
  return byte >= kWide && byte != kPunctuation ? 2 : 1;
}

}  // namespace

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  for (const char byte : text) {
    columns += continues_character(byte) ? 0 : columns_of_lead(byte);
  }
  return columns;
}

std::string_view fit_beginning(std::string_view text, std::size_t columns) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (continues_character(text[at])) {
      continue;
    }
    const std::size_t takes = columns_of_lead(text[at]);
    if (takes > columns) {
      return text.substr(0, at);
    }
    columns -= takes;
  }
  return text;
}

std::string_view fit_end(std::string_view text, std::size_t columns) {
  std::size_t begin = text.size();
  for (std::size_t at = text.size(); at-- > 0;) {
    if (continues_character(text[at])) {
      continue;
    }
    const std::size_t takes = columns_of_lead(text[at]);
    if (takes > columns) {
      break;
    }
    columns -= takes;
    begin = at;
  }
  return text.substr(begin);
}

std::shared_ptr<Console> Console::of(std::ostream& err) {
  static std::mutex mutex;
  static std::map<std::ostream*, std::weak_ptr<Console>> all;
  const std::lock_guard lock(mutex);
  std::erase_if(all, [](const auto& one) { return one.second.expired(); });
  if (auto found = all[&err].lock()) {
    return found;
  }
  auto made = std::make_shared<Console>(err);
  all[&err] = made;
  return made;
}

Console::Size Console::terminal_size() {
  Size size;
  winsize window{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
    size = {window.ws_col, window.ws_row};
  }
  return size;
}

void Console::print(std::string_view lines) {
  const std::lock_guard lock(mutex_);
  std::string text;
  append_erasure(text);
  text += lines;
  append_block(text);
  write(text);
}

void Console::draw(std::string_view lines, std::vector<std::string> block) {
  const std::lock_guard lock(mutex_);
  std::string text;
  append_erasure(text);
  text += lines;
  block_ = std::move(block);
  append_block(text);
  write(text);
}

void Console::append_erasure(std::string& text) {
  if (drawn_ > 0) {
    text += "\033[" + std::to_string(drawn_) + "A\033[J";
    drawn_ = 0;
  }
}

void Console::append_block(std::string& text) {
  if (block_.empty()) {
    return;
  }
  const Size size = terminal_size();
  // One row is for the cursor below the block; some terminals wrap when the last column is used.
  drawn_ = std::min(block_.size(), size.rows - 1);
  for (std::size_t i = 0; i < drawn_; ++i) {
    text += fit_beginning(block_[i], size.columns - 1);
    text += '\n';
  }
}

void Console::write(const std::string& text) {
  if (!text.empty()) {
    err_ << text << std::flush;
  }
}

}  // namespace pkgfs
