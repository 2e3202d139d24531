// SPDX-License-Identifier: MIT
#include "core/resolve/package_table.h"

#include <algorithm>
#include <utility>

namespace pkgfs {
namespace {

bool have_equal_dependencies(const PackageInfo& a, const PackageInfo& b) {
  return std::equal(a.dependencies.begin(), a.dependencies.end(), b.dependencies.begin(), b.dependencies.end(),
                    [](const DependencySpec& x, const DependencySpec& y) { return x.specifier == y.specifier; });
}

}  // namespace

PackageTable::PackageTable(const PackageInfo& root) { add(root); }

const std::vector<PackageAt>& PackageTable::add(const Candidates& candidates) {
  const auto [at, is_new] = answers_.try_emplace(&candidates);
  if (is_new) {
    for (const PackageSummary* candidate : candidates.by_preference) {
      at->second.push_back(add(candidate->pkg));
    }
  }
  return at->second;
}

PackageAt PackageTable::add(const PackageInfo& pkg) {
  const auto known = index_.find(&pkg.id);
  const bool is_known = known != index_.end();
  std::vector<std::size_t> twins;
  if (is_known) {
    const PackageAt first = known->second;
    twins = {first.version};
    twins.insert(twins.end(), (*this)[first].twins.begin(), (*this)[first].twins.end());
    for (const std::size_t version : twins) {
      if (have_equal_dependencies(*names_[first.name].versions[version].pkg, pkg)) {
        return {first.name, version};
      }
    }
    has_new_twin_ = true;
  }
  const std::size_t name = is_known ? known->second.name : name_of(pkg.id);
  std::vector<Entry>& versions = names_[name].versions;
  const PackageAt at{name, versions.size()};
  for (const std::size_t twin : twins) {
    versions[twin].twins.push_back(at.version);
  }
  versions.push_back({&pkg, std::vector<std::size_t>(pkg.dependencies.size(), kUnknown), std::move(twins)});
  for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
    names_[name].dependencies[pkg.dependencies[i].specifier.to_string()].push_back({at.version, i});
  }
  index_.emplace(&pkg.id, at);
  return at;
}

/// A name of its own for an id that has none.
std::size_t PackageTable::name_of(const PackageId& id) {
  const NamedId* named = id.named();
  if (named != nullptr) {
    const auto [name, is_new] = by_text_.emplace(named->full_name, names_.size());
    if (!is_new) {
      return name->second;
    }
  }
  names_.emplace_back();
  return names_.size() - 1;
}

void PackageTable::forget_requirements() {
  for (Name& name : names_) {
    name.sets.clear();
    for (Entry& entry : name.versions) {
      std::fill(entry.requirements.begin(), entry.requirements.end(), kUnknown);
      entry.is_counted = false;
    }
  }
  has_new_twin_ = false;
}

}  // namespace pkgfs
