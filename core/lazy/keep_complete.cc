// SPDX-License-Identifier: MIT
#include "core/lazy/keep_complete.h"

#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/net/partial_file.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

/// The caller is a thread that also fetches blocks, so it doesn't wait for the end of a long download.
constexpr std::chrono::milliseconds kLongestWait{2000};

}  // namespace

void keep_by_hash(ContainersByHash& packages, const Sha256& hash, SparseFile& complete) {
  try {
    (void)packages.commit(complete.path(), complete.fd(), hash);
  } catch (const Error&) {
    if (!packages.find(hash)) {
      throw;
    }  // else another process that uses the same file was faster
  }
  complete.remove_map();
  packages.sync();
}

void keep_by_url(ContainersByUrl& urls, const Url& url, std::chrono::steady_clock::time_point begun,
                 SparseFile& complete) {
  const CancelFlag never;
  const PartialEntry reserved = urls.reserve(url, never, kLongestWait);
  const std::string& validator = complete.version().validator;
  const bool is_tag = validator.starts_with('"');
  if (const auto found = urls.find(url)) {
    const bool is_same = (is_tag ? urls.etag_of(url) : urls.date_of(url)) == validator;
    const bool is_newer = found->age && *found->age < std::chrono::steady_clock::now() - begun;
    if (is_same || is_newer) {
      complete.remove();  // the names that another process has given to its own file stay
      return;
    }
  }
  (void)urls.commit(complete.path(), complete.fd(), url, is_tag ? std::optional(validator) : std::nullopt,
                    is_tag ? std::nullopt : std::optional(validator));
  complete.remove_map();
  PartialFile::discard(reserved.part);  // of an older download
}

}  // namespace pkgfs
