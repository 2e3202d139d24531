// SPDX-License-Identifier: MIT
#include "core/lazy/remote_file.h"

#include "core/lazy/sparse_file.h"

namespace pkgfs {

RangeRequest RemoteFile::request(std::uint64_t first, std::uint64_t length) const {
  return {.url = url,
          .bearer = bearer,
          .first = first,
          .length = length,
          .max_size = max_size,
          .may_leave_https = may_leave_https};
}

RangeRequest RemoteFile::request(const SparseFile& file, std::uint64_t first, std::uint64_t length) const {
  RangeRequest of_version = request(first, length);
  of_version.version = RemoteVersion{.validator = file.version().validator, .size = file.size()};
  return of_version;
}

}  // namespace pkgfs
