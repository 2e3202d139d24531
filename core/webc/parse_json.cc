// SPDX-License-Identifier: MIT
#include "core/webc/parse_json.h"

#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/webc/bytes.h"

namespace pkgfs::webc {
namespace {

/// The characters of the text. nlohmann reads a string of any length without asking the handler, so reading them also
/// looks whether the work is cancelled.
class Characters {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  explicit Characters(const char* at) : at_(at) {}

  const char& operator*() const { return *at_; }
  Characters& operator++() {
    constexpr std::uintptr_t kBetweenPolls = 1U << 16U;
    if (reinterpret_cast<std::uintptr_t>(++at_) % kBetweenPolls == 0) {
      throw_if_cancelled();
    }
    return *this;
  }
  bool operator==(const Characters& other) const = default;

 private:
  const char* at_;
};

/// `what` of an exception of nlohmann, "[json.exception.parse_error.101] parse error at …", as a message. It quotes the
/// text that is wrong, of any length.
std::string message_of(std::string_view what) {
  const std::size_t end = what.find("] ");
  what.remove_prefix(end == std::string_view::npos ? 0 : end + 2);
  return shortened(what, 300);
}

class Handler final : public nlohmann::json_sax<Json> {
 public:
  explicit Handler(JsonBuilder& builder) : builder_(builder) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
  bool binary(binary_t& /*value*/) override { return false; }  // JSON has none
  bool string(string_t& value) override {
    builder_.text(value);  // a copy: the parser's own string has room for the longest one before
    return true;
  }
  bool key(string_t& value) override {
    builder_.key(value);
    return true;
  }
  bool start_object(std::size_t /*elements*/) override {
    builder_.open_object();
    return true;
  }
  bool start_array(std::size_t /*elements*/) override {
    builder_.open_array();
    return true;
  }
  bool end_object() override {
    builder_.close();
    return true;
  }
  bool end_array() override {
    builder_.close();
    return true;
  }
  bool parse_error(std::size_t /*position*/, const std::string& /*last*/, const Json::exception& error) override {
    throw Error(ErrorCode::kCorrupt, message_of(error.what()));
  }

 private:
  bool add(Json value) {
    builder_.value(std::move(value));
    return true;
  }

  JsonBuilder& builder_;
};

}  // namespace

Json parse_json(std::string_view text, const JsonLimits& limits) {
  JsonBuilder builder(limits, text.size());
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw Error(ErrorCode::kCorrupt, "a NUL at byte " + std::to_string(nul + 1));  // nlohmann takes it for the end
  }
  if (limits.is_strict && text.starts_with("\xef\xbb\xbf")) {
    throw Error(ErrorCode::kCorrupt, "a byte order mark");
  }
  Handler handler(builder);
  Json::sax_parse(Characters(std::to_address(text.begin())), Characters(std::to_address(text.end())), &handler);
  return builder.take();
}

std::optional<Json> parse_object(std::string_view text) {
  try {
    if (Json value(parse_json(text)); value.is_object()) {
      return value;
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs::webc
