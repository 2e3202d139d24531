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
#include "daemon/packages/kept_resolution.h"
#include "daemon/packages/lazy_packages.h"

namespace pkgfs {
namespace {

using webc::expect_list;
using webc::expect_text;
using webc::expect_unsigned;
using webc::Json;
using webc::optional_text;
using webc::required;

/// Whether another process has to fetch the container as this one does. The package needs an id for that.
bool is_fetched(const DependencyGraph::Node& node, const Package& package) {
  const PackageHash* const hash = node.pkg.id.hash();
  return is_read_in_parts(package) && (hash == nullptr || hash->known());
}

bool can_keep(const DependencyGraph::Node& node, const Package& package) {
  const webc::Container* const container = package.container();
  return container == nullptr ? dynamic_cast<const DirectoryPackage*>(&package) != nullptr
                              : file_of(package) != nullptr || is_fetched(node, package);
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
      packages_.push_back(package_of(entry, where));
      if (entry.contains("is_lazy")) {
        lazy_.push_back(packages_.size() - 1);
      }
    }
    KeptResolution read = read_resolution(kept_.resolution, [&](std::size_t i) {
      return packages_[i] == nullptr ? std::nullopt : std::optional<PackageId>(packages_[i]->hash());
    });
    resolution_ = std::move(read.resolution);
    root_ = read.root;
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
  KeptTree kept;
  kept.resolution = kept_resolution_json(resolution);
  for (std::size_t i = 0; i < resolution.graph.nodes.size(); ++i) {
    const DependencyGraph::Node& node = resolution.graph.nodes[i];
    Json& entry = kept.resolution["nodes"][i];
    const auto package = packages.find(node.pkg.id);
    if (package == packages.end()) {
      continue;
    }
    if (!can_keep(node, *package->second)) {
      throw Error(ErrorCode::kUnsupported, "the packages can't be handed over");
    }
    if (const auto* const directory = dynamic_cast<const DirectoryPackage*>(package->second.get())) {
      entry["directory"] = kept_directory_json(*directory, kept.descriptors);
    } else if (const MappedFile* const file = file_of(*package->second)) {
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
