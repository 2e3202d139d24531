// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/net/url.h"

namespace pkgfs {

inline constexpr std::string_view kDefaultRegistry = "https://registry.wasmer.io/graphql";

/// The GraphQL endpoint that `registry` means, by Wasmer's rules (docs/rules/resolution.md, 7.1): a domain `d` is
/// `https://registry.d/graphql` (`http://d/graphql` when it has "localhost" in it, or is a loopback address), a URL
/// without a path gets `/graphql`, any other URL stays. Throws Error(kUsage) for what is neither.
[[nodiscard]] std::string graphql_endpoint(std::string_view registry);

/// The name of the endpoint's directory in the query cache.
[[nodiscard]] std::string endpoint_directory(std::string_view endpoint);

struct RegistryToken {
  std::string endpoint;
  std::string token;
};

/// The token to be sent to `url`, if any of them may be seen there: at the authority of its endpoint, and at that
/// without `registry.` in front, where the downloads of the front end are.
[[nodiscard]] std::optional<std::string> token_for(const Url& url, std::span<const RegistryToken> tokens);

}  // namespace pkgfs
