// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <iosfwd>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/function_ref.h"

namespace pkgfs::webc {

struct Manifest;

/// Prints one JSON document piece by piece, in the format of nlohmann's `dump`. So a large document needs neither a
/// second copy of its values nor its whole text in memory. Bytes that aren't UTF-8 become U+FFFD, and hidden characters
/// become `\uNNNN` (core/base/printable.h). Throws Error(kInterrupted) (core/base/cancel.h), and then leaves the
/// document unfinished. `out` must outlive this.
class JsonWriter {
 public:
  struct Style {
    bool indent;  // two blanks a level; else no blanks at all
    bool sort;    // the keys; else they keep their order
  };
  static constexpr Style kSorted{.indent = true, .sort = true};
  static constexpr Style kOrdered{.indent = true, .sort = false};
  static constexpr Style kCompact{.indent = false, .sort = false};

  struct Member {
    std::string_view key;
    FunctionRef<void()> write;  // prints the value
  };

  JsonWriter(std::ostream& out, const Style& style) : out_(out), style_(style) {}

  template <typename AnyJson>
  void value(const AnyJson& json);
  void text(std::string_view text);
  void object(const std::vector<Member>& members);
  /// A string that holds the compact document that `write` prints.
  void quoted(FunctionRef<void(JsonWriter& compact)> write);

  /// Prints an object with one member for each element of `range`: `key(element)` is its key, and `write(element)`
  /// prints its value.
  template <typename Range, typename Key, typename Write>
  void map(const Range& range, Key key, Write write);
  template <typename Range, typename Write>
  void list(const Range& range, Write write);

 private:
  void begin(char bracket);
  void next();  // in front of each element and key
  void key(std::string_view key);
  void end(char bracket);
  void new_line();
  void bytes(const nlohmann::json::binary_t& bytes);

  std::ostream& out_;
  Style style_;
  std::size_t depth_ = 0;
  bool is_empty_ = true;  // nothing was printed yet in the innermost array or object
};

/// Prints `manifest.to_json()`.
void write_manifest(JsonWriter& writer, const Manifest& manifest);

template <typename Range, typename Key, typename Write>
void JsonWriter::map(const Range& range, Key key_of, Write write) {
  begin('{');
  std::vector<const typename Range::value_type*> all;
  all.reserve(range.size());
  for (const auto& element : range) {
    all.push_back(&element);
  }
  if (style_.sort) {
    std::stable_sort(all.begin(), all.end(), [&](const auto* a, const auto* b) {
      return std::string_view(key_of(*a)) < std::string_view(key_of(*b));
    });
  }
  for (const auto* element : all) {
    key(key_of(*element));
    write(*element);
  }
  end('}');
}

template <typename Range, typename Write>
void JsonWriter::list(const Range& range, Write write) {
  begin('[');
  for (const auto& element : range) {
    next();
    write(element);
  }
  end(']');
}

}  // namespace pkgfs::webc
