// SPDX-License-Identifier: MIT
#include "core/net/byte_range.h"

#include <charconv>
#include <ctime>

#include "core/net/libcurl.h"

namespace pkgfs {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) {
    return std::nullopt;
  }
  text.remove_prefix(kUnit.size());
  const std::size_t dash = text.find('-');
  const std::size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) {
    return std::nullopt;
  }
  const auto first = parse_number(text.substr(0, dash));
  const auto last = parse_number(text.substr(dash + 1, slash - dash - 1));
  const std::string_view size = text.substr(slash + 1);
  const auto total = parse_number(size);
  if (!first || !last || *last < *first || (!total && size != "*") || (total && *last >= *total)) {
    return std::nullopt;
  }
  return ContentRange{*first, *last, total};
}

std::optional<std::uint64_t> parse_unsatisfied_range(std::string_view text) {
  constexpr std::string_view kUnsatisfied = "bytes */";
  return text.starts_with(kUnsatisfied) ? parse_number(text.substr(kUnsatisfied.size())) : std::nullopt;
}

std::optional<std::string> validator_of(const HttpResponse& head) {
  if (const std::string* etag = head.header("etag")) {
    if (etag->starts_with('"')) {
      return *etag;
    }
    return std::nullopt;
  }
  const std::string* date = head.header("last-modified");
  return date == nullptr ? std::nullopt : std::optional(*date);
}

bool is_encoded(const HttpResponse& head) {
  const std::string* encoding = head.header("content-encoding");
  return encoding != nullptr && *encoding != "identity";
}

std::optional<std::uint64_t> announced_size(const HttpResponse& head) {
  const std::string* length = head.header("content-length");
  return length == nullptr || is_encoded(head) ? std::nullopt : parse_number(*length);
}

std::optional<std::string> settled_date(const HttpResponse& head) {
  const std::string* modified = head.header("last-modified");
  if (modified == nullptr) {
    return std::nullopt;
  }
  const std::string* sent = head.header("date");
  const std::time_t then = libcurl().getdate(modified->c_str(), nullptr);
  const std::time_t now = sent == nullptr ? std::time(nullptr) : libcurl().getdate(sent->c_str(), nullptr);
  return then != -1 && now != -1 && now - then > 1 ? std::optional(*modified) : std::nullopt;
}

}  // namespace pkgfs
