// SPDX-License-Identifier: MIT
#include "core/net/address_policy.h"

#include <netdb.h>

#include <algorithm>
#include <memory>

#include "core/base/error.h"
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

/// A URL of a proxy may have a password, and may lack a scheme.
std::string proxy_host(const std::string& text) {
  std::string rest = text.substr(text.find("://") == std::string::npos ? 0 : text.find("://") + 3);
  rest = rest.substr(0, rest.find('/'));
  rest = rest.substr(rest.rfind('@') == std::string::npos ? 0 : rest.rfind('@') + 1);
  return rest.starts_with('[') ? rest.substr(0, rest.find(']') + 1) : rest.substr(0, rest.find(':'));
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
  std::set<std::string> addresses;
  for (const std::string& url : urls) {
    for (const Address& address : look_up(proxy_host(url))) {
      addresses.insert(address_text(address.get()));
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

bool AddressPolicy::is_proxy(const sockaddr& address) const { return proxies_.contains(address_text(address)); }

std::optional<std::string> AddressPolicy::refusal(const Hop& hop, const sockaddr& address) const {
  const MutexLock lock(mutex_);
  const auto url = parsed(hop.now);
  const auto written = url ? range_of_host(url->host()) : std::nullopt;
  // The proxy looks up names itself, so that only an address in the URL can be judged.
  const AddressRange range = is_proxy(address) ? written.value_or(AddressRange::kPublic) : range_of(address);
  if (range == AddressRange::kPublic) {
    return std::nullopt;
  }
  const std::string server = url ? url->authority() : hop.now;
  AddressRange allowed = AddressRange::kPublic;
  for (const std::string& origin : origins_of(hop.requested)) {
    const auto* named = find_named(origin);
    if (named == nullptr) {
      continue;
    }
    if (url && parsed(origin)->authority() == server) {
      if (!*named || range <= **named) {
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
