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
class CachingSource final : public Source {
 public:
  /// `source` must outlive this.
  explicit CachingSource(Source& source) : source_(source) {}

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  /// The same without a copy and without throwing QueryError. Valid as long as this object.
  [[nodiscard]] const Answer& ask(const PackageSpecifier& specifier);
  /// Has all that weren't asked yet asked together.
  void prefetch(std::span<const PackageSpecifier> specifiers);

 private:
  using Key = std::pair<char, std::string>;

  [[nodiscard]] static Key key_of(const PackageSpecifier& specifier);

  Source& source_;
  std::map<Key, Answer> answers_;
};

}  // namespace pkgfs
