// SPDX-License-Identifier: MIT
#include "core/net/address_policy.h"

#include <netdb.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "core/base/ascii.h"
#include "core/base/error.h"
#include "core/net/http_message.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

std::optional<Url> parsed(const std::string& text) {
  try {
    return Url::parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// All addresses of a host; none if it can't be found.
std::vector<Address> look_up(const std::string& host) {
  std::string name = host;
  if (name.starts_with('[')) {
    name = name.substr(1, name.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) {
    return {};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  std::vector<Address> found;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    found.emplace_back(*each->ai_addr, each->ai_addrlen);
  }
  return found;
}

struct ProxyPlace {
  std::string host;
  std::uint16_t port = 0;
};

/// Where libcurl connects to for a proxy. The URL of a proxy may have a password, and may lack a scheme and a port.
ProxyPlace place_of(const std::string& text) {
  constexpr std::uint16_t kPort = 1080;
  constexpr std::uint16_t kHttpsPort = 443;
  const std::size_t scheme = text.find("://");
  std::string rest = text.substr(scheme == std::string::npos ? 0 : scheme + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  rest = rest.substr(rest.rfind('@') == std::string::npos ? 0 : rest.rfind('@') + 1);
  const std::size_t colon = rest.find(':', rest.starts_with('[') ? rest.find(']') : 0);
  ProxyPlace place{rest.substr(0, colon), to_lower(text.substr(0, 6)) == "https:" ? kHttpsPort : kPort};
  if (colon != std::string::npos && colon + 1 < rest.size()) {
    const std::string port = rest.substr(colon + 1);
    place.port = 0;
    std::from_chars(port.c_str(), port.c_str() + port.size(), place.port);
  }
  return place;
}

bool is_ascii(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

void AddressPolicy::name(const std::string& url) {
  const MutexLock lock(mutex_);
  texts_.insert(url);
  unparsed_.insert(url);
}

void AddressPolicy::announce(const std::string& url, const std::string& origin) {
  const MutexLock lock(mutex_);
  announced_[url].insert(origin);
}

void AddressPolicy::set_proxies(const std::vector<std::string>& urls) {
  std::set<std::pair<std::string, std::uint16_t>> addresses;
  for (const std::string& url : urls) {
    const ProxyPlace place = place_of(url);
    for (const Address& address : look_up(place.host)) {
      addresses.emplace(address_text(address.get()), place.port);
    }
  }
  const MutexLock lock(mutex_);
  proxies_ = std::move(addresses);
}

const std::optional<AddressRange>* AddressPolicy::find_named(const std::string& url) const {
  constexpr std::string_view kPrefix = "registry.";
  for (const std::string& text : unparsed_) {
    if (const auto named = parsed(text)) {
      const std::string authority = named->authority();
      named_.try_emplace(authority, range_of_host(named->host()));
      if (authority.starts_with(kPrefix)) {  // Wasmer's front end, where its registry has the downloads
        named_.try_emplace(authority.substr(kPrefix.size()));
      }
    }
  }
  unparsed_.clear();
  const auto wanted = parsed(url);
  const auto found = wanted ? named_.find(wanted->authority()) : named_.end();
  return found == named_.end() ? nullptr : &found->second;
}

std::vector<std::string> AddressPolicy::origins_of(const std::string& requested) const {
  std::vector<std::string> origins;
  if (const auto found = announced_.find(requested); found != announced_.end()) {
    origins.assign(found->second.begin(), found->second.end());
  }
  if (origins.empty() || texts_.contains(requested)) {
    origins.push_back(requested);
  }
  return origins;
}

bool AddressPolicy::is_proxy(const sockaddr& address) const {
  return proxies_.contains({address_text(address), port_of(address)});
}

std::optional<std::string> AddressPolicy::refusal(const Hop& hop, const sockaddr& address) const {
  const MutexLock lock(mutex_);
  if (hop.now == hop.requested && texts_.contains(hop.requested)) {
    return std::nullopt;  // the user named this very URL, whose host may have addresses in several ranges
  }
  const auto url = parsed(hop.now);
  const bool by_proxy = is_proxy(address);
  if (!url || (by_proxy && !is_ascii(url->host()))) {
    return fmt::format("pkgfs can't tell whether \"{}\" leads into a private network",
                       server_text(without_password(hop.now)));
  }
  // The proxy looks up names itself, so that only an address in the URL can be judged.
  const AddressRange range = by_proxy ? range_of_host(url->host()).value_or(AddressRange::kPublic) : range_of(address);
  if (range == AddressRange::kPublic) {
    return std::nullopt;
  }
  const std::string server = url->authority();
  AddressRange allowed = AddressRange::kPublic;
  for (const std::string& origin : origins_of(hop.requested)) {
    const auto* named = find_named(origin);
    if (named == nullptr) {
      continue;
    }
    if (parsed(origin)->authority() == server) {
      // Its certificate proves that a server at another address is the same one, before it gets a request.
      if (url->is_https() || !*named || range <= **named) {
        return std::nullopt;
      }
      return "\"" + server + "\" has an address of " + name_of(range) + " now (" + address_text(address) +
             "), and had one of " + name_of(**named) + " before";
    }
    allowed = std::max(allowed, named->value_or(AddressRange::kPublic));
  }
  if (range <= allowed) {
    return std::nullopt;
  }
  return "\"" + server + "\" has an address of " + name_of(range) + " (" + address_text(address) +
         "), and the URL comes from " + name_of(allowed) +
         ", which may not lead there; --registry or a URL on the command line names a server that you trust";
}

void AddressPolicy::connected(const Hop& hop, const sockaddr& address) {
  const MutexLock lock(mutex_);
  const auto* named = find_named(hop.now);
  if (named != nullptr && !*named && !is_proxy(address)) {
    named_[parsed(hop.now)->authority()] = range_of(address);
  }
}

bool AddressPolicy::look_up_origins(const std::string& url) {
  std::vector<Url> unknown;
  {
    const MutexLock lock(mutex_);
    const auto found = announced_.find(url);
    for (const std::string& origin : found == announced_.end() ? std::set<std::string>{} : found->second) {
      const auto* named = find_named(origin);
      if (named != nullptr && !*named) {
        unknown.push_back(*parsed(origin));
      }
    }
  }
  bool is_new = false;
  for (const Url& origin : unknown) {
    const auto addresses = look_up(origin.host());
    if (addresses.empty()) {
      continue;
    }
    AddressRange least = AddressRange::kLoopback;
    for (const Address& address : addresses) {
      least = std::min(least, range_of(address.get()));
    }
    const MutexLock lock(mutex_);
    named_[origin.authority()] = least;
    is_new = is_new || least != AddressRange::kPublic;
  }
  return is_new;
}

}  // namespace pkgfs
