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

/// Writes the messages of all threads to standard error, as lines that stay. On a terminal, it can also show a block of
/// lines below them, which it redraws. Thread-safe. It starts no thread, and each call returns when its text is
/// written.
class Console {
 public:
  struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };

  /// The console of `err`. All callers get the same one as long as one of them keeps it. `err` must outlive it.
  [[nodiscard]] static std::shared_ptr<Console> of(std::ostream& err);

  explicit Console(std::ostream& err) : err_(err) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// Writes whole lines, above the block.
  void print(std::string_view lines);
  /// Writes `lines` above the block and replaces the block. Its lines are cut to the width of the terminal, and lines
  /// beyond its height are left out.
  void draw(std::string_view lines, std::vector<std::string> block);

  /// The size of the terminal on standard error; 80 by 24 if it is unknown.
  [[nodiscard]] static Size terminal_size();

 private:
  void append_block(std::string& text);
  void append_erasure(std::string& text);
  void write(const std::string& text);

  std::ostream& err_;
  std::mutex mutex_;
  std::vector<std::string> block_;
  std::size_t drawn_ = 0;  // lines of the block that are on the terminal
};

/// The number of columns of UTF-8 text on a terminal: one for a code point, two for a wide one.
[[nodiscard]] std::size_t columns_of(std::string_view text);
/// The longest beginning of `text`, in whole code points, that fits into `columns`.
[[nodiscard]] std::string_view fit_beginning(std::string_view text, std::size_t columns);
/// The longest end of `text`, in whole code points, that fits into `columns`.
[[nodiscard]] std::string_view fit_end(std::string_view text, std::size_t columns);

}  // namespace pkgfs
