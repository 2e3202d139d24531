// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/limits.h"

namespace pkgfs::webc {

/// A JSON value that keeps the order of its keys, because the order of `use`, `commands` and `fs` has a meaning.
using Json = nlohmann::ordered_json;

/// The most that a document from outside may cost. Nesting is limited by `limits::kJsonDepth` for all documents.
struct JsonLimits {
  std::size_t bytes;   // length of the text
  std::size_t items;   // values and keys
  std::size_t growth;  // bytes of memory for each byte of text, but at least `limits::kJsonMemory` in all
  std::size_t memory;  // bytes of memory at most, whatever the length
  bool is_strict;      // a key that stands twice in one object is an error; else its last value is taken
};

/// Makes a JSON value from the events of a parser, within limits. Elements and members wait on a stack until their
/// array or object ends. So each array and object is allocated once, with its final size. The time is linear in the
/// number of items, and n log n in the keys of one object, whatever the nesting.
///
/// nlohmann's own builder is slower. It compares each key with all keys before it. When the vector of an object grows,
/// it also copies the members with everything below them.
///
/// All functions throw Error(kCorrupt) that names the limit; the caller adds the place. Not thread-safe.
class JsonBuilder {
 public:
  /// `length`: of the text in bytes.
  JsonBuilder(const JsonLimits& limits, std::size_t length);

  /// A number, boolean, null or byte string.
  void value(Json value);
  void text(std::string text);
  /// Inside an object, each value has a key in front of it.
  void key(std::string name);
  void open_array() { open(false); }
  void open_object() { open(true); }
  /// Ends the innermost array or object. With `JsonLimits::is_strict`, also throws for a key that stands twice. Throws
  /// Error(kInterrupted) (core/base/cancel.h).
  void close();

  /// Open arrays and objects.
  [[nodiscard]] std::size_t depth() const { return open_.size(); }
  /// The whole value, once every array and object is closed.
  [[nodiscard]] Json take();

 private:
  struct Level {
    bool is_object;
    std::size_t first_value;
    std::size_t first_key;
  };

  void open(bool is_object);
  /// Counts an item that takes so much memory.
  void count(std::size_t memory);
  [[nodiscard]] Json object_from(const Level& level);
  void settle_equal_keys(const Level& level);

  JsonLimits limits_;
  std::size_t length_;
  std::size_t allowed_;  // bytes of memory
  std::size_t items_ = 0;
  std::size_t memory_ = 0;
  std::vector<Level> open_;
  std::deque<Json> values_;
  std::deque<std::string> keys_;
};

}  // namespace pkgfs::webc
