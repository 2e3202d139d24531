// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Remembers what another source answered, failures included: each specifier is asked once. Meant for one resolution,
/// which it also keeps consistent while packages come and go behind the source. Not thread-safe.
class RememberingSource final : public Source {
 public:
  /// `source` must outlive this.
  explicit RememberingSource(Source& source) : source_(source) {}

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;
  /// The same without a copy and without throwing QueryError. Valid as long as this object.
  [[nodiscard]] const Answer& ask(const PackageSource& specifier);
  /// Has all that weren't asked yet asked together.
  void prefetch(std::span<const PackageSource> specifiers);

 private:
  using Key = std::pair<char, std::string>;

  [[nodiscard]] static Key key_of(const PackageSource& specifier);

  Source& source_;
  std::map<Key, Answer> answers_;
};

}  // namespace pkgfs
