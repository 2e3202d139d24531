// SPDX-License-Identifier: MIT
#include "core/source/registry.h"

#include "core/source/directory_source.h"
#include "core/source/local_registry_source.h"
#include "core/source/multi_source.h"

namespace pkgfs {

std::unique_ptr<Source> open_registry(const std::string& dir) {
  auto both = std::make_unique<MultiSource>();
  both->add(std::make_unique<LocalRegistrySource>(dir));
  both->add(std::make_unique<DirectorySource>(dir, DirectorySource::Options{.depth = 1, .skip_damaged = true}));
  return both;
}

}  // namespace pkgfs
