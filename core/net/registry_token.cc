// SPDX-License-Identifier: MIT
#include "core/net/registry_token.h"

namespace pkgfs {

std::optional<std::string> token_for(const Url& url, std::span<const RegistryToken> tokens) {
  constexpr std::string_view kPrefix = "registry.";
  const std::string asked = url.authority();
  for (const RegistryToken& token : tokens) {
    const std::string own = Url::parse(token.endpoint).authority();
    if (asked == own || (own.starts_with(kPrefix) && asked == own.substr(kPrefix.size()))) {
      return token.token;
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs
