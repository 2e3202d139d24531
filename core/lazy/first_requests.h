// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/base/function_ref.h"
#include "core/base/hash.h"
#include "core/base/private_directory.h"
#include "core/lazy/lazy_counters.h"
#include "core/lazy/remote_file.h"
#include "core/lazy/sparse_file.h"

namespace pkgfs {

class HttpClient;

/// Thrown if a container isn't to be read in parts. Then it is downloaded, or the cache has all of it.
struct NotInParts {
  const char* why;
};

/// The requests that decide whether a container is read in parts. The calling thread waits for them. They are counted
/// in `counters`. All but `is_container` throw Error(kInterrupted), and Error if memory or descriptors ran out. `begin`
/// and `complete` do so if room ran out, too.
namespace first_requests {

enum class Ask {
  kIfMissing,  // only if a part is missing
  kAlways,     // what is here suffices if the server doesn't answer
  kMust,       // the same, but throws HttpError then
};
enum class Answer {
  kSame,          // the server has this version, or didn't answer and needn't
  kOtherVersion,  // it has another one
  kNoRanges,      // it sends no ranges, so that it isn't known which version it has
};
/// Fetches a part of `file` that is missing, which shows whether the server still has this version.
[[nodiscard]] Answer go_on(SparseFile& file, const RemoteFile& remote, Ask ask, HttpClient& client,
                           const CancelFlag& cancel, LazyCounters& counters);
/// Is given the version that the server has, before anything of it is stored. May throw.
using Check = FunctionRef<void(const RemoteVersion& version)>;
/// Fetches the beginning of the container into a new file, unless the server has the version with `known_etag`. Throws
/// NotInParts, what `check` throws, and as `fetch_range`.
[[nodiscard]] std::shared_ptr<SparseFile> begin(const PrivateDirectory& directory, const std::string& key,
                                                const RemoteFile& remote, const std::optional<std::string>& known_etag,
                                                Check check, HttpClient& client, const CancelFlag& cancel,
                                                LazyCounters& counters);
/// Fetches all that is missing, and syncs the file. Returns the SparseFile::generation of the bytes that were hashed.
/// Throws NotInParts if another process fetches some of it or forgets blocks, or if the file then doesn't have the hash
/// `announced`: it is removed in this last case. Throws as `fetch_range`.
[[nodiscard]] std::uint64_t complete(SparseFile& file, const RemoteFile& remote, const std::optional<Sha256>& announced,
                                     HttpClient& client, const CancelFlag& cancel, LazyCounters& counters);
/// Whether the file begins like a container. A tarball can't be read in parts.
[[nodiscard]] bool is_container(const SparseFile& file);

}  // namespace first_requests
}  // namespace pkgfs
