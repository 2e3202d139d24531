// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Several sources as one, which are asked in order (docs/rules/resolution.md, 6.4). The packages of all of them are
/// merged, sorted by id; of two with the same id, the earlier source's is taken. If none has a package, the error is
/// the one that says most: kUnusable before kNoMatches before kNotFound before kUnsupported.
///
/// A source that fails (kOther: I/O, network, a damaged package) ends the query, because a later source could have a
/// different package of the same name. If an earlier source had a package, the failure is only logged.
class MultiSource final : public Source {
 public:
  enum class When {
    kAlways,
    kIfNothingFound,  // only if no source before it has a package; for a source that costs a network request
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
