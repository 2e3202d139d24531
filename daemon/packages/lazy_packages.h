// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/lazy/lazy_source.h"

namespace pkgfs {

class Package;
struct PackageTree;

/// The containers of `tree` that are fetched while they are used.
[[nodiscard]] std::vector<std::shared_ptr<LazySource>> lazy_sources(const PackageTree& tree);

/// ContainerFetcher::version_of the file at the server that `package` is a copy of, if it was read in parts; else
/// empty.
[[nodiscard]] std::string remote_version_of(const Package& package);

/// Whether only parts of `package` were read: its container is fetched while it is used, and hasn't become an entry of
/// the cache yet.
[[nodiscard]] bool is_read_in_parts(const Package& package);

}  // namespace pkgfs
