// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Several sources as one (docs/rules/resolution.md, 6.4). They are asked in order, and their packages are merged and
/// sorted by id. Of two packages with the same id, the one of the earlier source is taken. If no source has a package,
/// the error is the one that says most: kUnusable before kNoMatches before kNotFound before kUnsupported.
///
/// A source may fail (kOther: I/O, network, a damaged package). If an earlier source had a package, this only gives a
/// warning. Otherwise the failure ends the query, because a later source could have a different package of the same
/// name.
class MultiSource final : public Source {
 public:
  enum class When {
    kAlways,
    kIfNothingFound,  // only if no earlier source has a package that fits; for a source that costs a network request
  };

  void add(std::unique_ptr<Source> source, When when = When::kAlways);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSpecifier> specifiers) override;

 private:
  struct Part {
    std::unique_ptr<Source> source;
    When when;
  };
  std::vector<Part> parts_;
};

}  // namespace pkgfs
