// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>
#include <utility>

namespace pkgfs::vfs {

/// A text for messages. It may be given as a function, because it may be expensive. For example, the id of an unnamed
/// package is the hash of its whole file. Each call of `text` calls that function.
class Label {
 public:
  Label() = default;
  Label(std::string text) : text_(std::move(text)) {}                   // NOLINT(google-explicit-constructor)
  Label(const char* text) : text_(text) {}                              // NOLINT(google-explicit-constructor)
  Label(std::function<std::string()> make) : make_(std::move(make)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool empty() const { return !make_ && text_.empty(); }
  [[nodiscard]] std::string text() const { return make_ ? make_() : text_; }

 private:
  std::string text_;
  std::function<std::string()> make_;
};

}  // namespace pkgfs::vfs
