// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/net/http_message.h"

/// Tells which bytes of a file a response has, and of which version of the file (RFC 9110, 8.8 and 14).
namespace pkgfs {

/// The value of a Content-Range header.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;              // included
  std::optional<std::uint64_t> total;  // size of the whole file; none for `*`
};

/// Parses `bytes {first}-{last}/{total or *}`. None for any other text, and for one that contradicts itself.
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view text);

/// The size of the whole file from `bytes */{total}`, which a response with the status 416 has. None for any other
/// text.
[[nodiscard]] std::optional<std::uint64_t> parse_unsatisfied_range(std::string_view text);

/// The value for an If-Range header (RFC 9110, 13.1.5): a strong ETag, or the Last-Modified date if there is no ETag.
/// None if the ETag is weak, because that can't be used.
[[nodiscard]] std::optional<std::string> validator_of(const HttpResponse& head);
/// Whether the body is compressed, so that its bytes aren't those of the file.
[[nodiscard]] bool is_encoded(const HttpResponse& head);
/// The size of the file that a response with the status 200 announces. None if the response announces no size, or if
/// its body is compressed.
[[nodiscard]] std::optional<std::uint64_t> announced_size(const HttpResponse& head);
/// The Last-Modified date, if the file was more than a second old when the server sent it; else none. Two versions that
/// are made within one second would have the same date.
[[nodiscard]] std::optional<std::string> settled_date(const HttpResponse& head);

}  // namespace pkgfs
