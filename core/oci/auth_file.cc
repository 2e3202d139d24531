// SPDX-License-Identifier: MIT
#include "core/oci/auth_file.h"

#include <algorithm>
#include <utility>

#include "core/base/ascii.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs::oci {
namespace {

using webc::Json;
using webc::member;

/// What "docker login" writes for Docker Hub, and what credential helpers know it by.
constexpr std::string_view kDockerHubServer = "https://index.docker.io/v1/";
constexpr std::string_view kTokenUser = "<token>";  // the user name that stands for an identity token

/// The name of an entry, as `find` looks for it.
struct EntryName {
  std::string name;
  int rank = 0;  // of several entries with one name, that with the lowest counts
};

/// Old releases of docker write the URL of the registry's API for the registry: `https://HOST/v1/` stands for HOST.
/// Nothing for any other URL: "docker login" also stores what isn't a login at the registry, at
/// `https://index.docker.io/v1/access-token` for example.
std::optional<EntryName> entry_name(std::string_view given) {
  EntryName found;
  std::string_view name = given;
  if (name.starts_with("https://") || name.starts_with("http://")) {
    name.remove_prefix(name.find("://") + 3);
    const std::size_t slash = std::min(name.find('/'), name.size());
    const std::string_view path = name.substr(slash);
    if (path != "" && path != "/" && path != "/v1" && path != "/v1/" && path != "/v2" && path != "/v2/") {
      return std::nullopt;
    }
    name = name.substr(0, slash);
    found.rank = given == kDockerHubServer ? 1 : 2;
  }
  while (name.ends_with('/')) {
    name.remove_suffix(1);
  }
  const std::size_t slash = std::min(name.find('/'), name.size());
  std::string host = to_lower(std::string(name.substr(0, slash)));
  if (host == "index.docker.io" || host == "registry-1.docker.io") {
    host = kDockerHub;
    found.rank = std::max(found.rank, 1);
  }
  found.name = host + std::string(name.substr(slash));
  return found;
}

/// Keeps the best entry of each name.
template <typename Value>
class Entries {
 public:
  void add(std::string_view given, Value value) {
    const auto entry = entry_name(given);
    if (!entry) {
      return;
    }
    const auto [known, is_new] = ranks_.emplace(entry->name, entry->rank);
    if (is_new || entry->rank < known->second) {
      known->second = entry->rank;
      values_.insert_or_assign(entry->name, std::move(value));
    }
  }
  [[nodiscard]] std::map<std::string, Value> take() { return std::move(values_); }

 private:
  std::map<std::string, int> ranks_;
  std::map<std::string, Value> values_;
};

/// Fills user name and password from the base64 of `USER:PASSWORD`. False if it isn't that.
bool decode_login(const std::string& text, Credentials& into) {
  const auto decoded = base64_decode(text);
  const std::size_t colon = decoded ? decoded->find(':') : std::string::npos;
  if (colon == std::string::npos) {
    return false;
  }
  into.username = decoded->substr(0, colon);
  into.password = decoded->substr(colon + 1);
  into.password.erase(into.password.find_last_not_of('\0') + 1);  // docker pads with them
  return true;
}

/// The text of a member; empty if it is missing or null. The message of an error hasn't the value, which may be a
/// secret.
std::string text_of(const Json& map, const char* key, const std::string& where) {
  const Json* const value = member(map, key);
  if (value == nullptr || value->is_null()) {
    return {};
  }
  if (!value->is_string()) {
    throw Error(ErrorCode::kCorrupt, webc::below(where, key) + " isn't a text");
  }
  return value->get<std::string>();
}

/// Throws Error without the value unless it is an object.
const Json& expect_object(const Json& value, const std::string& where) {
  if (!value.is_object()) {
    throw Error(ErrorCode::kCorrupt, (where.empty() ? "the document" : where) + " isn't an object");
  }
  return value;
}

std::optional<Credentials> parse_login(const Json& entry, const std::string& where) {
  expect_object(entry, where);
  Credentials login;
  const auto text = [&](const char* key) { return text_of(entry, key, where); };
  login.username = text("username");
  login.password = text("password");
  login.identity_token = text("identitytoken");
  login.registry_token = text("registrytoken");
  if (const std::string both = text("auth"); !both.empty() && !decode_login(both, login)) {
    throw Error(ErrorCode::kCorrupt, where + ".auth isn't the base64 of USER:PASSWORD");
  }
  const bool is_empty = login.username.empty() && login.identity_token.empty() && login.registry_token.empty();
  return is_empty ? std::nullopt : std::optional(std::move(login));
}

/// Parses JSON. The message of an error has no part of the text.
Json parse_secret(std::string_view text) {
  try {
    return webc::parse_json(text, webc::kManifestJson);
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    throw Error(ErrorCode::kCorrupt, "it isn't JSON");
  }
}

}  // namespace

bool is_helper_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    const char small = to_lower(c);
    return (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

AuthFile AuthFile::parse(std::string_view text) {
  const Json json = parse_secret(text);
  expect_object(json, "");
  AuthFile file;
  Entries<Credentials> logins;
  if (const Json* auths = member(json, "auths"); auths != nullptr && !auths->is_null()) {
    for (const auto& [name, entry] : expect_object(*auths, "auths").items()) {
      if (auto login = parse_login(entry, webc::below("auths", name))) {
        logins.add(name, *std::move(login));
      }
    }
  }
  file.logins_ = logins.take();
  Entries<std::string> helpers_by_name;
  if (const Json* helpers = member(json, "credHelpers"); helpers != nullptr && !helpers->is_null()) {
    for (const auto& [name, helper] : expect_object(*helpers, "credHelpers").items()) {
      helpers_by_name.add(name, helper.is_string() ? helper.get<std::string>() : std::string());
    }
  }
  file.helpers_ = helpers_by_name.take();
  file.store_ = text_of(json, "credsStore", "");
  return file;
}

AuthFile::Found AuthFile::find(const Reference& reference) const {
  Found found{.credentials = std::nullopt, .helper = {}, .server = reference.registry()};
  if (found.server == kDockerHub) {
    found.server = kDockerHubServer;
  }
  if (const auto helper = helpers_.find(reference.registry()); helper != helpers_.end()) {
    found.helper = helper->second;
    return found;
  }
  std::string name = reference.registry() + "/" + reference.repository();
  while (true) {
    if (const auto login = logins_.find(name); login != logins_.end()) {
      found.credentials = login->second;
      return found;
    }
    const std::size_t slash = name.rfind('/');
    if (slash == std::string::npos) {
      break;
    }
    name.resize(slash);
  }
  found.helper = store_;
  return found;
}

Credentials parse_helper_answer(std::string_view text) {
  const Json json = parse_secret(text);
  expect_object(json, "");
  Credentials credentials;
  credentials.username = text_of(json, "Username", "");
  std::string secret = text_of(json, "Secret", "");
  if (credentials.username == kTokenUser) {
    credentials.username.clear();
    credentials.identity_token = std::move(secret);
  } else {
    credentials.password = std::move(secret);
  }
  return credentials;
}

}  // namespace pkgfs::oci
