// SPDX-License-Identifier: MIT
#include "daemon/packages/lazy_packages.h"

#include "core/cache/container_fetcher.h"
#include "core/tree/package_tree.h"

namespace pkgfs {
namespace {

/// Null if all of the package was here when it was opened.
const LazySource* source_of(const Package& package) {
  const webc::Container* const container = package.container();
  return container == nullptr ? nullptr : dynamic_cast<const LazySource*>(container->source().get());
}

}  // namespace

std::vector<std::shared_ptr<LazySource>> lazy_sources(const PackageTree& tree) {
  std::vector<std::shared_ptr<LazySource>> found;
  for (const auto& [id, package] : tree.packages) {
    const webc::Container* const container = package->container();
    if (container == nullptr) {
      continue;
    }
    if (const auto lazy = std::dynamic_pointer_cast<const LazySource>(container->source())) {
      found.push_back(std::const_pointer_cast<LazySource>(lazy));
    }
  }
  return found;
}

std::string remote_version_of(const Package& package) {
  const LazySource* const source = source_of(package);
  return source == nullptr ? std::string()
                           : ContainerFetcher::version_of(source->version().validator, source->version().size);
}

bool is_read_in_parts(const Package& package) {
  const LazySource* const source = source_of(package);
  return source != nullptr && source->state() != LazySource::State::kWhole;
}

}  // namespace pkgfs
