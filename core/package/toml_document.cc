// SPDX-License-Identifier: MIT
#include "core/package/toml_document.h"

#include <algorithm>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/printable.h"

namespace pkgfs {
namespace {

constexpr std::size_t kShownLineBytes = 200;  // longer lines are not quoted in messages

bool is_key_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == ' ' || c == '\t';
}

/// The index behind the string that starts at `start`. An unfinished string ends with its line or the text.
std::size_t skip_string(std::string_view text, std::size_t start) {
  const char quote = text[start];
  const std::string triple(3, quote);
  const bool multiline = text.substr(start, 3) == triple;
  std::size_t i = start + (multiline ? 3 : 1);
  while (i < text.size()) {
    if (quote == '"' && text[i] == '\\') {
      i += 2;
    } else if (multiline && text.substr(i, 3) == triple) {
      return i + 3;
    } else if (!multiline && text[i] == quote) {
      return i + 1;
    } else if (!multiline && text[i] == '\n') {
      return i;
    } else {
      ++i;
    }
  }
  return text.size();
}

std::string float_text(double value) {
  std::ostringstream out;
  out << value;
  const std::string text = out.str();
  return text.find_first_of(".ein") == std::string::npos ? text + ".0" : text;
}

/// The kind of a value, in the words of the reference's decoder.
std::string describe(const toml::node& node) {
  if (const auto* integer = node.as_integer()) {
    return "integer `" + std::to_string(integer->get()) + "`";
  }
  if (const auto* real = node.as_floating_point()) {
    return "floating point `" + float_text(real->get()) + "`";
  }
  if (const auto* boolean = node.as_boolean()) {
    return boolean->get() ? "boolean `true`" : "boolean `false`";
  }
  if (const auto* text = node.as_string()) {
    return "string \"" + text->get() + "\"";
  }
  if (node.is_array()) {
    return "sequence";
  }
  return node.is_table() ? "map" : "datetime";
}

}  // namespace

TomlDocument::TomlDocument(std::string_view text) : text_(text) {
  if (text.size() > kMaxBytes) {
    throw Error(ErrorCode::kCorrupt, "the file has " + std::to_string(text.size()) + " bytes, more than the " +
                                         std::to_string(kMaxBytes) + " that are read");
  }
  check_nesting();
  try {
    root_ = toml::parse(text);
  } catch (const toml::parse_error& error) {
    reject_at(error.source().begin.line, error.source().begin.column, 1, error.description());
  }
}

void TomlDocument::check_nesting() const {
  std::size_t depth = 0;
  std::size_t parts = 1;
  std::size_t line = 1;
  std::size_t line_start = 0;
  for (std::size_t i = 0; i < text_.size();) {
    const char c = text_[i];
    if (c == '"' || c == '\'') {
      const std::size_t end = skip_string(text_, i);
      for (; i < std::min(end, text_.size()); ++i) {
        if (text_[i] == '\n') {
          ++line;
          line_start = i + 1;
        }
      }
      continue;
    }
    if (c == '#') {
      i = std::min(text_.find('\n', i), text_.size());
      continue;
    }
    if (c == '.') {
      ++parts;
    } else if (!is_key_char(c)) {
      parts = 1;
    }
    if (c == '[' || c == '{') {
      ++depth;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
    if (depth > kMaxNesting || parts > kMaxKeyParts) {
      reject_at(line, i - line_start + 1, 1, "nested too deep");
    }
    ++i;
    if (c == '\n') {
      ++line;
      line_start = i;
    }
  }
}

void TomlDocument::reject_at(std::size_t line, std::size_t column, std::size_t length, std::string_view reason) const {
  std::string_view rest = text_;
  for (std::size_t i = 1; i < line; ++i) {
    const std::size_t end = rest.find('\n');
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  std::string shown(rest.substr(0, std::min(rest.find('\n'), kShownLineBytes + 1)));
  if (shown.ends_with('\r')) {
    shown.pop_back();
  }
  // The file may contain control sequences, which must not reach a terminal. One "?" for each keeps the columns.
  std::replace_if(
      shown.begin(), shown.end(),
      [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }, '?');

  const std::string number = std::to_string(line);
  std::string message = "TOML parse error at line " + number + ", column " + std::to_string(column) + "\n";
  if (shown.size() <= kShownLineBytes) {
    const std::string gutter(number.size() + 1, ' ');
    message += gutter + "|\n" + number + " | " + shown + "\n" + gutter + "|" + std::string(column, ' ');
    const std::size_t room = shown.size() >= column ? shown.size() - column + 1 : 1;
    message += std::string(std::clamp<std::size_t>(length, 1, room), '^') + "\n";
  }
  throw Error(ErrorCode::kCorrupt, message + printable(reason) + "\n", Error::LineBreaks::kKept);
}

void TomlDocument::reject(const toml::node& node, std::string_view reason) const {
  const toml::source_region& source = node.source();
  std::size_t length = 1;
  if (source.end.line == source.begin.line && source.end.column > source.begin.column) {
    length = source.end.column - source.begin.column;
  } else if (source.end.line > source.begin.line) {
    length = kShownLineBytes;
  }
  reject_at(std::max<std::size_t>(source.begin.line, 1), std::max<std::size_t>(source.begin.column, 1), length, reason);
}

void TomlDocument::reject_type(const toml::node& node, std::string_view expected) const {
  reject(node, "invalid type: " + describe(node) + ", expected " + std::string(expected));
}

std::string TomlDocument::as_text(const toml::node& node, std::string_view expected) const {
  if (const auto* value = node.as_string()) {
    return value->get();
  }
  reject_type(node, expected);
}

std::string TomlDocument::as_path(const toml::node& node) const {
  std::string path = as_text(node, "path string");
  if (path.find('\0') != std::string::npos) {
    reject(node, "a path can't contain a NUL");
  }
  return path;
}

std::optional<std::string> TomlDocument::text(const toml::table& table, std::string_view key) const {
  const toml::node* node = table.get(key);
  return node == nullptr ? std::nullopt : std::optional(as_text(*node));
}

std::string TomlDocument::required(const toml::table& table, std::string_view key,
                                   std::optional<std::string> value) const {
  if (!value) {
    reject(table, "missing field `" + std::string(key) + "`");
  }
  return *std::move(value);
}

std::string TomlDocument::required_text(const toml::table& table, std::string_view key) const {
  return required(table, key, text(table, key));
}

std::optional<std::string> TomlDocument::path(const toml::table& table, std::string_view key) const {
  const toml::node* node = table.get(key);
  return node == nullptr ? std::nullopt : std::optional(as_path(*node));
}

std::string TomlDocument::required_path(const toml::table& table, std::string_view key) const {
  return required(table, key, path(table, key));
}

bool TomlDocument::boolean(const toml::table& table, std::string_view key) const {
  const toml::node* node = table.get(key);
  if (node == nullptr) {
    return false;
  }
  const auto* value = node->as_boolean();
  if (value == nullptr) {
    reject_type(*node, "a boolean");
  }
  return value->get();
}

const toml::table* TomlDocument::table(const toml::table& parent, std::string_view key,
                                       std::string_view expected) const {
  const toml::node* node = parent.get(key);
  if (node != nullptr && !node->is_table()) {
    reject_type(*node, expected);
  }
  return node == nullptr ? nullptr : node->as_table();
}

std::vector<const toml::table*> TomlDocument::tables(const toml::table& parent, std::string_view key,
                                                     std::string_view expected) const {
  std::vector<const toml::table*> result;
  const toml::node* node = parent.get(key);
  if (node == nullptr) {
    return result;
  }
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    reject_type(*node, "a sequence");
  }
  for (const toml::node& element : *array) {
    if (!element.is_table()) {
      reject_type(element, expected);
    }
    result.push_back(element.as_table());
  }
  return result;
}

std::vector<std::string> TomlDocument::paths(const toml::table& parent, std::string_view key) const {
  std::vector<std::string> result;
  const toml::node* node = parent.get(key);
  if (node == nullptr) {
    return result;
  }
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    reject_type(*node, "a sequence");
  }
  for (const toml::node& element : *array) {
    result.push_back(as_path(element));
  }
  return result;
}

std::vector<std::pair<std::string, const toml::node*>> in_file_order(const toml::table& table) {
  // toml++ sorts members by key; the position of the key gives their order in the file.
  struct Member {
    toml::source_position position;
    std::pair<std::string, const toml::node*> value;
  };
  std::vector<Member> members;
  for (auto&& [key, node] : table) {
    members.push_back({key.source().begin, {std::string(key.str()), &node}});
  }
  std::stable_sort(members.begin(), members.end(),
                   [](const Member& a, const Member& b) { return a.position < b.position; });
  std::vector<std::pair<std::string, const toml::node*>> result;
  result.reserve(members.size());
  for (Member& member : members) {
    result.push_back(std::move(member.value));
  }
  return result;
}

webc::Json toml_to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    // Keys are unique, so the look-up is skipped that makes large ordered maps slow.
    using Members = std::vector<webc::Json::object_t::value_type, webc::Json::object_t::allocator_type>;
    webc::Json::object_t members;
    for (const auto& [key, value] : in_file_order(*table)) {
      static_cast<Members&>(members).emplace_back(key, toml_to_json(*value));
    }
    return members;
  }
  if (const auto* array = node.as_array()) {
    webc::Json json = webc::Json::array();
    for (const toml::node& value : *array) {
      json.push_back(toml_to_json(value));
    }
    return json;
  }
  if (const auto* text = node.as_string()) {
    return text->get();
  }
  if (const auto* integer = node.as_integer()) {
    return integer->get();
  }
  if (const auto* real = node.as_floating_point()) {
    return real->get();
  }
  if (const auto* boolean = node.as_boolean()) {
    return boolean->get();
  }
  std::ostringstream date;
  if (const auto* day = node.as_date()) {
    date << *day;
  } else if (const auto* time = node.as_time()) {
    date << *time;
  } else if (const auto* both = node.as_date_time()) {
    date << *both;
  }
  return date.str();
}

}  // namespace pkgfs
