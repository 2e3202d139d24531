// SPDX-License-Identifier: MIT
#include "daemon/packages/registry_check.h"

#include <algorithm>
#include <utility>

#include "core/base/log.h"
#include "core/source/endpoint.h"

namespace pkgfs {

RegistryCheck::RegistryCheck(std::unique_ptr<Source> source, std::vector<std::string> endpoints)
    : source_(std::move(source)), endpoints_(std::move(endpoints)) {}

std::vector<PackageSummary> RegistryCheck::query(const PackageSpecifier& specifier) {
  check(specifier);
  return source_->query(specifier);
}

std::vector<Source::Answer> RegistryCheck::query_all(std::span<const PackageSpecifier> specifiers) {
  for (const PackageSpecifier& specifier : specifiers) {
    check(specifier);
  }
  return source_->query_all(specifiers);
}

bool RegistryCheck::is_asked(const std::string& registry) const {
  // A domain as in `wasmer login` ("wasmer.io"), and the host that it stands for ("registry.wasmer.io").
  for (const std::string& spelling : {registry, "https://" + registry}) {
    try {
      if (std::ranges::find(endpoints_, graphql_endpoint(spelling)) != endpoints_.end()) {
        return true;
      }
    } catch (const Error&) {
      log::debug("\"{}\" names no registry on the network", spelling);
    }
  }
  return false;
}

void RegistryCheck::check(const PackageSpecifier& specifier) {
  if (specifier.named() == nullptr || !specifier.named()->registry) {
    return;
  }
  const std::string& name = *specifier.named()->registry;
  if (known_.insert(name).second && !is_asked(name)) {
    log::warn("\"{}\" names the registry \"{}\", but pkgfs doesn't ask that registry (--registry={} adds it)",
              specifier.to_string(), name, name);
  }
}

}  // namespace pkgfs
