// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/webc/json_builder.h"

/// Reading typed fields from a JSON value. All functions throw Error(kCorrupt) in the words of the reference's decoder:
/// "missing field `x`", "invalid type: null, expected a string". `where` is the path of the value ("commands.sh"); it
/// begins the message.
namespace pkgfs::webc {

/// The member `key` of the object `map`; null if there is none.
[[nodiscard]] const Json* member(const Json& map, std::string_view key);
[[nodiscard]] Json* member(Json& map, std::string_view key);
[[nodiscard]] const Json& required(const Json& map, std::string_view key, std::string_view where);
const Json& expect_map(const Json& value, std::string_view where);
const Json& expect_map(Json&& value, std::string_view where) = delete;  // the result refers to the argument
const Json& expect_list(const Json& value, std::string_view where);
const Json& expect_list(Json&& value, std::string_view where) = delete;
[[nodiscard]] const std::string& expect_text(const Json& value, std::string_view where);
[[nodiscard]] std::uint64_t expect_unsigned(const Json& value, std::string_view where);
/// The text of a member; nothing if the member is missing or null.
[[nodiscard]] std::optional<std::string> optional_text(const Json& map, std::string_view key, std::string_view where);

[[noreturn]] void wrong_type(const Json& value, std::string_view expected, std::string_view where);
/// The path of the member `key` of the value at `where`: "commands.sh".
[[nodiscard]] std::string below(std::string_view where, std::string_view key);

}  // namespace pkgfs::webc
