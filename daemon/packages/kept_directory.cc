// SPDX-License-Identifier: MIT
#include "daemon/packages/kept_directory.h"

#include <optional>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/webc/json_fields.h"

namespace pkgfs {
namespace {

using webc::expect_list;
using webc::expect_text;
using webc::expect_unsigned;
using webc::Json;
using webc::required;
using Kept = DirectoryPackage::Kept;

Json files_json(const std::vector<Kept::File>& files, std::vector<int>& descriptors) {
  Json list = Json::array();
  for (const Kept::File& file : files) {
    list.push_back({{"name", file.name},
                    {"fd", descriptors.size()},
                    {"size", file.size},
                    {"modified", file.modified},
                    {"mode", file.mode ? Json(*file.mode) : Json(nullptr)}});
    descriptors.push_back(file.fd);
  }
  return list;
}

/// Finds descriptors by their indices, each at most once.
class Descriptors {
 public:
  Descriptors(const std::vector<int>& all, const std::string& where) : all_(all), where_(where) {}

  int take(const Json& entry, const std::string& key) {
    const auto index = static_cast<std::size_t>(expect_unsigned(required(entry, key, where_), where_));
    if (index >= all_.size() || !taken_.insert(index).second) {
      throw Error(ErrorCode::kCorrupt, where_ + ": there is no such descriptor");
    }
    return all_[index];
  }

 private:
  const std::vector<int>& all_;
  const std::string& where_;
  std::set<std::size_t> taken_;
};

std::vector<Kept::File> files_of(const Json& list, Descriptors& descriptors, const std::string& where) {
  std::vector<Kept::File> files;
  for (const Json& entry : expect_list(list, where)) {
    const Json& modified = required(entry, "modified", where);
    const Json& mode = required(entry, "mode", where);
    files.push_back({.name = expect_text(required(entry, "name", where), where),
                     .fd = descriptors.take(entry, "fd"),
                     .size = expect_unsigned(required(entry, "size", where), where),
                     .modified = modified.is_number_integer() ? modified.get<std::int64_t>() : 0,
                     .mode = mode.is_null()
                                 ? std::nullopt
                                 : std::optional(static_cast<std::uint16_t>(expect_unsigned(mode, where) & 0777U))});
  }
  return files;
}

}  // namespace

Json kept_directory_json(const DirectoryPackage& package, std::vector<int>& descriptors) {
  const Kept kept = package.keep();
  Json json{{"name", kept.name},         {"canonical", kept.canonical}, {"manifest_hash", kept.manifest_hash},
            {"manifest", kept.manifest}, {"fd", descriptors.size()},    {"volumes", Json::array()}};
  descriptors.push_back(kept.directory);
  for (const Kept::Volume& volume : kept.volumes) {
    json["volumes"].push_back(
        {{"name", volume.name}, {"host", volume.host}, {"fd", descriptors.size()}, {"is_file", volume.is_file}});
    descriptors.push_back(volume.fd);
  }
  json["atoms"] = files_json(kept.atoms, descriptors);
  json["metadata"] = files_json(kept.metadata, descriptors);
  return json;
}

Kept kept_directory_of(const Json& json, const std::vector<int>& descriptors, const std::string& where) {
  Descriptors all(descriptors, where);
  Kept kept{.name = expect_text(required(json, "name", where), where),
            .canonical = expect_text(required(json, "canonical", where), where),
            .manifest_hash = expect_text(required(json, "manifest_hash", where), where),
            .manifest = required(json, "manifest", where),
            .directory = all.take(json, "fd"),
            .volumes = {},
            .atoms = {},
            .metadata = {}};
  for (const Json& entry : expect_list(required(json, "volumes", where), where)) {
    kept.volumes.push_back({.name = expect_text(required(entry, "name", where), where),
                            .host = expect_text(required(entry, "host", where), where),
                            .fd = all.take(entry, "fd"),
                            .is_file = required(entry, "is_file", where) == Json(true)});
  }
  kept.atoms = files_of(required(json, "atoms", where), all, where);
  kept.metadata = files_of(required(json, "metadata", where), all, where);
  return kept;
}

}  // namespace pkgfs
