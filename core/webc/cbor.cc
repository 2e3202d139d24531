// SPDX-License-Identifier: MIT
// A reader of our own: nlohmann's recurses for every array, refuses tags in places where the reference takes them and
// does not know `undefined`.
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
#include "core/webc/manifest.h"

namespace pkgfs::webc {
namespace {

using Object = Json::object_t;
// Appending to the vector below an ordered_map, which itself would look for the key first, in linear time.
using Members = std::vector<Object::value_type, Object::allocator_type>;

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
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Json read() {
    Json result;
    bool done = false;
    while (!done) {
      std::optional<Json> item = next_item();
      if (!item) {  // an array or map was opened: its items come next
        continue;
      }
      result = std::move(*item);
      done = store(result);
    }
    return result;
  }

 private:
  struct Level {
    Json container;
    std::uint64_t left = 0;  // items still to come, kIndefinite until a break
    std::size_t start = 0;
    std::string key;
    bool has_key = false;
  };

  [[noreturn]] static void refuse(const std::string& what, std::size_t at) {
    throw Error(ErrorCode::kCorrupt, "CBOR offset " + hex(at) + ": " + what);
  }

  std::uint64_t big_endian(std::size_t count, std::size_t item) {
    if (count > bytes_.size() - at_) {
      refuse("ends in the middle of an item", item);
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value = (value << 8U) | static_cast<std::uint64_t>(bytes_[at_++]);
    }
    return value;
  }

  Head head() {
    const std::size_t item = at_;
    const auto first = static_cast<unsigned>(big_endian(1, item));
    Head head{.major = first >> 5U, .info = first & 0x1fU};
    if (head.info < 24) {
      head.value = head.info;
    } else if (head.info < 28) {
      head.value = big_endian(std::size_t{1} << (head.info - 24), item);
    } else if (head.info == 31 && head.major >= 2 && head.major != 6) {
      head.value = kIndefinite;
    } else {
      refuse("reserved form of an item", item);
    }
    return head;
  }

  // The bytes of a string; those of indefinite length are put together from their chunks.
  std::string string(const Head& first, std::size_t item) {
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
          refuse("a string of indefinite length holds something else than its chunks", item);
        }
      }
      if (part.value > bytes_.size() - at_) {
        refuse("a string of " + std::to_string(part.value) + " bytes is longer than what is left", item);
      }
      const std::string_view piece = as_text(bytes_.subspan(at_, part.value));
      if (part.major == 3 && !is_utf8(piece)) {
        refuse("text is not UTF-8", item);
      }
      text += piece;
      at_ += part.value;
      if (!chunked) {
        return text;
      }
    }
  }

  void open(const Head& head, std::size_t item) {
    const bool map = head.major == 5;
    if (levels_.size() >= limits::kCborDepth) {
      refuse("nested deeper than " + std::to_string(limits::kCborDepth) + " levels", item);
    }
    // Each item needs a byte at least, so a count above what is left is a lie.
    if (head.info != 31 && head.value > (bytes_.size() - at_) / (map ? 2 : 1)) {
      refuse("claims " + std::to_string(head.value) + (map ? " entries" : " items") + ", more than bytes are left",
             item);
    }
    levels_.push_back({.container = map ? Json(Json::object()) : Json(Json::array()),
                       .left = head.info == 31 ? kIndefinite : head.value,
                       .start = item,
                       .key = {},
                       .has_key = false});
  }

  Json close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    if (level.container.is_object() && level.container.size() > 1) {
      const auto& members = level.container.get_ref<const Object&>();
      std::vector<std::string_view> keys;
      keys.reserve(members.size());
      for (const auto& member : members) {
        keys.push_back(member.first);
      }
      std::sort(keys.begin(), keys.end());
      const auto twin = std::adjacent_find(keys.begin(), keys.end());
      if (twin != keys.end()) {
        refuse("duplicate field " + in_quotes(*twin), level.start);
      }
    }
    return std::move(level.container);
  }

  Json simple(const Head& head, std::size_t item) {
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
        refuse(head.info == 31 ? "a break where an item should be" : "unknown simple value", item);
    }
  }

  // A whole item; nothing when an array or map was opened.
  std::optional<Json> next_item() {
    if (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.left == 0) {
        return close();
      }
      if (level.left == kIndefinite && !level.has_key && at_ < bytes_.size() && bytes_[at_] == std::byte{0xff}) {
        ++at_;
        return close();
      }
    }
    std::size_t item = at_;
    Head head = this->head();
    while (head.major == 6) {  // tags say what an item means; nothing we interpret needs them
      item = at_;
      head = this->head();
    }
    if (++items_ > limits::kCborItems) {
      refuse("more than " + std::to_string(limits::kCborItems) + " items", item);
    }
    const bool key = !levels_.empty() && levels_.back().container.is_object() && !levels_.back().has_key;
    if (key && head.major != 3) {
      refuse("a key is not text", item);
    }
    switch (head.major) {
      case 0:
        return Json(head.value);
      case 1:
        // -1 - value; below int64 only a float can hold it.
        return head.value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
                   ? Json(-1 - static_cast<std::int64_t>(head.value))
                   : Json(-1.0 - static_cast<double>(head.value));
      case 2: {
        const std::string bytes = string(head, item);
        return Json(Json::binary({bytes.begin(), bytes.end()}));
      }
      case 3:
        return Json(string(head, item));
      case 4:
      case 5:
        open(head, item);
        return std::nullopt;
      default:
        return simple(head, item);
    }
  }

  // Puts a finished item where it belongs. True when it is the outermost one.
  bool store(Json& item) {
    if (levels_.empty()) {
      return true;
    }
    Level& level = levels_.back();
    if (level.container.is_array()) {
      level.container.get_ref<Json::array_t&>().push_back(std::move(item));
    } else if (!level.has_key) {
      level.key = std::move(item.get_ref<std::string&>());
      level.has_key = true;
      return false;
    } else {
      static_cast<Members&>(level.container.get_ref<Object&>()).emplace_back(std::move(level.key), std::move(item));
      level.has_key = false;
    }
    if (level.left != kIndefinite) {
      --level.left;
    }
    return false;
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::size_t items_ = 0;
  std::vector<Level> levels_;
};

}  // namespace

Json parse_cbor(std::span<const std::byte> cbor) { return Reader(cbor).read(); }

}  // namespace pkgfs::webc
