// SPDX-License-Identifier: MIT
#include "core/source/reach.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
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

bool is_of_artifact(const DistributionInfo& dist) { return dist.registry && oci::Reference::is_one(*dist.registry); }

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

bool Reach::trusts(const DistributionInfo& dist) const {
  return is_local(dist) && !claimed_.contains(dist.url) && !options_.untrusted;
}

std::optional<std::string> Reach::refusal(const DistributionInfo& from, const PackageSpecifier& wanted) const {
  if (is_of_artifact(from)) {
    return std::nullopt;
  }
  const bool is_claimed = claimed_.contains(from.url);
  const bool is_trusted = trusts(from);
  if (wanted.path() != nullptr && !is_trusted) {
    return is_claimed ? fmt::format(
                            "only a lock file says that this package lies on this machine, at \"{}\": name its "
                            "registry directory with --registry if it may depend on a path",
                            from.url)
                      : fmt::format(
                            "only a package that lies on this machine may depend on a path of it, and this one "
                            "comes from \"{}\"",
                            from.url);
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

std::optional<std::string> Reach::refusal_of_lock(const DistributionInfo& locked, bool by_path) {
  if (is_of_artifact(locked)) {
    return refusal_of_blob(locked);
  }
  if (locked.path) {
    if (locked.registry && !locked.registry->starts_with('/')) {
      return fmt::format("the registry \"{}\" has no file of this machine, such as \"{}\"", *locked.registry,
                         locked.url);
    }
    if (by_path || is_in_registry(*locked.path)) {
      claimed_.erase(locked.url);
    } else {
      claimed_.insert(locked.url);
    }
    return std::nullopt;
  }
  if (!locked.registry) {
    return std::nullopt;
  }
  const auto known = std::ranges::find(options_.registries, *locked.registry,
                                       [](const std::string& endpoint) { return without_password(endpoint); });
  if (known == options_.registries.end()) {
    return fmt::format(
        "it is from the registry \"{0}\", which isn't among those that pkgfs asks: --registry={0} adds it",
        *locked.registry);
  }
  if (addresses_ != nullptr) {
    addresses_->announce(locked.url, *known);
  }
  return std::nullopt;
}

std::optional<std::string> Reach::refusal_of_blob(const DistributionInfo& locked) const {
  const oci::Reference own = oci::Reference::parse(*locked.registry);
  if (!options_.artifact || !options_.artifact->is_same_repository(own)) {
    return fmt::format("it is from the artifact \"{}\", and PACKAGE isn't in that repository", *locked.registry);
  }
  const std::string blob = "blobs/" + (locked.webc_sha256 ? oci::digest_text(*locked.webc_sha256) : std::string());
  const auto url = usable_url(locked.url);
  const bool is_at = url && (url->is_https() || url->is_loopback()) && locked.url == own.api_url(url->scheme()) + blob;
  if (locked.path || !is_at) {
    return fmt::format("\"{}\" isn't a blob of \"{}\"", without_password(locked.url), own.repository_text());
  }
  if (addresses_ != nullptr) {
    addresses_->announce(locked.url, own.api_url(url->scheme()));
  }
  return std::nullopt;
}

bool Reach::is_in_registry(const std::string& path) const {
  std::error_code failed;
  const std::filesystem::path file = std::filesystem::canonical(path, failed);
  return !failed && std::ranges::any_of(options_.directories, [&](const std::string& directory) {
    const std::filesystem::path root = std::filesystem::canonical(directory, failed);
    return !failed && is_below(file, root);
  });
}

}  // namespace pkgfs
