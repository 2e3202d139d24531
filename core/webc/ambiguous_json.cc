// SPDX-License-Identifier: MIT
#include "core/webc/ambiguous_json.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/webc/manifest.h"

namespace pkgfs::webc {
namespace {

[[noreturn]] void refuse(std::string_view text, std::size_t at, const std::string& what) {
  const std::string_view before = text.substr(0, at);
  const std::size_t line_start = before.rfind('\n') + 1;  // 0 if there is none
  throw Error(ErrorCode::kCorrupt, "line " + std::to_string(std::ranges::count(before, '\n') + 1) + ", column " +
                                       std::to_string(at - line_start + 1) + " (byte " + std::to_string(at) +
                                       "): " + what);
}

/// Reads a text, and tells how far a parser has read it: the parser copies its iterators.
class TellingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TellingIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  TellingIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  TellingIterator operator++(int) {
    const TellingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const TellingIterator& a, const TellingIterator& b) { return a.at_ == b.at_; }
  friend bool operator!=(const TellingIterator& a, const TellingIterator& b) { return a.at_ != b.at_; }

 private:
  const char* at_;
  const char** reached_;
};

/// Remembers the keys of the open objects.
class KeyCheck final : public nlohmann::json_sax<Json> {
 public:
  KeyCheck(std::string_view text, const char* const& reached) : text_(text), reached_(reached) {}

  bool key(string_t& name) override {
    if (!open_.back().insert(name).second) {
      refuse(text_, offset() - 1, "the object has the key " + Json(name).dump() + " a second time");
    }
    return true;
  }
  bool start_object(std::size_t /*count*/) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*count*/) override { return open(); }
  bool end_array() override { return close(); }
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool parse_error(std::size_t /*at*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return false;
  }

 private:
  [[nodiscard]] std::size_t offset() const { return static_cast<std::size_t>(reached_ - text_.data()); }
  bool open() {
    if (open_.size() == limits::kCborDepth) {
      refuse(text_, offset() - 1, "JSON that is nested too deep");
    }
    open_.emplace_back();
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const char* const& reached_;
  std::vector<std::set<std::string>> open_;  // the keys of each open object; none for an array
};

}  // namespace

void refuse_ambiguous_json(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) {
    refuse(text, 0, "a byte order mark");
  }
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos) {
    refuse(text, at, "a NUL");
  }
  const char* reached = text.data();
  KeyCheck check(text, reached);
  const char* const end = text.data() + text.size();
  static_cast<void>(Json::sax_parse(TellingIterator(text.data(), &reached), TellingIterator(end, &reached),
                                    &check));  // a fault of the grammar is left to `parse_json`
}

}  // namespace pkgfs::webc
