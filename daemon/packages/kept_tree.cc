// SPDX-License-Identifier: MIT
#include "daemon/packages/kept_tree.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/load/directory_package.h"
#include "core/source/reach.h"
#include "core/webc/container.h"
#include "core/webc/json_fields.h"
#include "daemon/packages/kept_directory.h"
#include "daemon/packages/lazy_packages.h"

namespace pkgfs {
namespace {

using webc::expect_list;
using webc::expect_text;
using webc::expect_unsigned;
using webc::Json;
using webc::optional_text;
using webc::required;

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

/// The file that a process can open again; null if there is none.
const MappedFile* file_of(const ByteSource& source) {
  if (const auto* const lazy = dynamic_cast<const LazySource*>(&source)) {
    return lazy->whole_file();
  }
  return dynamic_cast<const MappedFile*>(&source);
}

/// Whether another process has to fetch the container as this one does. The package needs an id for that.
bool is_fetched(const DependencyGraph::Node& node, const Package& package) {
  const PackageHash* const hash = node.pkg.id.hash();
  return is_read_in_parts(package) && (hash == nullptr || hash->known());
}

bool can_keep(const DependencyGraph::Node& node, const Package& package) {
  const webc::Container* const container = package.container();
  return container == nullptr ? dynamic_cast<const DirectoryPackage*>(&package) != nullptr
                              : file_of(*container->source()) != nullptr || is_fetched(node, package);
}

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

/// Takes over a descriptor. If the file was changed in place, every read of it fails, as in the process before.
std::shared_ptr<const ByteSource> adopt(int descriptor, const Json& entry, const std::string& where) {
  const Json& modified = required(entry, "modified", where);
  return MappedFile::adopt(UniqueFd(descriptor), expect_text(required(entry, "name", where), where),
                           {.size = expect_unsigned(required(entry, "size", where), where),
                            .modified = modified.is_number_integer() ? modified.get<std::int64_t>() : 0});
}

/// Builds the tree from what was kept.
class Reopening {
 public:
  Reopening(const KeptTree& kept, const TreeFlags& flags, const Io& io) : kept_(kept), flags_(flags), io_(io) {
    options_ = open_options(flags);
    options_.verify = options_.verify == Verify::kOpen ? Verify::kNone : options_.verify;  // it was checked
    options_.strict = false;
    options_.allow_outside = false;
    tree_options_ = tree_options(flags);
    tree_options_.strict = false;
  }

  OpenedTree open() {
    read_nodes();
    read_resolved();
    if (!lazy_.empty()) {
      opener_.emplace(flags_, io_);
      for (const DependencyGraph::Node& node : resolution_.graph.nodes) {
        if (node.dist && is_of_artifact(*node.dist)) {
          opener_->use_repository(oci::Reference::parse(*node.dist->registry));
        }
      }
      opener_->use_urls_of(resolution_.graph, root_);
      for (const std::size_t i : lazy_) {
        // No hash tells another package from it that its URL may have now.
        if (const auto& dist = resolution_.graph.nodes[i].dist; dist && !dist->webc_sha256 && !dist->version.empty()) {
          packages_[i] = opener_->reopen(*dist);
        }
      }
    }
    PackageLoader local(options_);
    PackageLoader& loader = opener_ ? opener_->loader() : local;
    for (std::size_t i = 0; i < packages_.size(); ++i) {
      const DependencyGraph::Node& node = resolution_.graph.nodes[i];
      if (packages_[i] != nullptr && node.dist) {
        loader.adopt({.pkg = node.pkg, .dist = *node.dist}, packages_[i]);
      }
    }
    PackageTree tree = load_package_tree(packages_[root_], loader, resolution_, tree_options_);
    std::shared_ptr<const Package> opened = tree.packages.at(tree.id);
    return {std::move(opened), std::move(resolution_), std::move(tree)};
  }

 private:
  [[nodiscard]] std::size_t number(const Json& value, const std::string& where) const {
    const auto found = static_cast<std::size_t>(expect_unsigned(value, where));
    if (found >= resolution_.graph.nodes.size()) {
      throw Error(ErrorCode::kCorrupt, where + ": there is no such package");
    }
    return found;
  }
  [[nodiscard]] const PackageId& id(const Json& value, const std::string& where) const {
    return resolution_.graph.nodes[number(value, where)].pkg.id;
  }

  /// The package of a kept container; null if there is none.
  std::shared_ptr<const Package> package_of(const Json& entry, const std::string& where) {
    if (const auto directory = entry.find("directory"); directory != entry.end()) {
      return adopt_directory_package(kept_directory_of(*directory, kept_.descriptors, where),
                                     {.as_built = options_.as_built, .times = options_.times});
    }
    const auto kept = entry.find("container");
    if (kept == entry.end()) {
      return nullptr;
    }
    const auto index = static_cast<std::size_t>(expect_unsigned(*kept, where));
    if (index >= kept_.descriptors.size() || !adopted_.insert(index).second) {
      throw Error(ErrorCode::kCorrupt, where + ": there is no such container");
    }
    std::optional<Sha256> hash;
    if (const auto hex = optional_text(entry, "hash", where)) {
      hash = sha256_from_hex(*hex);
    }
    return open_container(adopt(kept_.descriptors[index], entry, where), hash, options_);
  }

  void read_nodes() {
    const Json& nodes = expect_list(required(kept_.resolution, "nodes", "resolution"), "nodes");
    for (const Json& entry : nodes) {
      const std::string where = "nodes." + std::to_string(packages_.size());
      const auto text = optional_text(entry, "id", where);
      std::optional<PackageId> id = text ? PackageId::parse(*text) : std::nullopt;
      packages_.push_back(package_of(entry, where));
      if (entry.contains("is_lazy")) {
        lazy_.push_back(packages_.size() - 1);
      }
      if (!id && packages_.back() != nullptr) {
        id = PackageId(packages_.back()->hash());
      }
      if (!id) {
        throw Error(ErrorCode::kCorrupt, where + ": it has no id");
      }
      DependencyGraph::Node node{
          .pkg = {.id = *id, .commands = {}, .entrypoint = {}, .dependencies = {}, .filesystem = {}},
          .dist = std::nullopt,
          .edges = {}};
      if (entry.contains("url")) {
        node.dist = distribution_of(entry, where);
      }
      resolution_.graph.nodes.push_back(std::move(node));
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (const Json& edge : expect_list(required(nodes[i], "edges", "nodes"), "edges")) {
        resolution_.graph.nodes[i].edges.push_back(
            {.alias = expect_text(edge.at(0), "edges"), .target = number(edge.at(1), "edges")});
      }
    }
  }

  void read_resolved() {
    const Json& kept = kept_.resolution;
    root_ = number(required(kept, "root", "resolution"), "root");
    for (const Json& index : expect_list(required(kept, "order", "resolution"), "order")) {
      resolution_.order.push_back(number(index, "order"));
    }
    ResolvedPackage package{.root = resolution_.graph.nodes[root_].pkg.id,
                            .commands = {},
                            .entrypoint = optional_text(kept, "entrypoint", "resolution"),
                            .filesystem = {}};
    for (const Json& command : expect_list(required(kept, "commands", "resolution"), "commands")) {
      package.commands.emplace(
          expect_text(command.at(0), "commands"),
          ResolvedCommand{.name = expect_text(command.at(1), "commands"), .package = id(command.at(2), "commands")});
    }
    for (const Json& mapping : expect_list(required(kept, "filesystem", "resolution"), "filesystem")) {
      package.filesystem.push_back(
          {.mount_path = expect_text(required(mapping, "mount_path", "filesystem"), "filesystem"),
           .volume_name = expect_text(required(mapping, "volume", "filesystem"), "filesystem"),
           .original_path = optional_text(mapping, "original_path", "filesystem"),
           .package = id(required(mapping, "package", "filesystem"), "filesystem")});
    }
    resolution_.package = std::move(package);
  }

  const KeptTree& kept_;
  const TreeFlags& flags_;
  const Io& io_;
  OpenOptions options_;
  TreeOptions tree_options_;
  std::optional<PackageOpener> opener_;                   // if a package is lazy
  std::vector<std::shared_ptr<const Package>> packages_;  // by node; null: it has no descriptor
  std::set<std::size_t> adopted_;                         // indices of descriptors
  std::vector<std::size_t> lazy_;                         // nodes
  std::size_t root_ = 0;
  Resolution resolution_{
      .graph = {},
      .order = {},
      .package = {.root = PackageHash(Sha256{}), .commands = {}, .entrypoint = {}, .filesystem = {}}};
};

}  // namespace

bool can_keep(const OpenedTree& opened) {
  return std::ranges::all_of(opened.resolution.graph.nodes, [&](const DependencyGraph::Node& node) {
    const auto package = opened.tree.packages.find(node.pkg.id);
    // Others aren't needed by any command or mapping.
    return package == opened.tree.packages.end() || can_keep(node, *package->second);
  });
}

KeptTree keep_tree(const OpenedTree& opened) {
  const Resolution& resolution = opened.resolution;
  const LoadedPackages& packages = opened.tree.packages;
  const std::map<PackageId, std::size_t> index = resolution.graph.index();
  KeptTree kept;
  Json nodes = Json::array();
  for (const DependencyGraph::Node& node : resolution.graph.nodes) {
    Json entry = node_json(node);
    const auto package = packages.find(node.pkg.id);
    if (package != packages.end()) {
      if (!can_keep(node, *package->second)) {
        throw Error(ErrorCode::kUnsupported, "the packages can't be handed over");
      }
      if (const auto* const directory = dynamic_cast<const DirectoryPackage*>(package->second.get())) {
        entry["directory"] = kept_directory_json(*directory, kept.descriptors);
      } else if (const MappedFile* const file = file_of(*package->second->container()->source())) {
        entry["container"] = kept.descriptors.size();
        kept.descriptors.push_back(file->fd());
        entry["name"] = package->second->name();
        entry["size"] = file->size();
        entry["modified"] = file->modified();
        if (const std::optional<Sha256> hash = package->second->hash().known()) {
          entry["hash"] = to_hex(*hash);
        }
      } else {
        entry["is_lazy"] = true;
      }
    }
    nodes.push_back(std::move(entry));
  }
  kept.resolution["nodes"] = std::move(nodes);
  kept.resolution["order"] = resolution.order;
  kept.resolution["root"] = index.at(resolution.package.root);
  kept.resolution["entrypoint"] = or_null(resolution.package.entrypoint);
  Json& commands = kept.resolution["commands"] = Json::array();
  for (const auto& [name, command] : resolution.package.commands) {
    commands.push_back({name, command.name, index.at(command.package)});
  }
  Json& filesystem = kept.resolution["filesystem"] = Json::array();
  for (const ResolvedMapping& mapping : resolution.package.filesystem) {
    filesystem.push_back({{"mount_path", mapping.mount_path},
                          {"volume", mapping.volume_name},
                          {"original_path", or_null(mapping.original_path)},
                          {"package", index.at(mapping.package)}});
  }
  return kept;
}

OpenedTree open_kept_tree(const KeptTree& kept, const TreeFlags& flags, const Io& io) {
  try {
    return Reopening(kept, flags, io).open();
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kCorrupt,
                std::vector<std::string>{"The record of the mount isn't of the expected form", error.what()});
  }
}

}  // namespace pkgfs
