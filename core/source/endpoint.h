// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

namespace pkgfs {

inline constexpr std::string_view kDefaultRegistry = "https://registry.wasmer.io/graphql";

/// The GraphQL endpoint of the registry that a user names, by Wasmer's rules (docs/rules/resolution.md, 7.1):
/// - A domain `d` gives `https://registry.d/graphql`, or `http://d/graphql` if it is this machine (Url::is_loopback).
/// - A URL without a path gets the path `/graphql`.
/// - Any other URL stays as it is.
///
/// Unlike pkgfs, Wasmer takes every domain with "localhost" in it for this machine, such as "localhost.example.com". It
/// would send tokens to such a server without encryption. Throws Error(kUsage) for any other text.
[[nodiscard]] std::string graphql_endpoint(std::string_view registry);

/// The name of the directory with the cached answers of `endpoint`.
[[nodiscard]] std::string endpoint_directory(std::string_view endpoint);

}  // namespace pkgfs
