// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

namespace pkgfs {

inline constexpr std::string_view kDefaultRegistry = "https://registry.wasmer.io/graphql";

/// The GraphQL endpoint of the registry that a user names, by Wasmer's rules (docs/rules/resolution.md, 7.1):
///  - a domain `d` gives `https://registry.d/graphql`, or `http://d/graphql` if it is this machine
///    (Url::is_loopback). Wasmer also takes any other name with "localhost" in it for this machine, such as
///    "localhost.example.com": to such a server, tokens would go without encryption;
///  - a URL without a path gets the path `/graphql`;
///  - any other URL stays as it is.
/// Throws Error(kUsage) for any other text.
[[nodiscard]] std::string graphql_endpoint(std::string_view registry);

/// The name of the directory with the cached answers of `endpoint`.
[[nodiscard]] std::string endpoint_directory(std::string_view endpoint);

}  // namespace pkgfs
