// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Remembers what another source answered, failures included: each specifier is asked once. Meant for one resolution,
/// which it also keeps consistent while packages come and go behind the source. Not thread-safe.
class CachingSource final : public Source {
 public:
  /// An answer or a failure. At least one package when there is no error.
  struct Answer {
    std::vector<PackageSummary> packages;
    std::optional<QueryError> error;
  };

  /// `source` must outlive this.
  explicit CachingSource(Source& source) : source_(source) {}

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;
  /// The same without a copy and without throwing QueryError. Valid as long as this object.
  [[nodiscard]] const Answer& ask(const PackageSource& specifier);

 private:
  Source& source_;
  std::map<std::pair<char, std::string>, Answer> answers_;
};

}  // namespace pkgfs
