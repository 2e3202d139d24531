// SPDX-License-Identifier: MIT
#include "core/resolve/catalog.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/resolve/solver.h"

namespace pkgfs {
namespace {

constexpr auto kById = [](const PackageId* a, const PackageId* b) { return *a < *b; };

/// Orders packages of one answer: newer ones first, of equal versions the one that the source reported later.
bool is_preferred(const PackageSummary* a, const PackageSummary* b) {
  return is_newer(a->pkg.id, b->pkg.id) || (!is_newer(b->pkg.id, a->pkg.id) && a > b);
}

/// Two specifiers with equal keys get the same answer. The first part is there because kinds can share a text.
std::pair<std::size_t, std::string> key_of(const PackageSpecifier& specifier) {
  const std::size_t kind = specifier.named() != nullptr  ? 0
                           : specifier.hash() != nullptr ? 1
                           : specifier.url() != nullptr  ? 2
                                                         : 3;
  return {kind, specifier.to_string()};
}

}  // namespace

bool Candidates::contains(const PackageId& id) const {
  return std::binary_search(sorted_.begin(), sorted_.end(), &id, kById);
}

const Candidates& Catalog::of(const PackageInfo& pkg, std::size_t index) {
  auto& known = of_package_[&pkg];
  known.resize(pkg.dependencies.size());
  if (known[index] != nullptr) {
    return *known[index];
  }
  const PackageSpecifier& specifier = pkg.dependencies[index].specifier;
  if (auto why = refusal(pkg, index)) {
    throw BrokenDependency(Error(ErrorCode::kPermission, {"The package \"" + pkg.id.to_string() +
                                                              "\" may not depend on \"" + specifier.to_string() + "\"",
                                                          *std::move(why), "it was reached by " + chain_to(pkg)}));
  }
  const Source::Answer& answer = source_.ask(specifier);
  asked_.insert(key_of(specifier));
  const auto [at, is_new] = prepared_.try_emplace(&answer);
  Candidates& result = at->second;
  known[index] = &result;
  if (!is_new) {
    return result;
  }
  if (answer.error) {
    result.error = &*answer.error;
    return result;
  }
  if (may_depend_ != nullptr) {
    for (const PackageSummary& package : answer.packages) {
      found_.try_emplace(&package.pkg, Found{&package.dist, &pkg});
    }
  }
  if (specifier.named() == nullptr) {
    result.by_preference = {&answer.packages.front()};
  } else {
    for (const PackageSummary& package : answer.packages) {
      result.by_preference.push_back(&package);
    }
    std::sort(result.by_preference.begin(), result.by_preference.end(), is_preferred);
  }
  for (const PackageSummary* candidate : result.by_preference) {
    result.sorted_.push_back(&candidate->pkg.id);
  }
  std::sort(result.sorted_.begin(), result.sorted_.end(), kById);
  return result;
}

bool Catalog::is_known(const PackageInfo& pkg, std::size_t index) const {
  const auto known = of_package_.find(&pkg);
  if (known != of_package_.end() && index < known->second.size() && known->second[index] != nullptr) {
    return true;
  }
  return asked_.contains(key_of(pkg.dependencies[index].specifier)) || refusal(pkg, index).has_value();
}

std::optional<std::string> Catalog::refusal(const PackageInfo& pkg, std::size_t index) const {
  const PackageSpecifier& specifier = pkg.dependencies[index].specifier;
  if (may_depend_ == nullptr || (specifier.path() == nullptr && specifier.url() == nullptr)) {
    return std::nullopt;
  }
  return (*may_depend_)(*found_.at(&pkg).dist, specifier);
}

/// `"root" → "a" → "b"`.
std::string Catalog::chain_to(const PackageInfo& pkg) const {
  std::vector<std::string> names;
  for (const PackageInfo* at = &pkg; at != nullptr; at = found_.at(at).by) {
    names.push_back("\"" + at->id.to_string() + "\"");
  }
  std::string text;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    text += (text.empty() ? "" : " \u2192 ") + *name;
  }
  return text;
}

void Catalog::prefetch(std::span<const PackageInfo* const> packages) {
  std::vector<PackageSpecifier> specifiers;
  for (const PackageInfo* pkg : packages) {
    for (std::size_t i = 0; i < pkg->dependencies.size(); ++i) {
      if (!refusal(*pkg, i)) {  // `of` reports it, if the package is chosen
        specifiers.push_back(pkg->dependencies[i].specifier);
      }
    }
  }
  source_.prefetch(specifiers);
  for (const PackageSpecifier& specifier : specifiers) {
    asked_.insert(key_of(specifier));
  }
}

Error unresolved(const PackageSpecifier& specifier, const QueryError& reason) {
  std::string text;
  if (specifier.path() != nullptr) {
    text = "Unable to load \"" + specifier.to_string() + "\" from disk";
  } else if (specifier.url() != nullptr) {
    text = "Unable to resolve \"" + specifier.to_string() + "\"";
  } else {
    text = "Unable to find \"" + specifier.to_string() + "\" in the registry";
  }
  const bool is_told = reason.code() == ErrorCode::kNetwork || reason.code() == ErrorCode::kCorrupt ||
                       reason.kind() == QueryError::Kind::kUnusable;
  Error error(is_told ? reason.code() : ErrorCode::kResolve, std::move(text));
  error.caused_by(reason);
  return error;
}

}  // namespace pkgfs
