// SPDX-License-Identifier: MIT
#include "core/webc/json_fields.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"

namespace pkgfs::webc {
namespace {

std::string prefix(std::string_view where) { return where.empty() ? std::string() : std::string(where) + ": "; }

std::string kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return value.get<bool>() ? "boolean `true`" : "boolean `false`";
    case Json::value_t::string:
      return "string";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "integer `" + value.dump() + "`";
    case Json::value_t::number_float:
      return "floating point `" + value.dump() + "`";
    case Json::value_t::array:
      return "sequence";
    case Json::value_t::object:
      return "map";
    case Json::value_t::binary:
      return "byte array";
    case Json::value_t::discarded:
      break;
  }
  return "nothing";
}

}  // namespace

const Json* member(const Json& map, std::string_view key) {
  for (const auto& [name, value] : map.get_ref<const Json::object_t&>()) {
    if (name == key) {
      return &value;
    }
  }
  return nullptr;
}

Json* member(Json& map, std::string_view key) { return const_cast<Json*>(member(std::as_const(map), key)); }

const Json& required(const Json& map, std::string_view key, std::string_view where) {
  const Json* value = member(map, key);
  if (value == nullptr) {
    throw Error(ErrorCode::kCorrupt, prefix(where) + "missing field `" + std::string(key) + "`");
  }
  return *value;
}

const Json& expect_map(const Json& value, std::string_view where) {
  if (!value.is_object()) {
    wrong_type(value, "a map", where);
  }
  return value;
}

const Json& expect_list(const Json& value, std::string_view where) {
  if (!value.is_array()) {
    wrong_type(value, "a sequence", where);
  }
  return value;
}

const std::string& expect_text(const Json& value, std::string_view where) {
  if (!value.is_string()) {
    wrong_type(value, "a string", where);
  }
  return value.get_ref<const std::string&>();
}

std::uint64_t expect_unsigned(const Json& value, std::string_view where) {
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>();
  }
  if (value.is_number_integer() && value.get<std::int64_t>() >= 0) {
    return static_cast<std::uint64_t>(value.get<std::int64_t>());
  }
  wrong_type(value, "an unsigned integer", where);
}

std::optional<std::string> optional_text(const Json& map, std::string_view key, std::string_view where) {
  const Json* value = member(map, key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  return expect_text(*value, below(where, key));
}

void wrong_type(const Json& value, std::string_view expected, std::string_view where) {
  throw Error(ErrorCode::kCorrupt,
              prefix(where) + "invalid type: " + kind_of(value) + ", expected " + std::string(expected));
}

std::string below(std::string_view where, std::string_view key) {
  return where.empty() ? std::string(key) : std::string(where) + "." + std::string(key);
}

}  // namespace pkgfs::webc
