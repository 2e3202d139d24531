// SPDX-License-Identifier: MIT
#include "daemon/serve/package_recipe.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/cache/file_hash.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"
#include "daemon/packages/kept_resolution.h"

namespace pkgfs {
namespace {

using webc::expect_unsigned;
using webc::Json;
using webc::required;

constexpr std::int64_t kSecond = 1'000'000'000;

/// The nodes whose packages were read in parts, with nothing but a URL and the version that its server gave. Without
/// those that the tree doesn't need.
std::vector<std::size_t> in_parts(const OpenedTree& opened) {
  std::vector<std::size_t> found;
  const std::vector<DependencyGraph::Node>& nodes = opened.resolution.graph.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::optional<DistributionInfo>& dist = nodes[i].dist;
    if (dist && !dist->path && !dist->webc_sha256 && !dist->version.empty() &&
        opened.tree.packages.contains(nodes[i].pkg.id)) {
      found.push_back(i);
    }
  }
  return found;
}

PackageRecipe::Stamp stamp_of(const struct stat& status) {
  return {.size = static_cast<std::uint64_t>(status.st_size),
          .modified = status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec,
          .changed = status.st_ctim.tv_sec * kSecond + status.st_ctim.tv_nsec,
          .device = status.st_dev,
          .inode = status.st_ino};
}

std::map<std::size_t, PackageRecipe::Stamp> stamps_of(const OpenedTree& opened) {
  std::map<std::size_t, PackageRecipe::Stamp> found;
  const std::vector<DependencyGraph::Node>& nodes = opened.resolution.graph.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto package = opened.tree.packages.find(nodes[i].pkg.id);
    const bool is_local = package != opened.tree.packages.end() && nodes[i].dist && nodes[i].dist->path;
    const MappedFile* const file = is_local ? file_of(*package->second) : nullptr;
    struct stat status{};
    if (file != nullptr && ::fstat(file->fd(), &status) == 0) {
      found[i] = stamp_of(status);
      found[i].modified = file->modified();  // it may have changed since it was opened
    }
  }
  return found;
}

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json to_json(const PackageRecipe& recipe) {
  Json json = kept_resolution_json(*recipe.resolution);
  json["in_parts"] = recipe.in_parts;
  Json& stamps = json["stamps"] = Json::array();
  for (const auto& [node, stamp] : recipe.stamps) {
    stamps.push_back({node, stamp.size, stamp.modified, stamp.changed, stamp.device, stamp.inode});
  }
  return json;
}

std::shared_ptr<const PackageRecipe> parse(const std::string& text) {
  const Json json = webc::parse_json(text, webc::kLockJson);
  if (const auto lock = json.find("lock"); lock != json.end()) {
    const std::string lock_text = webc::expect_text(*lock, "lock");
    return recipe_of(parse_lock(lock_text), lock_text);
  }
  auto recipe = std::make_shared<PackageRecipe>();
  recipe->text = text;
  recipe->resolution = read_resolution(json, [](std::size_t) { return std::nullopt; }).resolution;
  const std::size_t nodes = recipe->resolution->graph.nodes.size();
  const auto node_of = [&](const Json& value) {
    const auto node = static_cast<std::size_t>(expect_unsigned(value, "node"));
    if (node >= nodes || !recipe->resolution->graph.nodes[node].dist) {
      throw Error(ErrorCode::kCorrupt, "there is no such package");
    }
    return node;
  };
  for (const Json& each : webc::expect_list(required(json, "in_parts", "recipe"), "in_parts")) {
    recipe->in_parts.push_back(node_of(each));
  }
  for (const Json& each : webc::expect_list(required(json, "stamps", "recipe"), "stamps")) {
    recipe->stamps[node_of(each.at(0))] = {.size = expect_unsigned(each.at(1), "stamps"),
                                           .modified = each.at(2).get<std::int64_t>(),
                                           .changed = each.at(3).get<std::int64_t>(),
                                           .device = expect_unsigned(each.at(4), "stamps"),
                                           .inode = expect_unsigned(each.at(5), "stamps")};
  }
  return recipe;
}

}  // namespace

std::shared_ptr<const PackageRecipe> recipe_of(LockFile lock, const std::string& text) {
  auto recipe = std::make_shared<PackageRecipe>();
  recipe->text = text_of({{"lock", text}});
  recipe->lock = std::make_shared<const LockFile>(std::move(lock));
  return recipe;
}

std::shared_ptr<const PackageRecipe> recipe_of(const OpenedTree& opened) {
  auto recipe = std::make_shared<PackageRecipe>();
  recipe->in_parts = in_parts(opened);
  recipe->stamps = stamps_of(opened);
  recipe->resolution = opened.resolution;
  const auto is_known = [](const DependencyGraph::Node& node) {
    const PackageHash* const hash = node.pkg.id.hash();
    return hash == nullptr || hash->known();
  };
  if (std::ranges::all_of(recipe->resolution->graph.nodes, is_known)) {
    recipe->text = text_of(to_json(*recipe));
  }
  return recipe;
}

std::shared_ptr<const PackageRecipe> renewed(std::shared_ptr<const PackageRecipe> recipe, const OpenedTree& opened) {
  std::map<std::size_t, PackageRecipe::Stamp> stamps = stamps_of(opened);
  if (stamps == recipe->stamps) {
    return recipe;
  }
  auto fresh = std::make_shared<PackageRecipe>(*recipe);
  fresh->stamps = std::move(stamps);
  if (!fresh->text.empty()) {
    fresh->text = text_of(to_json(*fresh));
  }
  return fresh;
}

std::shared_ptr<const PackageRecipe> unread_recipe(std::string text) {
  if (text.empty()) {
    return nullptr;
  }
  auto recipe = std::make_shared<PackageRecipe>();
  recipe->text = std::move(text);
  recipe->is_unread = true;
  return recipe;
}

std::shared_ptr<const PackageRecipe> read_recipe(std::shared_ptr<const PackageRecipe> recipe) {
  if (recipe == nullptr || !recipe->is_unread) {
    return recipe;
  }
  const char* const what = "The predecessor has left a package that can't be read";
  try {
    return parse(recipe->text);
  } catch (Error& error) {
    throw std::move(error).context(what);
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kCorrupt, std::vector<std::string>{what, error.what()});
  }
}

FilesState files_state(const PackageRecipe& recipe) {
  FileHashes hashes;
  FilesState state = FilesState::kSame;
  const std::vector<DependencyGraph::Node>& nodes = recipe.resolution->graph.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!nodes[i].dist || !nodes[i].dist->path) {
      continue;
    }
    const DistributionInfo& dist = *nodes[i].dist;
    const auto known = recipe.stamps.find(i);
    struct stat status{};
    if (::stat(dist.path->c_str(), &status) != 0) {
      throw system_error("Unable to open \"" + *dist.path + "\"", errno);
    }
    const PackageRecipe::Stamp now = stamp_of(status);
    if (known != recipe.stamps.end() && known->second == now) {
      continue;
    }
    if (dist.webc_sha256) {
      if (hashes.of(*dist.path) != *dist.webc_sha256) {
        return FilesState::kChanged;
      }
    } else if (known == recipe.stamps.end() || known->second.size != now.size ||
               known->second.modified != now.modified || known->second.device != now.device ||
               known->second.inode != now.inode) {  // another time of change alone is that of a link or a permission
      state = FilesState::kUnknown;
    }
  }
  return state;
}

bool have_same_hashes(const PackageRecipe& one, const PackageRecipe& other) {
  if (!one.resolution || !other.resolution) {
    return false;
  }
  return std::ranges::equal(one.resolution->graph.nodes, other.resolution->graph.nodes,
                            [](const DependencyGraph::Node& a, const DependencyGraph::Node& b) {
                              return a.pkg.id == b.pkg.id && a.dist && b.dist && a.dist->webc_sha256 &&
                                     a.dist->webc_sha256 == b.dist->webc_sha256;
                            });
}

}  // namespace pkgfs
