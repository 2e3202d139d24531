// SPDX-License-Identifier: MIT
#include "daemon/packages/kept_resolution.h"

#include <map>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/lazy/lazy_source.h"
#include "core/webc/container.h"
#include "core/webc/json_fields.h"

namespace pkgfs {
namespace {

using webc::expect_list;
using webc::expect_text;
using webc::expect_unsigned;
using webc::Json;
using webc::optional_text;
using webc::required;

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

/// The id of a package without a name, if it was computed; it isn't computed here, because that reads all bytes.
Json id_json(const PackageId& id) {
  if (const PackageHash* const hash = id.hash(); hash != nullptr && !hash->known()) {
    return nullptr;
  }
  return id.to_string();
}

Json node_json(const DependencyGraph::Node& node) {
  Json entry{{"id", id_json(node.pkg.id)}, {"edges", Json::array()}};
  for (const DependencyGraph::Edge& edge : node.edges) {
    entry["edges"].push_back({edge.alias, edge.target});
  }
  if (const auto& dist = node.dist) {
    entry["url"] = dist->url;
    entry["path"] = or_null(dist->path);
    entry["sha256"] = dist->webc_sha256 ? Json(to_hex(*dist->webc_sha256)) : Json(nullptr);
    entry["is_hash_safe"] = dist->is_hash_safe;
    entry["registry"] = or_null(dist->registry);
    if (!dist->version.empty()) {
      entry["version"] = dist->version;
    }
  }
  return entry;
}

DistributionInfo distribution_of(const Json& entry, const std::string& where) {
  DistributionInfo dist{.url = expect_text(required(entry, "url", where), where),
                        .path = optional_text(entry, "path", where),
                        .webc_sha256 = std::nullopt,
                        .is_hash_safe = required(entry, "is_hash_safe", where) == Json(true),
                        .registry = optional_text(entry, "registry", where),
                        .version = optional_text(entry, "version", where).value_or("")};
  if (const auto hex = optional_text(entry, "sha256", where)) {
    dist.webc_sha256 = sha256_from_hex(*hex);
  }
  return dist;
}

/// Reads what `kept_resolution_json` wrote.
class Reading {
 public:
  explicit Reading(const Json& kept) : kept_(kept) {}

  KeptResolution read(const std::function<std::optional<PackageId>(std::size_t node)>& id_of) {
    read_nodes(id_of);
    const std::size_t root = number(required(kept_, "root", "resolution"), "root");
    resolution_.package = {.root = nodes()[root].pkg.id,
                           .commands = {},
                           .entrypoint = optional_text(kept_, "entrypoint", "resolution"),
                           .filesystem = {}};
    read_resolved();
    return {std::move(resolution_), root};
  }

 private:
  [[nodiscard]] std::vector<DependencyGraph::Node>& nodes() { return resolution_.graph.nodes; }
  [[nodiscard]] std::size_t number(const Json& value, const std::string& where) {
    const auto found = static_cast<std::size_t>(expect_unsigned(value, where));
    if (found >= nodes().size()) {
      throw Error(ErrorCode::kCorrupt, where + ": there is no such package");
    }
    return found;
  }
  [[nodiscard]] const PackageId& id(const Json& value, const std::string& where) {
    return nodes()[number(value, where)].pkg.id;
  }

  void read_nodes(const std::function<std::optional<PackageId>(std::size_t node)>& id_of) {
    const Json& list = expect_list(required(kept_, "nodes", "resolution"), "nodes");
    for (const Json& entry : list) {
      const std::string where = "nodes." + std::to_string(nodes().size());
      const auto text = optional_text(entry, "id", where);
      std::optional<PackageId> id = text ? PackageId::parse(*text) : id_of(nodes().size());
      if (!id) {
        throw Error(ErrorCode::kCorrupt, where + ": it has no id");
      }
      DependencyGraph::Node node{
          .pkg = {.id = *std::move(id), .commands = {}, .entrypoint = {}, .dependencies = {}, .filesystem = {}},
          .dist = std::nullopt,
          .edges = {}};
      if (entry.contains("url")) {
        node.dist = distribution_of(entry, where);
      }
      nodes().push_back(std::move(node));
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      for (const Json& edge : expect_list(required(list[i], "edges", "nodes"), "edges")) {
        nodes()[i].edges.push_back({.alias = expect_text(edge.at(0), "edges"), .target = number(edge.at(1), "edges")});
      }
    }
  }

  void read_resolved() {
    for (const Json& index : expect_list(required(kept_, "order", "resolution"), "order")) {
      resolution_.order.push_back(number(index, "order"));
    }
    ResolvedPackage& package = resolution_.package;
    for (const Json& command : expect_list(required(kept_, "commands", "resolution"), "commands")) {
      package.commands.emplace(
          expect_text(command.at(0), "commands"),
          ResolvedCommand{.name = expect_text(command.at(1), "commands"), .package = id(command.at(2), "commands")});
    }
    for (const Json& mapping : expect_list(required(kept_, "filesystem", "resolution"), "filesystem")) {
      package.filesystem.push_back(
          {.mount_path = expect_text(required(mapping, "mount_path", "filesystem"), "filesystem"),
           .volume_name = expect_text(required(mapping, "volume", "filesystem"), "filesystem"),
           .original_path = optional_text(mapping, "original_path", "filesystem"),
           .package = id(required(mapping, "package", "filesystem"), "filesystem")});
    }
  }

  const Json& kept_;
  Resolution resolution_{
      .graph = {},
      .order = {},
      .package = {.root = PackageHash(Sha256{}), .commands = {}, .entrypoint = {}, .filesystem = {}}};
};

}  // namespace

const MappedFile* file_of(const Package& package) {
  const webc::Container* const container = package.container();
  if (container == nullptr) {
    return nullptr;
  }
  const ByteSource& source = *container->source();
  if (const auto* const lazy = dynamic_cast<const LazySource*>(&source)) {
    return lazy->whole_file();
  }
  return dynamic_cast<const MappedFile*>(&source);
}

Json kept_resolution_json(const Resolution& resolution) {
  const std::map<PackageId, std::size_t> index = resolution.graph.index();
  Json nodes = Json::array();
  for (const DependencyGraph::Node& node : resolution.graph.nodes) {
    nodes.push_back(node_json(node));
  }
  Json kept;
  kept["nodes"] = std::move(nodes);
  kept["order"] = resolution.order;
  kept["root"] = index.at(resolution.package.root);
  kept["entrypoint"] = or_null(resolution.package.entrypoint);
  Json& commands = kept["commands"] = Json::array();
  for (const auto& [name, command] : resolution.package.commands) {
    commands.push_back({name, command.name, index.at(command.package)});
  }
  Json& filesystem = kept["filesystem"] = Json::array();
  for (const ResolvedMapping& mapping : resolution.package.filesystem) {
    filesystem.push_back({{"mount_path", mapping.mount_path},
                          {"volume", mapping.volume_name},
                          {"original_path", or_null(mapping.original_path)},
                          {"package", index.at(mapping.package)}});
  }
  return kept;
}

KeptResolution read_resolution(const Json& kept,
                               const std::function<std::optional<PackageId>(std::size_t node)>& id_of) {
  return Reading(kept).read(id_of);
}

}  // namespace pkgfs
