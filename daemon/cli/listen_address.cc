// SPDX-License-Identifier: MIT
#include "daemon/cli/listen_address.h"

#include <charconv>
#include <string_view>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr std::string_view kUnix = "unix:";

std::string name_of(const std::string& address) { return "The metrics can't be served at \"" + address + "\""; }

[[noreturn]] void refuse(const std::string& address, ErrorCode code, std::string why) {
  throw Error(code, {name_of(address), std::move(why)});
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  constexpr unsigned kMost = 65535;
  return error == std::errc() && end == text.data() + text.size() && port <= kMost;
}

}  // namespace

ListenAddress parse_metrics_address(const std::string& address) {
  ListenAddress place;
  if (address.starts_with(kUnix)) {
    place.path = address.substr(kUnix.size());
    if (place.path.empty()) {
      refuse(address, ErrorCode::kUsage, "no path follows \"unix:\"");
    }
    return place;
  }
  const std::size_t colon = address.rfind(':');
  place.host = colon == std::string::npos ? "" : address.substr(0, colon);
  place.port = colon == std::string::npos ? address : address.substr(colon + 1);
  if (place.host.starts_with('[') && place.host.ends_with(']')) {
    place.host = place.host.substr(1, place.host.size() - 2);
  } else if (place.host.find(':') != std::string::npos) {
    refuse(address, ErrorCode::kUsage, "an IPv6 address needs brackets: [::1]:9100");
  }
  if (!is_port(place.port)) {
    refuse(address, ErrorCode::kUsage, "the address must be unix:PATH, HOST:PORT or PORT");
  }
  if (place.host.empty() || place.host == "localhost") {
    place.host = "127.0.0.1";
  }
  return place;
}

}  // namespace pkgfs
