// SPDX-License-Identifier: MIT
#include "core/oci/manifest.h"

#include <optional>
#include <set>

#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/oci/reference.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs::oci {
namespace {

using webc::below;
using webc::expect_list;
using webc::expect_map;
using webc::expect_text;
using webc::expect_unsigned;
using webc::Json;
using webc::member;
using webc::optional_text;
using webc::required;

constexpr webc::JsonLimits kJson{.bytes = kManifestBytes,
                                 .items = 100'000,
                                 .growth = limits::kJsonGrowth,
                                 .memory = kManifestBytes * limits::kJsonGrowth,
                                 .is_strict = true};
constexpr std::uint64_t kSchema = 2;
constexpr const char* kTitle = "org.opencontainers.image.title";
constexpr const char* kVersion = "org.opencontainers.image.version";
constexpr const char* kId = "io.wasmer.package.id";

Json to_json(const Descriptor& descriptor) {
  Json json{
      {"mediaType", descriptor.media_type}, {"digest", digest_text(descriptor.digest)}, {"size", descriptor.size}};
  if (!descriptor.title.empty()) {
    json["annotations"] = {{kTitle, descriptor.title}};
  }
  return json;
}

Descriptor parse_descriptor(const Json& json, const std::string& where) {
  expect_map(json, where);
  const std::string& digest = expect_text(required(json, "digest", where), below(where, "digest"));
  const std::optional<Sha256> parsed = parse_digest(digest);
  if (!parsed) {
    throw Error(ErrorCode::kCorrupt, below(where, "digest") + ": \"" + shortened(digest) + "\" isn't a SHA-256");
  }
  return {.media_type = expect_text(required(json, "mediaType", where), below(where, "mediaType")),
          .digest = *parsed,
          .size = expect_unsigned(required(json, "size", where), below(where, "size"))};
}

[[noreturn]] void refuse(const std::string& found, const std::string& hint) {
  throw Error(ErrorCode::kUnsupported, std::vector<std::string>{"it isn't a package but " + found, hint});
}

/// Throws Error that says what the document is if it isn't a package.
void check_type(const Json& json) {
  const std::string hint = "\"pkgfs push\" stores packages; \"pkgfs export --format=oci\" makes an image of a package";
  const std::string type = optional_text(json, "mediaType", "").value_or("");
  if (type.find("index") != std::string::npos || type.find("manifest.list") != std::string::npos ||
      member(json, "manifests") != nullptr) {
    refuse("an index of images", hint);
  }
  const std::string artifact = optional_text(json, "artifactType", "").value_or("");
  const Json* const config = member(json, "config");
  const std::string of_config = config != nullptr && config->is_object()
                                    ? optional_text(*config, "mediaType", "config").value_or("")
                                    : std::string();
  // A registry of version 1.0 of the specification may not know artifactType; there, the type of the configuration says
  // which kind of artifact it is.
  if (of_config == kLockType && (artifact.empty() || artifact == kPackageType)) {
    return;
  }
  if (of_config.find("image.config") != std::string::npos || of_config.find("container.image") != std::string::npos) {
    refuse("a container image (" + shortened(of_config) + ")", hint);
  }
  const std::string& found = artifact.empty() ? of_config : artifact;
  refuse("an artifact of the type \"" + shortened(found) + "\"", "pkgfs knows the type " + std::string(kPackageType));
}

}  // namespace

std::string print_manifest(const Manifest& manifest) {
  Json json{{"schemaVersion", kSchema},
            {"mediaType", kManifestType},
            {"artifactType", kPackageType},
            {"config", to_json(manifest.lock)},
            {"layers", Json::array()}};
  for (const Descriptor& container : manifest.containers) {
    json["layers"].push_back(to_json(container));
  }
  Json annotations{{kId, manifest.id}};
  if (!manifest.name.empty()) {
    annotations[kTitle] = manifest.name;
    annotations[kVersion] = manifest.version;
  }
  json["annotations"] = std::move(annotations);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Manifest parse_manifest(std::string_view text) {
  const Json json = webc::parse_json(text, kJson);
  expect_map(json, "");
  check_type(json);
  if (const std::uint64_t schema = expect_unsigned(required(json, "schemaVersion", ""), "schemaVersion");
      schema != kSchema) {
    throw Error(ErrorCode::kUnsupported, "schemaVersion is " + std::to_string(schema) + ", and only 2 is known");
  }
  Manifest manifest;
  manifest.lock = parse_descriptor(required(json, "config", ""), "config");
  if (manifest.lock.size > limits::kAnswerBytes) {
    throw Error(ErrorCode::kCorrupt, "config: the lock file has " + std::to_string(manifest.lock.size) + " bytes");
  }
  std::set<Sha256> known;
  for (const Json& layer : expect_list(required(json, "layers", ""), "layers")) {
    const std::string where = "layers." + std::to_string(known.size());
    Descriptor container = parse_descriptor(layer, where);
    if (container.media_type != kContainerType) {
      throw Error(ErrorCode::kUnsupported, where + ": a layer of the type \"" + shortened(container.media_type) +
                                               "\"; containers have the type " + std::string(kContainerType));
    }
    if (!known.insert(container.digest).second) {
      throw Error(ErrorCode::kCorrupt, where + ": the layer " + digest_text(container.digest) + " is there twice");
    }
    manifest.containers.push_back(std::move(container));
  }
  return manifest;
}

}  // namespace pkgfs::oci
