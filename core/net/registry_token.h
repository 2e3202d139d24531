// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/net/url.h"

namespace pkgfs {

/// A secret that identifies the user to one registry.
struct RegistryToken {
  std::string endpoint;  // the registry's URL
  std::string token;
};

/// The token to send to `url`; none if no token may be sent there. A token may be sent to the authority (host and port)
/// of its endpoint. If the authority begins with `registry.`, the token may also be sent to the authority without that
/// prefix. There Wasmer's front end offers the downloads. Throws Error(kUsage) for an endpoint that isn't a URL.
[[nodiscard]] std::optional<std::string> token_for(const Url& url, std::span<const RegistryToken> tokens);

}  // namespace pkgfs
