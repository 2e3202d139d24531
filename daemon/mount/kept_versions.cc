// SPDX-License-Identifier: MIT
#include "daemon/mount/kept_versions.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/webc/json_fields.h"

namespace pkgfs {
namespace {

using webc::Json;

constexpr const char* kVersions = "versions";
constexpr const char* kWhere = "versions";
constexpr const char* kIdentity = "identity";

Json facts_json(const VersionFacts& facts) {
  return {{"number", facts.number}, {"identity", facts.identity}, {"counted", facts.counted}, {"turn", facts.turn}};
}

VersionFacts facts_of(const Json& entry) {
  const auto number = [&](const char* name) {
    return webc::expect_unsigned(webc::required(entry, name, kWhere), name);
  };
  return {.number = number("number"),
          .identity = webc::expect_text(webc::required(entry, "identity", kWhere), "identity"),
          .counted = webc::required(entry, "counted", kWhere) == Json(true),
          .turn = number("turn")};
}

Json notes_json(const VersionNotes& notes) {
  return {{"refused", notes.refused},
          {"lock", notes.lock_stamp},
          {"change", notes.change.number},
          {"before", notes.change.before},
          {"now", notes.change.now}};
}

VersionNotes notes_of(const Json& entry) {
  const auto text = [&](const char* name) { return webc::expect_text(webc::required(entry, name, kWhere), name); };
  return {.refused = text("refused"),
          .lock_stamp = text("lock"),
          .change = {.number = webc::expect_unsigned(webc::required(entry, "change", kWhere), "change"),
                     .before = text("before"),
                     .now = text("now")}};
}

void warn_lost(const Error& error) {
  log::warn("an older version of the mount is lost, and its open files are stale: {}", error);
}

/// Appends the descriptors of `from`, and returns its resolution with the numbers that they have then.
Json append(KeptTree& kept, KeptTree from) {
  for (Json& node : from.resolution["nodes"]) {
    if (const auto container = node.find("container"); container != node.end()) {
      *container = container->get<std::size_t>() + kept.descriptors.size();
    }
  }
  kept.descriptors.insert(kept.descriptors.end(), from.descriptors.begin(), from.descriptors.end());
  return std::move(from.resolution);
}

}  // namespace

KeptTree keep_first(const OpenedTree& first, const std::string& identity) {
  KeptTree kept = keep_tree(first);
  kept.resolution[kIdentity] = identity;
  return kept;
}

std::optional<std::string> kept_identity(const KeptTree& kept) {
  return webc::optional_text(kept.resolution, kIdentity, "resolution");
}

KeptTree keep_versions(const std::vector<VersionToKeep>& versions, int counts, const VersionNotes& notes) {
  KeptTree kept = keep_tree(*versions.front().opened);
  Json list = facts_json(versions.front().facts);
  list["counts"] = kept.descriptors.size();
  kept.descriptors.push_back(counts);
  list["notes"] = notes_json(notes);
  list["others"] = Json::array();
  for (std::size_t i = 1; i < versions.size(); ++i) {
    Json entry = facts_json(versions[i].facts);
    entry["tree"] = append(kept, keep_tree(*versions[i].opened));
    list["others"].push_back(std::move(entry));
  }
  kept.resolution[kVersions] = std::move(list);
  return kept;
}

OpenedTree open_first(const KeptTree& kept, std::optional<RestoredVersions>& versions, const TreeFlags& flags,
                      const Io& io) {
  try {
    return open_kept_tree(kept, flags, io);
  } catch (const Error& error) {
    if (!versions || versions->others.empty()) {
      throw;
    }
    warn_lost(error);
  }
  const auto last = std::ranges::max_element(versions->others, {}, [](const auto& each) { return each.facts.turn; });
  versions->first = last->facts;
  OpenedTree opened = std::move(last->opened);
  versions->others.erase(last);
  return opened;
}

std::optional<RestoredVersions> restore_versions(const KeptTree& kept, const TreeFlags& flags, const Io& io) {
  const auto list = kept.resolution.find(kVersions);
  if (list == kept.resolution.end()) {
    return std::nullopt;
  }
  RestoredVersions restored;
  restored.first = facts_of(*list);
  const std::size_t counts = webc::expect_unsigned(webc::required(*list, "counts", kWhere), "counts");
  if (counts >= kept.descriptors.size()) {
    throw Error(ErrorCode::kCorrupt, "The daemon before has left no counts of its versions");
  }
  restored.counts.reset(kept.descriptors[counts]);
  restored.notes = notes_of(webc::required(*list, "notes", kWhere));
  for (const Json& entry : webc::expect_list(webc::required(*list, "others", kWhere), "others")) {
    const VersionFacts facts = facts_of(entry);
    try {
      const KeptTree tree{.resolution = webc::required(entry, "tree", kWhere), .descriptors = kept.descriptors};
      restored.others.push_back({facts, open_kept_tree(tree, flags, io)});
    } catch (const Error& error) {
      warn_lost(error);
    }
  }
  return restored;
}

}  // namespace pkgfs
