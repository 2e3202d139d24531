// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Several sources as one, asked in order (docs/rules/resolution.md, 6.4). The answers of all are merged: per id the
/// earlier source wins, the result is sorted by id. Nothing found: the most telling error, NoMatches before NotFound
/// before Unsupported.
class MultiSource final : public Source {
 public:
  enum class When {
    kAlways,
    kIfNothingFound,  // for sources that are dear to ask: only when the ones before gave nothing
  };

  void add(std::unique_ptr<Source> source, When when = When::kAlways);

  /// A failure of another kind (I/O, a damaged package) ends the query, unless an earlier source had an answer: then it
  /// is logged and that answer stands.
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSource> specifiers) override;

 private:
  struct Part {
    std::unique_ptr<Source> source;
    When when;
  };
  std::vector<Part> parts_;
};

}  // namespace pkgfs
