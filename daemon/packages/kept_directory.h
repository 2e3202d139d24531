// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "core/load/directory_package.h"
#include "core/webc/json_builder.h"

namespace pkgfs {

/// A package directory as JSON, for KeptTree. Appends its descriptors to `descriptors`, where they stay owned by the
/// package; the JSON has their indices.
[[nodiscard]] webc::Json kept_directory_json(const DirectoryPackage& package, std::vector<int>& descriptors);
/// The reverse. The result names descriptors of `descriptors`, each once. Throws Error(kCorrupt) if `json` isn't of the
/// expected form.
[[nodiscard]] DirectoryPackage::Kept kept_directory_of(const webc::Json& json, const std::vector<int>& descriptors,
                                                       const std::string& where);

}  // namespace pkgfs
