// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/webc/manifest.h"

/// Reading typed fields from a JSON value. All throw Error(kCorrupt) with the words of the reference's decoder
/// ("missing field `x`", "invalid type: null, expected a string"); `where` goes in front: "commands.sh".
namespace pkgfs::webc {

/// A JSON text that comes from elsewhere, nested at most as deep as CBOR may be (base/limits.h): copying and printing a
/// value recurse. Throws Error(kCorrupt) with the byte at which it is wrong.
[[nodiscard]] Json parse_json(std::string_view text);

/// A JSON text that comes from elsewhere, nested at most as deep as CBOR may be (base/limits.h): copying and printing a
/// value recurse. Throws Error(kCorrupt) with the byte at which it is wrong.
[[nodiscard]] Json parse_json(std::string_view text);

/// The member of the map `map`; null when it isn't there.
[[nodiscard]] const Json* member(const Json& map, std::string_view key);
[[nodiscard]] const Json& required(const Json& map, std::string_view key, std::string_view where);
const Json& expect_map(const Json& value, std::string_view where);
const Json& expect_map(Json&& value, std::string_view where) = delete;  // what is returned must live on
const Json& expect_list(const Json& value, std::string_view where);
const Json& expect_list(Json&& value, std::string_view where) = delete;
[[nodiscard]] const std::string& expect_text(const Json& value, std::string_view where);
[[nodiscard]] std::uint64_t expect_unsigned(const Json& value, std::string_view where);
/// Text, or nothing when the member is missing or null.
[[nodiscard]] std::optional<std::string> optional_text(const Json& map, std::string_view key, std::string_view where);

[[noreturn]] void wrong_type(const Json& value, std::string_view expected, std::string_view where);
[[nodiscard]] std::string below(std::string_view where, std::string_view key);

}  // namespace pkgfs::webc
