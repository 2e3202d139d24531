// SPDX-License-Identifier: MIT
// A reader of our own, though nlohmann::sax_parse reads CBOR and a handler can limit the depth of arrays and maps
// there. It recurses for the chunks of a text without asking the handler, so that a manifest of 0x7f bytes overflows
// the stack, and it refuses tags and `undefined`, which the reference accepts.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/webc/bytes.h"
#include "core/webc/json_builder.h"
#include "core/webc/manifest.h"

namespace pkgfs::webc {
namespace {

constexpr JsonLimits kLimits{.bytes = std::numeric_limits<std::size_t>::max(),  // the caller knows the section
                             .items = limits::kManifestItems,
                             .growth = limits::kCborGrowth,
                             .memory = limits::kManifestMemory,
                             .is_strict = true};
constexpr std::byte kBreak{0xff};
constexpr std::uint64_t kIndefinite = std::numeric_limits<std::uint64_t>::max();

struct Head {
  unsigned major = 0;
  unsigned info = 0;
  std::uint64_t value = 0;
};

double half_to_double(std::uint64_t bits) {
  const auto exponent = static_cast<int>((bits >> 10U) & 0x1fU);
  const auto mantissa = static_cast<double>(bits & 0x3ffU);
  double value = 0;
  if (exponent == 0) {
    value = std::ldexp(mantissa, -24);
  } else if (exponent != 31) {
    value = std::ldexp(mantissa + 1024, exponent - 25);
  } else {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  return (bits & 0x8000U) != 0 ? -value : value;
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes), builder_(kLimits, bytes.size()) {}

  Json read() {
    try {
      do {
        read_item();
      } while (!levels_.empty());
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCorrupt) {
        throw;
      }
      throw Error(ErrorCode::kCorrupt, "CBOR offset " + hex(item_) + ": " + error.message());
    }
    return builder_.take();
  }

 private:
  struct Level {
    bool is_map;
    bool has_key;
    std::uint64_t left;  // values still to come, kIndefinite until a break
    std::size_t start;
  };

  [[noreturn]] static void refuse(const std::string& what) { throw Error(ErrorCode::kCorrupt, what); }

  std::uint64_t big_endian(std::size_t count) {
    if (count > bytes_.size() - at_) {
      refuse("ends in the middle of an item");
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value = (value << 8U) | static_cast<std::uint64_t>(bytes_[at_++]);
    }
    return value;
  }

  Head head() {
    const auto first = static_cast<unsigned>(big_endian(1));
    Head head{.major = first >> 5U, .info = first & 0x1fU};
    if (head.info < 24) {
      head.value = head.info;
    } else if (head.info < 28) {
      head.value = big_endian(std::size_t{1} << (head.info - 24));
    } else if (head.info == 31 && head.major >= 2 && head.major != 6) {
      head.value = kIndefinite;
    } else {
      refuse("reserved form of an item");
    }
    return head;
  }

  // The bytes of a string; those of indefinite length are put together from their chunks.
  std::string string(const Head& first) {
    std::string text;
    const bool chunked = first.info == 31;
    Head part = first;
    while (true) {
      if (chunked) {
        part = head();
        if (part.major == 7 && part.info == 31) {
          return text;
        }
        if (part.major != first.major || part.info == 31) {
          refuse("a string of indefinite length holds something else than its chunks");
        }
      }
      if (part.value > bytes_.size() - at_) {
        refuse("a string of " + std::to_string(part.value) + " bytes is longer than what is left");
      }
      const std::string_view piece = as_text(bytes_.subspan(at_, part.value));
      if (part.major == 3 && !is_utf8(piece)) {
        refuse("text is not UTF-8");
      }
      text += piece;
      at_ += part.value;
      if (!chunked) {
        return text;
      }
    }
  }

  void open(const Head& head) {
    const bool is_map = head.major == 5;
    // Each item takes at least one byte, so a count above the bytes left is false.
    if (head.info != 31 && head.value > (bytes_.size() - at_) / (is_map ? 2 : 1)) {
      refuse("claims " + std::to_string(head.value) + (is_map ? " entries" : " items") + ", more than bytes are left");
    }
    is_map ? builder_.open_object() : builder_.open_array();
    levels_.push_back(
        {.is_map = is_map, .has_key = false, .left = head.info == 31 ? kIndefinite : head.value, .start = item_});
  }

  /// Ends the innermost array or map if it is complete.
  bool close() {
    const Level& level = levels_.back();
    const bool at_break = level.left == kIndefinite && !level.has_key && at_ < bytes_.size() && bytes_[at_] == kBreak;
    if (level.left != 0 && !at_break) {
      return false;
    }
    at_ += at_break ? 1 : 0;
    item_ = level.start;
    levels_.pop_back();
    builder_.close();
    count_value();
    return true;
  }

  /// Counts a whole value in its array or map.
  void count_value() {
    if (levels_.empty()) {
      return;
    }
    Level& level = levels_.back();
    level.has_key = false;
    if (level.left != kIndefinite) {
      --level.left;
    }
  }

  Json simple(const Head& head) {
    switch (head.info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
      case 23:  // undefined
        return nullptr;
      case 25:
        return half_to_double(head.value);
      case 26:
        return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(head.value)));
      case 27:
        return std::bit_cast<double>(head.value);
      default:
        refuse(head.info == 31 ? "a break where an item should be" : "unknown simple value");
    }
  }

  Json number(const Head& head) {
    if (head.major == 0) {
      return head.value;
    }
    // -1 - value; below int64 only a float can hold it.
    return head.value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
               ? Json(-1 - static_cast<std::int64_t>(head.value))
               : Json(-1.0 - static_cast<double>(head.value));
  }

  /// Reads a key, a whole value, the head of an array or map, or ends an array or map.
  void read_item() {
    if (!levels_.empty() && close()) {
      return;
    }
    Head head;
    do {  // a tag says what an item means; no value of a manifest needs one
      item_ = at_;
      head = this->head();
    } while (head.major == 6);
    if (!levels_.empty() && levels_.back().is_map && !levels_.back().has_key) {
      if (head.major != 3) {
        refuse("a key is not text");
      }
      builder_.key(string(head));
      levels_.back().has_key = true;
      return;
    }
    switch (head.major) {
      case 0:
      case 1:
        builder_.value(number(head));
        break;
      case 2: {
        const std::string bytes = string(head);
        builder_.value(Json::binary({bytes.begin(), bytes.end()}));
        break;
      }
      case 3:
        builder_.text(string(head));
        break;
      case 4:
      case 5:
        open(head);
        return;
      default:
        builder_.value(simple(head));
    }
    count_value();
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::size_t item_ = 0;  // the offset that messages name
  JsonBuilder builder_;
  std::vector<Level> levels_;
};

}  // namespace

Json parse_cbor(std::span<const std::byte> cbor) { return Reader(cbor).read(); }

}  // namespace pkgfs::webc
