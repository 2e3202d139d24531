// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs::oci {

/// How a server wants a client to log in: one challenge of a WWW-Authenticate header (RFC 9110, 11.6.1).
struct Challenge {
  std::string scheme;                             // lower case: "basic", "bearer"
  std::map<std::string, std::string> parameters;  // names in lower case
  [[nodiscard]] std::string parameter(const std::string& name) const;
};

/// All challenges of the header, in order. A malformed rest is left out, since the server wrote it for other clients.
[[nodiscard]] std::vector<Challenge> parse_challenges(std::string_view header);

}  // namespace pkgfs::oci
