// SPDX-License-Identifier: MIT
#include "core/resolve/package_table.h"

namespace pkgfs {

PackageTable::PackageTable(const PackageInfo& root) { add(root, nullptr); }

PackageAt PackageTable::add(const PackageSummary& summary) { return add(summary.pkg, &summary); }

const std::vector<PackageAt>& PackageTable::add(const Candidates& candidates) {
  const auto [at, is_new] = answers_.try_emplace(&candidates);
  if (is_new) {
    for (const PackageSummary* candidate : candidates.by_preference) {
      at->second.push_back(add(*candidate));
    }
  }
  return at->second;
}

PackageAt PackageTable::add(const PackageInfo& pkg, const PackageSummary* summary) {
  if (const auto known = index_.find(&pkg.id); known != index_.end()) {
    return known->second;
  }
  const NamedId* id = pkg.id.named();
  const auto [name, is_new] = by_text_.emplace(id != nullptr ? id->full_name : pkg.id.to_string(), names_.size());
  if (is_new) {
    names_.emplace_back();
  }
  std::vector<Entry>& versions = names_[name->second].versions;
  const PackageAt at{name->second, versions.size()};
  versions.push_back({&pkg, summary, std::vector<std::size_t>(pkg.dependencies.size(), kUnknown), 0});
  index_.emplace(&pkg.id, at);
  return at;
}

}  // namespace pkgfs
