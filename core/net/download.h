// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "core/net/url.h"

namespace pkgfs {

class HttpClient;

/// Is told how far a download has come, on the client's thread: the methods must neither block nor throw.
class DownloadProgress {
 public:
  virtual ~DownloadProgress() = default;
  /// A body begins. `have`: bytes that earlier attempts brought. `total`: size of the file; none if the server doesn't
  /// say. Called again for each attempt.
  virtual void started(std::uint64_t have, std::optional<std::uint64_t> total) = 0;
  /// `have`: bytes that are in the file now.
  virtual void received(std::uint64_t have) = 0;
};

struct DownloadRequest {
  Url url;
  std::optional<std::string> bearer;
  std::string accept = "application/webc";
  /// The validators of the copy that the caller has. If the server still has that version, nothing is downloaded. The
  /// date counts if there is no ETag, and only the same date is the same version: an older one is another version.
  std::optional<std::string> etag = std::nullopt;
  std::optional<std::string> last_modified = std::nullopt;
  /// The hash that the content should have, if the caller knows it. `download` returns a file with another one, too.
  std::optional<Sha256> expected = std::nullopt;
  std::uint64_t max_bytes = 0;
  bool may_leave_https = false;          // the caller can tell by a hash whether the content was changed on its way
  std::string name;                      // for the log
  DownloadProgress* progress = nullptr;  // may be null
};

struct Downloaded {
  bool is_unchanged = false;  // the caller's copy is current; nothing else is set, and `part` is gone
  Sha256 sha256{};
  UniqueFd file;  // with that content; `part` may lead to another one meanwhile
  std::uint64_t size = 0;
  std::optional<std::string> etag;
  /// Only if it is old enough to be a validator: two versions of one second would have the same.
  std::optional<std::string> last_modified;
  std::vector<std::string> redirects;  // where the server sent the request, the last one absolute
  bool left_https = false;             // one of them led from https to http
};

/// GETs `request.url` into the file `part` (core/net/partial_file.h) and hashes the content meanwhile. On success,
/// `part` is complete and synced. Only one thread of all processes may use `part` at a time, for which the caller holds
/// a lock.
///
/// After a broken connection, a Range request continues where it broke. After a failure that another attempt may cure,
/// `part` stays, and a later call continues it, also in another process. That needs a server whose strong ETag or
/// Last-Modified date is still the same (If-Range); else the download starts anew, with a warning. It starts anew at
/// most twice, receives at most twice the size of the file, and ends after four attempts without progress
/// (core/net/download_effort.h). If the disk is full, removes `part`.
/// If another download found the disk full, `cancel` says so (CancelFlag::is_for_room), and `part` is removed, too.
///
/// Throws HttpError, Error(kInterrupted), Error naming `part`, and for a status that isn't a success Error
/// `package download failed: GET request to "{url}" failed with status {status}` (docs/rules/loading.md, 1.3).
[[nodiscard]] Downloaded download(HttpClient& client, const DownloadRequest& request, const std::string& part,
                                  const CancelFlag& cancel);

}  // namespace pkgfs
