// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/oci/authorizer.h"
#include "core/oci/reference.h"

namespace pkgfs::oci {

/// A file with logins at registries: the `config.json` of docker or the `auth.json` of podman and skopeo
/// (containers-auth.json(5)). An immutable value.
class AuthFile {
 public:
  /// Throws Error(kCorrupt) for a text that isn't such a file. The message has no part of the text.
  [[nodiscard]] static AuthFile parse(std::string_view text);

  /// What the file has for a repository. At most one of both is set.
  struct Found {
    std::optional<Credentials> credentials;
    std::string helper;  // the NAME of docker-credential-NAME; empty: none
    std::string server;  // the name of the registry, as the helper gets it
  };
  /// First the helper of the registry (`credHelpers`), then the entry of `auths` with the longest name that fits, then
  /// the helper for all registries (`credsStore`).
  [[nodiscard]] Found find(const Reference& reference) const;

 private:
  std::map<std::string, Credentials> logins_;   // by registry, or registry and a part of the repository
  std::map<std::string, std::string> helpers_;  // by registry
  std::string store_;
};

/// The answer of a credential helper to `get`. Throws Error(kCorrupt) that has no part of the text.
[[nodiscard]] Credentials parse_helper_answer(std::string_view text);

/// Whether `name` can be the NAME of docker-credential-NAME: it leads to no other directory.
[[nodiscard]] bool is_helper_name(std::string_view name);

}  // namespace pkgfs::oci
