// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iosfwd>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {

/// The one who writes to standard error while several threads have something to say: lines that stay, and below them,
/// on a terminal, a block of lines that is drawn again and again. Thread-safe; has no thread of its own.
class Console {
 public:
  struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };

  /// The console of `err`, the same for all who ask while one of them keeps it. `err` must outlive it.
  [[nodiscard]] static std::shared_ptr<Console> of(std::ostream& err);

  explicit Console(std::ostream& err) : err_(err) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// Writes whole lines, above the block.
  void print(std::string_view lines);
  /// Replaces the block after writing `lines` above it. Each line of the block is cut to the terminal, and those that
  /// don't fit on it aren't shown.
  void draw(std::string_view lines, std::vector<std::string> block);

  /// The terminal's on standard error; 80 by 24 when it doesn't say.
  [[nodiscard]] static Size terminal_size();

 private:
  void append_block(std::string& text);
  void append_erasure(std::string& text);
  void write(const std::string& text);

  std::ostream& err_;
  std::mutex mutex_;
  std::vector<std::string> block_;
  std::size_t drawn_ = 0;  // lines on the terminal that are the block's
};

/// How many columns UTF-8 text takes on a terminal: one for a code point, two for those that are drawn wide.
[[nodiscard]] std::size_t columns_of(std::string_view text);
/// As much of the beginning of `text` as fits into `columns`, whole code points only.
[[nodiscard]] std::string_view fit_beginning(std::string_view text, std::size_t columns);
/// The same of its end.
[[nodiscard]] std::string_view fit_end(std::string_view text, std::size_t columns);

}  // namespace pkgfs
