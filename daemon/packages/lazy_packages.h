// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "core/lazy/lazy_source.h"

namespace pkgfs {

struct PackageTree;

/// The containers of `tree` that are fetched while they are used.
[[nodiscard]] std::vector<std::shared_ptr<LazySource>> lazy_sources(const PackageTree& tree);

}  // namespace pkgfs
