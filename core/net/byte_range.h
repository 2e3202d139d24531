// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/net/http_message.h"

/// Which bytes of which version of a file a response has (RFC 9110, 8.8 and 14).
namespace pkgfs {

/// The value of a Content-Range header.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;  // size of the whole file; none for `*`
};

/// Parses `bytes {first}-{last}/{total or *}`. None for any other text, and for one that contradicts itself.
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view text);

/// The size of the whole file from `bytes */{total}`, which a 416 has. None for any other text.
[[nodiscard]] std::optional<std::uint64_t> parse_unsatisfied_range(std::string_view text);

/// The value for an If-Range header (RFC 9110 13.1.5): a strong ETag, else a date. A weak ETag can't be used.
[[nodiscard]] std::optional<std::string> validator_of(const HttpResponse& head);
/// Whether the body is compressed, so that its bytes aren't those of the file.
[[nodiscard]] bool is_encoded(const HttpResponse& head);
/// The size of the file that a 200 announces; none if it doesn't, or if the body is compressed.
[[nodiscard]] std::optional<std::uint64_t> announced_size(const HttpResponse& head);
/// The Last-Modified date if the file was older than a second when it was sent: two versions of one second would have
/// the same date.
[[nodiscard]] std::optional<std::string> settled_date(const HttpResponse& head);

}  // namespace pkgfs
