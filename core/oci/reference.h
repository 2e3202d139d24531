// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/hash.h"

namespace pkgfs::oci {

/// The text that begins every name of an artifact.
inline constexpr std::string_view kScheme = "oci://";
/// The tag of a name without one.
inline constexpr std::string_view kDefaultTag = "latest";

/// The name of Docker Hub, whose API and logins are at other names.
inline constexpr std::string_view kDockerHub = "docker.io";

/// `sha256:` and 64 lower-case hex digits, as registries write a digest (OCI image-spec 1.1, descriptor.md).
[[nodiscard]] std::string digest_text(const Sha256& digest);
/// The reverse; nothing for any other text, and for other algorithms.
[[nodiscard]] std::optional<Sha256> parse_digest(std::string_view text);

/// Names an artifact in an OCI registry: `oci://HOST[:PORT]/REPOSITORY[:TAG|@sha256:DIGEST]`. The grammar of the parts
/// is that of the OCI distribution-spec 1.1, "Pulling manifests". An immutable value.
class Reference {
 public:
  /// Whether `text` begins as such a name does. It may still be wrong.
  [[nodiscard]] static bool is_one(std::string_view text) { return text.starts_with(kScheme); }
  /// Throws Error(kUsage) `"{text}" names no artifact of an OCI registry: {why}`.
  [[nodiscard]] static Reference parse(std::string_view text);

  /// The host, and `:` and the port if one was given. Lower case; an IPv6 address is in brackets.
  [[nodiscard]] const std::string& registry() const { return registry_; }
  [[nodiscard]] const std::string& repository() const { return repository_; }
  /// The tag; `latest` if the name has none. Only for a name without a digest.
  [[nodiscard]] const std::string& tag() const { return tag_; }
  [[nodiscard]] const std::optional<Sha256>& digest() const { return digest_; }

  /// The host and port that the API is at. They differ from `registry` only for Docker Hub, whose API is at another
  /// host.
  [[nodiscard]] std::string api_host() const;
  /// The beginning of the URLs of this repository: `https://HOST/v2/REPOSITORY/`. `scheme` is http or https.
  [[nodiscard]] std::string api_url(std::string_view scheme) const;
  /// The repository without a tag or digest: `oci://HOST/REPOSITORY`.
  [[nodiscard]] std::string repository_text() const;
  /// This repository's artifact with `digest`: `oci://HOST/REPOSITORY@sha256:…`.
  [[nodiscard]] std::string at(const Sha256& digest) const;
  /// The name in its normal form, with the tag or the digest.
  [[nodiscard]] std::string to_string() const;
  /// Whether both names are of one repository.
  [[nodiscard]] bool is_same_repository(const Reference& other) const {
    return registry_ == other.registry_ && repository_ == other.repository_;
  }

 private:
  Reference() = default;

  std::string registry_;
  std::string repository_;
  std::string tag_;
  std::optional<Sha256> digest_;
};

}  // namespace pkgfs::oci
