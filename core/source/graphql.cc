// SPDX-License-Identifier: MIT
#include "core/source/graphql.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/ascii.h"
#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/net/http_message.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs::graphql {
namespace {

using webc::expect_list;
using webc::expect_map;
using webc::expect_text;
using webc::Json;
using webc::member;
using webc::optional_text;
using webc::required;

constexpr std::string_view kPackageQuery = R"({
    getPackage(name: "$NAME") {
        packageName
        namespace
        versions {
          version
          isArchived
          v2: distribution(version: V2) {
            piritaDownloadUrl
            piritaSha256Hash
            webcManifest
          }
          v3: distribution(version: V3) {
            piritaDownloadUrl
            piritaSha256Hash
            webcManifest
          }
        }
    }
    info {
        defaultFrontend
    }
})";

constexpr std::string_view kReleaseQuery = R"({
    getPackageRelease(hash: "$HASH") {
        piritaManifest
        isArchived
        webcUrl
    }
})";

constexpr std::size_t kShownErrors = 5;
constexpr std::size_t kMostUrl = 8192;  // bytes; web servers refuse longer ones

std::string body_of(std::string_view query, std::string_view placeholder, std::string_view value) {
  std::string text(query);
  text.replace(text.find(placeholder), placeholder.size(), value);
  return Json{{"query", text}}.dump();
}

/// The messages with at most 300 characters of each, because they may have any text of the registry.
std::vector<std::string> server_texts(std::vector<std::string> messages) {
  for (std::string& message : messages) {
    message = server_text(message);
  }
  return messages;
}

Error unusable(std::vector<std::string> why) {
  why = server_texts(std::move(why));
  why.insert(why.begin(), "Unable to deserialize the response");
  return {ErrorCode::kNetwork, std::move(why)};
}

Error unusable(const Error& why) { return why.code() == ErrorCode::kInterrupted ? why : unusable(why.chain()); }

std::vector<std::string> errors_of(const Json& response) {
  std::vector<std::string> messages;
  const Json* errors = member(response, "errors");
  if (errors == nullptr || !errors->is_array()) {
    return messages;
  }
  for (const Json& error : *errors) {
    const Json* message = error.is_object() ? member(error, "message") : nullptr;
    if (message != nullptr && message->is_string() && messages.size() < kShownErrors) {
      messages.push_back("the registry says: " + server_text(message->get<std::string>()));
    }
  }
  return messages;
}

const Json& data_of(const Json& response) { return expect_map(required(response, "data", ""), "data"); }

/// Called for a null, which means "there is no such package" only without errors beside it. GraphQL also answers null
/// for a field that failed. Throws in that case.
void refuse_errors(const Json& response) {
  const std::vector<std::string> messages = errors_of(response);
  if (!messages.empty()) {
    throw Error(ErrorCode::kNetwork, messages);
  }
}

/// Whether `full_name` can be the name of a package: one or more parts of letters, digits, "-", "_" and ".", none of
/// which is "." or "..".
bool is_package_name(std::string_view full_name) {
  if (!is_safe(full_name) || full_name.find(':') != std::string_view::npos) {
    return false;
  }
  while (true) {
    const std::size_t slash = full_name.find('/');
    const std::string_view part = full_name.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    full_name.remove_prefix(slash + 1);
  }
}

/// The form in which two spellings of one name are equal (`is_same_name`).
std::string spelling(std::string_view full_name) {
  std::string name(full_name.starts_with("_/") ? full_name.substr(2) : full_name);
  std::replace(name.begin(), name.end(), '_', '-');
  return to_lower(std::move(name));
}

/// Refuses an answer about another package than `asked`. `said` is its name as the registry writes it.
void check_name(const std::string& said, const std::string& full_name, const std::string& asked) {
  if (!is_package_name(full_name)) {
    throw Error(ErrorCode::kCorrupt, "the registry was asked for \"" + asked + "\" and answers for \"" +
                                         server_text(said) + "\", which isn't a valid package name");
  }
  if (!is_same_name(full_name, asked)) {
    throw Error(ErrorCode::kCorrupt,
                "the registry was asked for \"" + asked + "\" and answers for \"" + server_text(said) + "\"");
  }
}

/// What the registry says of a container has the right shape, but can't be used.
class UnusableContainer : public Error {
 public:
  using Error::Error;
};

/// The text of a member, in `map`; null if the member is missing or null. A manifest is too long for a copy.
const std::string* text_of(const Json& map, const char* key, const std::string& where) {
  const Json* value = member(map, key);
  return value == nullptr || value->is_null() ? nullptr : &expect_text(*value, webc::below(where, key));
}

/// One container of a version. None if the registry has none. Throws UnusableContainer, and Error for a value of
/// another type.
std::optional<PackageSummary> distribution(const Json& version, const char* key, int webc_version, const NamedId& id) {
  const Json* fields = member(version, key);
  if (fields == nullptr || fields->is_null()) {
    return std::nullopt;
  }
  const std::string where = std::string("versions.") + key;
  expect_map(*fields, where);
  const std::string* url = text_of(*fields, "piritaDownloadUrl", where);
  const std::string* hash = text_of(*fields, "piritaSha256Hash", where);
  const std::string* manifest = text_of(*fields, "webcManifest", where);
  if (url == nullptr && hash == nullptr && manifest == nullptr) {
    return std::nullopt;
  }
  if (url == nullptr || hash == nullptr || manifest == nullptr) {
    const char* missing = url == nullptr ? "download URL" : hash == nullptr ? "hash" : "manifest";
    throw UnusableContainer(ErrorCode::kNetwork, std::string("the registry gives no ") + missing);
  }
  if (url->size() > kMostUrl) {
    throw UnusableContainer(ErrorCode::kNetwork, "the download URL has " + std::to_string(url->size()) + " bytes");
  }
  const auto sha256 = sha256_from_hex(*hash);
  if (!sha256) {
    throw UnusableContainer(ErrorCode::kNetwork,
                            "the hash that the registry gives, \"" + server_text(*hash) + "\", isn't a SHA-256 in hex");
  }
  try {
    webc::Manifest parsed = webc::manifest_from_json(webc::parse_json(*manifest, webc::kManifestJson));
    return PackageSummary{info_from_manifest(id, std::move(parsed), webc_version), {*url, std::nullopt, sha256}};
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    std::vector<std::string> chain = server_texts(error.chain());
    chain.insert(chain.begin(), "the manifest that the registry gives is damaged");
    throw UnusableContainer(ErrorCode::kCorrupt, std::move(chain));
  }
}

/// The preferred container of a version, or the other one if that is missing or unusable. Throws UnusableContainer if
/// both are, for the preferred one that isn't missing.
PackageSummary preferred(const Json& version, const NamedId& id, Prefer prefer) {
  std::array<std::pair<const char*, int>, 2> order{{{"v3", 3}, {"v2", 2}}};
  if (prefer == Prefer::kV2) {
    std::swap(order[0], order[1]);
  }
  std::optional<UnusableContainer> why;
  for (const auto& [key, webc_version] : order) {
    try {
      if (auto found = distribution(version, key, webc_version, id)) {
        return *std::move(found);
      }
    } catch (const UnusableContainer& error) {
      log::info("{}@{}: the registry's data of the version {} container can't be used: {}", id.full_name,
                id.version.to_string(), webc_version, error.what());
      if (!why) {
        why = error;
      }
    }
  }
  throw why ? *why
            : UnusableContainer(ErrorCode::kNetwork, "the registry gives no download URL, no hash and no manifest");
}

}  // namespace

bool is_safe(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == '/' || c == ':';
  });
}

bool is_same_name(std::string_view a, std::string_view b) { return spelling(a) == spelling(b); }

std::string package_query(std::string_view full_name) { return body_of(kPackageQuery, "$NAME", full_name); }

std::string release_query(std::string_view hash) { return body_of(kReleaseQuery, "$HASH", hash); }

Json parse_response(std::string_view body) {
  Json response;
  try {
    response = webc::parse_json(body);
    const std::vector<std::string> messages = errors_of(expect_map(response, ""));
    const Json* data = member(response, "data");
    if (data == nullptr || data->is_null()) {
      if (!messages.empty()) {
        throw unusable(messages);
      }
      throw Error(ErrorCode::kCorrupt, "missing field `data`");
    }
    expect_map(*data, "data");
    for (const std::string& message : messages) {
      log::warn("{}", message);  // the data beside it is complete but for the part that failed
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNetwork) {
      throw;
    }
    throw unusable(error);
  }
  return response;
}

Published published(const Json& response, const NamedIdent& ident, Prefer prefer) {
  try {
    Published result;
    const Json& package = required(data_of(response), "getPackage", "data");
    if (package.is_null()) {
      refuse_errors(response);
      return result;
    }
    result.found = true;
    expect_map(package, "getPackage");
    const std::string name = expect_text(required(package, "packageName", "getPackage"), "getPackage.packageName");
    const auto scope = optional_text(package, "namespace", "getPackage");
    // A registry gives a package without a namespace the namespace "_".
    const std::string full_name = scope && !scope->empty() && *scope != "_" ? *scope + "/" + name : name;
    check_name(scope ? *scope + "/" + name : name, full_name, ident.full_name());
    const VersionReq requirement = ident.requirement();
    for (const Json& entry : expect_list(required(package, "versions", "getPackage"), "getPackage.versions")) {
      const auto text = optional_text(expect_map(entry, "versions"), "version", "versions");
      const auto version = text ? Version::try_parse(*text) : std::nullopt;
      if (!version || !requirement.matches(*version)) {
        continue;
      }
      const Json* archived = member(entry, "isArchived");
      if (archived != nullptr && archived->is_boolean() && archived->get<bool>()) {
        result.archived.push_back(version->to_string());
        continue;
      }
      const NamedId id{full_name, *version};
      try {
        result.packages.push_back(preferred(entry, id, prefer));
      } catch (const UnusableContainer& error) {
        result.unusable.push_back({id, error});
      }
    }
    std::sort(result.packages.begin(), result.packages.end(),
              [](const PackageSummary& a, const PackageSummary& b) { return a.pkg.id < b.pkg.id; });
    std::sort(result.unusable.begin(), result.unusable.end(),
              [](const Published::Unusable& a, const Published::Unusable& b) { return a.id.version < b.id.version; });
    return result;
  } catch (const Error& error) {
    throw unusable(error);
  }
}

void check_published(const Json& response, std::string_view full_name) {
  static_cast<void>(
      published(response, NamedIdent{std::nullopt, std::nullopt, std::string(full_name), {}}, Prefer::kV3));
}

std::optional<PackageSummary> release(const Json& response, const PackageHash& hash) {
  try {
    const Json& found = required(data_of(response), "getPackageRelease", "data");
    if (found.is_null()) {
      refuse_errors(response);
      return std::nullopt;
    }
    expect_map(found, "getPackageRelease");
    const std::string url = expect_text(required(found, "webcUrl", "getPackageRelease"), "getPackageRelease.webcUrl");
    const std::string& text =
        expect_text(required(found, "piritaManifest", "getPackageRelease"), "getPackageRelease.piritaManifest");
    webc::Manifest manifest;
    try {
      manifest = webc::manifest_from_json(webc::parse_json(text, webc::kManifestJson));
    } catch (Error& error) {
      throw std::move(error).context("Unable to deserialize the manifest");
    }
    constexpr int kWebcVersion = 3;
    return PackageSummary{info_from_manifest(hash, std::move(manifest), kWebcVersion),
                          {url, std::nullopt, hash.digest()}};
  } catch (const Error& error) {
    throw unusable(error);
  }
}

}  // namespace pkgfs::graphql
