// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "core/base/byte_source.h"
#include "core/load/package.h"
#include "core/resolve/resolve.h"
#include "core/webc/json_builder.h"

// A resolution as JSON, for another process that is to build the same tree without a question to a source.
namespace pkgfs {

/// The file of the package's container that another process can open; null: there is none, or it isn't complete.
[[nodiscard]] const MappedFile* file_of(const Package& package);

/// The nodes of the dependency graph (the member "nodes"), and what was resolved. There, the number of a node stands
/// for the id of its package. Of the packages' properties, only the ids are kept. A caller may add members to the
/// nodes.
[[nodiscard]] webc::Json kept_resolution_json(const Resolution& resolution);

struct KeptResolution {
  Resolution resolution;
  std::size_t root = 0;  // a node
};
/// What `kept_resolution_json` described. `id_of`: the id of a node whose id wasn't known; nothing: it isn't known now
/// either. Throws Error, and Json::exception, if `kept` isn't of the expected form.
[[nodiscard]] KeptResolution read_resolution(const webc::Json& kept,
                                             const std::function<std::optional<PackageId>(std::size_t node)>& id_of);

}  // namespace pkgfs
