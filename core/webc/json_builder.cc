// SPDX-License-Identifier: MIT
#include "core/webc/json_builder.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/webc/bytes.h"

namespace pkgfs::webc {
namespace {

// What items take on a 64-bit machine, those of the allocator included.
constexpr std::size_t kValueMemory = 2 * sizeof(Json);  // at its place, and on the stack before
constexpr std::size_t kContainerMemory = 32;
constexpr std::size_t kStringMemory = sizeof(std::string) + 16;

std::size_t memory_of(const std::string& text) {
  const bool is_inside = text.capacity() <= std::string().capacity();
  return kStringMemory + (is_inside ? 0 : text.capacity() + 16);
}

[[noreturn]] void refuse(std::string what) { throw Error(ErrorCode::kCorrupt, std::move(what)); }

}  // namespace

JsonBuilder::JsonBuilder(const JsonLimits& limits, std::size_t length)
    : limits_(limits),
      length_(length),
      allowed_(std::min(std::max(limits::kJsonMemory, length * limits.growth), limits.memory)) {
  if (length > limits.bytes) {
    refuse("longer than " + std::to_string(limits.bytes) + " bytes");
  }
}

void JsonBuilder::count(std::size_t memory) {
  if (++items_ > limits_.items) {
    refuse("more than " + std::to_string(limits_.items) + " items");
  }
  memory_ += memory;
  if (memory_ > allowed_) {
    refuse("its " + std::to_string(length_) + " bytes would take more than " + std::to_string(allowed_) +
           " bytes of memory");
  }
}

void JsonBuilder::value(Json value) {
  const bool is_binary = value.is_binary();
  count(kValueMemory + (is_binary ? kStringMemory + kContainerMemory + value.get_binary().capacity() : 0));
  values_.push_back(std::move(value));
}

void JsonBuilder::text(std::string text) {
  count(kValueMemory + memory_of(text));
  values_.emplace_back(std::move(text));
}

void JsonBuilder::key(std::string name) {
  count(memory_of(name));
  keys_.push_back(std::move(name));
}

void JsonBuilder::open(bool is_object) {
  if (open_.size() >= limits::kJsonDepth) {
    refuse("nested deeper than " + std::to_string(limits::kJsonDepth) + " levels");
  }
  count(kValueMemory + kContainerMemory);
  open_.push_back({.is_object = is_object, .first_value = values_.size(), .first_key = keys_.size()});
}

void JsonBuilder::close() {
  const Level level = open_.back();
  open_.pop_back();
  const auto first = values_.begin() + static_cast<std::ptrdiff_t>(level.first_value);
  Json whole = level.is_object ? object_from(level)
                               : Json(Json::array_t(std::move_iterator(first), std::move_iterator(values_.end())));
  values_.erase(first, values_.end());
  keys_.erase(keys_.begin() + static_cast<std::ptrdiff_t>(level.first_key), keys_.end());
  values_.push_back(std::move(whole));
}

Json JsonBuilder::object_from(const Level& level) {
  settle_equal_keys(level);
  // Appending to the vector below an ordered_map, which itself would look for the key first, in linear time.
  using Members = std::vector<Json::object_t::value_type, Json::object_t::allocator_type>;
  Json::object_t object;
  Members& members = object;
  members.reserve(values_.size() - level.first_value);
  for (std::size_t i = level.first_value; i < values_.size(); ++i) {
    if (!values_[i].is_discarded()) {
      members.emplace_back(std::move(keys_[level.first_key + i - level.first_value]), std::move(values_[i]));
    }
  }
  return Json(std::move(object));
}

/// Of equal keys, the first keeps its place and gets the value of the last. The values of the others are discarded.
void JsonBuilder::settle_equal_keys(const Level& level) {
  if (keys_.size() - level.first_key < 2) {
    return;
  }
  std::vector<std::uint32_t> order(keys_.size() - level.first_key);
  std::iota(order.begin(), order.end(), 0U);
  const auto key_of = [&](std::uint32_t i) -> const std::string& { return keys_[level.first_key + i]; };
  const auto value_of = [&](std::uint32_t i) -> Json& { return values_[level.first_value + i]; };
  std::size_t compared = 0;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    constexpr std::size_t kBetweenPolls = 1024;
    if (++compared % kBetweenPolls == 0) {
      throw_if_cancelled();
    }
    const int difference = key_of(a).compare(key_of(b));
    return difference != 0 ? difference < 0 : a < b;
  });
  for (std::size_t begin = 0, end = 1; begin < order.size(); begin = end++) {
    while (end < order.size() && key_of(order[end]) == key_of(order[begin])) {
      if (limits_.is_strict) {
        refuse("duplicate field " + in_quotes(key_of(order[begin])));
      }
      value_of(order[begin]) = std::exchange(value_of(order[end]), Json(Json::value_t::discarded));
      ++end;
    }
  }
}

Json JsonBuilder::take() { return std::move(values_.front()); }

}  // namespace pkgfs::webc
