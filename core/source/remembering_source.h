// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Remembers the answers of another source, errors included, so that each specifier is queried once. Meant for one
/// resolution, which stays consistent even if packages are published or removed meanwhile. Warns if a specifier has a
/// named tag. If a specifier asks for one build and the answer has it, only that build is kept.
class RememberingSource final : public Source {
 public:
  /// `source` must outlive this.
  explicit RememberingSource(Source& source) : source_(source) {}

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  /// The same, but an error is part of the answer, and nothing is copied. Valid as long as this object.
  [[nodiscard]] const Answer& ask(const PackageSpecifier& specifier);
  /// Queries all specifiers that weren't queried yet, together.
  void prefetch(std::span<const PackageSpecifier> specifiers);

 private:
  using Key = std::pair<char, std::string>;

  [[nodiscard]] static Key key_of(const PackageSpecifier& specifier);

  Source& source_;
  std::map<Key, Answer> answers_;
};

}  // namespace pkgfs
