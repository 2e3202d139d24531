// SPDX-License-Identifier: MIT
#include "core/source/reach.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/net/address_policy.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

constexpr std::string_view kOwnHost = "registry.";  // Wasmer's registry has its downloads at the host after this

std::optional<Url> usable_url(const std::string& text) {
  try {
    return Url::parse(text);
  } catch (const Error&) {
    return std::nullopt;  // the source says what is wrong with it
  }
}

}  // namespace

bool is_local(const DistributionInfo& dist) { return dist.path && dist.url.starts_with("file:"); }

/// Whether `url` is at the server of the package at `from`, or at a registry's.
bool Reach::is_near(const std::string& from, const std::string& url) const {
  const auto wanted = usable_url(url);
  if (!wanted) {
    return true;
  }
  const auto own = usable_url(from);
  if (own && own->scheme() == wanted->scheme() && own->authority() == wanted->authority()) {
    return true;
  }
  return std::ranges::any_of(options_.registries, [&](const std::string& endpoint) {
    const auto registry = usable_url(endpoint);
    const std::string authority = registry ? registry->authority() : "";
    const bool is_registry =
        wanted->authority() == authority ||
        (authority.starts_with(kOwnHost) && wanted->authority() == authority.substr(kOwnHost.size()));
    return is_registry && (wanted->is_https() || !registry->is_https());
  });
}

std::optional<std::string> Reach::refusal(const DistributionInfo& from, const PackageSpecifier& wanted) const {
  const bool is_trusted = is_local(from) && !options_.untrusted;
  if (wanted.path() != nullptr && !is_trusted) {
    return "only a package that lies on this machine may depend on a path of it, and this one comes from \"" +
           from.url + "\"";
  }
  if (wanted.url() == nullptr) {
    return std::nullopt;
  }
  const std::string& url = wanted.url()->text;
  if (!is_trusted && !options_.allow_urls && !is_near(from.url, url)) {
    return "\"" + without_password(url) + "\" is neither at the server of the package, \"" + from.url +
           "\", nor at a registry's: --allow-url-dependencies accepts it";
  }
  if (addresses_ != nullptr) {
    if (is_trusted) {
      addresses_->name(url);
    } else {
      addresses_->announce(url, from.url);
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs
