// SPDX-License-Identifier: MIT
#include "core/oci/reference.h"

#include <algorithm>

#include "core/base/ascii.h"
#include "core/base/error.h"
#include "core/net/url.h"

namespace pkgfs::oci {
namespace {

constexpr std::string_view kAlgorithm = "sha256:";
constexpr std::string_view kDockerHubIndex = "index.docker.io";
constexpr std::string_view kDockerHubApi = "registry-1.docker.io";
constexpr std::size_t kLongestRepository = 255;
constexpr std::size_t kLongestTag = 128;

bool is_small(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
bool is_component(std::string_view text) {
  if (text.empty() || !is_small(text.front()) || !is_small(text.back())) {
    return false;
  }
  for (std::size_t i = 0; i < text.size();) {
    if (is_small(text[i])) {
      ++i;
      continue;
    }
    const std::size_t end = static_cast<std::size_t>(
        std::find_if(text.begin() + static_cast<std::ptrdiff_t>(i), text.end(), is_small) - text.begin());
    const std::string_view between = text.substr(i, end - i);
    const bool is_dashes = between.find_first_not_of('-') == std::string_view::npos;
    if (between != "." && between != "_" && between != "__" && !is_dashes) {
      return false;
    }
    i = end;
  }
  return true;
}

bool is_repository(std::string_view text) {
  if (text.size() > kLongestRepository) {
    return false;
  }
  while (true) {
    const std::size_t slash = text.find('/');
    if (!is_component(text.substr(0, slash))) {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    text.remove_prefix(slash + 1);
  }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
bool is_tag(std::string_view text) {
  const auto is_word = [](char c) { return is_small(to_lower(c)) || c == '_'; };
  return !text.empty() && text.size() <= kLongestTag && is_word(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_word(c) || c == '.' || c == '-'; });
}

/// The host and port in lower case. Throws Error for what can't be the server of a URL.
std::string registry_of(std::string_view text) {
  if (text.empty() || text.find_first_of("@?#%\\") != std::string_view::npos) {
    throw Error(ErrorCode::kUsage, "the name of a registry is HOST or HOST:PORT");
  }
  std::string registry = Url::parse("https://" + std::string(text) + "/").authority();
  return registry == kDockerHubIndex || registry == kDockerHubApi ? std::string(kDockerHub) : registry;
}

}  // namespace

std::string digest_text(const Sha256& digest) { return std::string(kAlgorithm) + to_hex(digest); }

std::optional<Sha256> parse_digest(std::string_view text) {
  if (!text.starts_with(kAlgorithm) || std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'Z'; })) {
    return std::nullopt;
  }
  return sha256_from_hex(text.substr(kAlgorithm.size()));
}

Reference Reference::parse(std::string_view text) {
  const auto refuse = [&](std::string_view why) -> Error {
    return {ErrorCode::kUsage,
            {"\"" + std::string(text) + "\" names no artifact of an OCI registry: " + std::string(why),
             "such a name is written oci://HOST[:PORT]/REPOSITORY[:TAG], or with @sha256:DIGEST at the end"}};
  };
  if (!is_one(text)) {
    throw refuse("it doesn't begin with oci://");
  }
  std::string_view rest = text.substr(kScheme.size());
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) {
    throw refuse("it has no repository");
  }
  Reference reference;
  try {
    reference.registry_ = registry_of(rest.substr(0, slash));
  } catch (const Error& error) {
    throw refuse(error.message());
  }
  rest.remove_prefix(slash + 1);
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    reference.digest_ = parse_digest(rest.substr(at + 1));
    if (!reference.digest_) {
      throw refuse("\"" + std::string(rest.substr(at + 1)) + "\" isn't sha256: and 64 hex digits in lower case");
    }
    rest = rest.substr(0, at);
  }
  reference.tag_ = kDefaultTag;
  if (const std::size_t colon = rest.find(':'); colon != std::string_view::npos) {
    reference.tag_ = rest.substr(colon + 1);
    if (!is_tag(reference.tag_)) {
      throw refuse("\"" + reference.tag_ +
                   "\" isn't a tag: letters, digits, \"_\", \".\" and \"-\", at most 128 in all");
    }
    rest = rest.substr(0, colon);
  }
  if (!is_repository(rest)) {
    throw refuse("\"" + std::string(rest) +
                 "\" isn't a repository: names of lower-case letters and digits, with \".\", \"_\" or \"-\" between "
                 "them, and \"/\" between the names");
  }
  reference.repository_ = rest;
  if (reference.registry_ == kDockerHub && reference.repository_.find('/') == std::string::npos) {
    reference.repository_.insert(0, "library/");
  }
  return reference;
}

std::string Reference::api_host() const { return registry_ == kDockerHub ? std::string(kDockerHubApi) : registry_; }

std::string Reference::api_url(std::string_view scheme) const {
  return std::string(scheme) + "://" + api_host() + "/v2/" + repository_ + "/";
}

std::string Reference::repository_text() const { return std::string(kScheme) + registry_ + "/" + repository_; }

std::string Reference::at(const Sha256& digest) const { return repository_text() + "@" + digest_text(digest); }

std::string Reference::to_string() const { return digest_ ? at(*digest_) : repository_text() + ":" + tag_; }

}  // namespace pkgfs::oci
