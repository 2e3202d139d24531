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

/// Receives the progress of a download. The methods are called on the client's thread, so they must neither block nor
/// throw.
class DownloadProgress {
 public:
  virtual ~DownloadProgress() = default;
  /// The body of a response begins; called for each attempt. `have`: bytes that are in the file already. `total`: size
  /// of the file; none if the server doesn't say.
  virtual void started(std::uint64_t have, std::optional<std::uint64_t> total) = 0;
  /// `have`: bytes that are in the file now.
  virtual void received(std::uint64_t have) = 0;
};

struct DownloadRequest {
  Url url;
  std::optional<std::string> bearer;  // a secret for the server (HttpRequest::bearer)
  std::string accept = "application/webc";
  /// The validators of the copy that the caller has. If the server still has that version, nothing is downloaded. The
  /// date is used if there is no ETag. Only the same date means the same version: an older date means another version,
  /// too.
  std::optional<std::string> etag = std::nullopt;
  std::optional<std::string> last_modified = std::nullopt;
  /// The hash that the content should have, if the caller knows it. It only helps to tell whether a partial file is
  /// complete. `download` may return a file with another hash.
  std::optional<Sha256> expected = std::nullopt;
  /// The most bytes of the file. A longer answer is an error.
  std::uint64_t max_bytes = 0;
  /// A redirect may lead from https to http, because the caller checks the hash of the content.
  bool may_leave_https = false;
  std::string name;                      // for the log
  DownloadProgress* progress = nullptr;  // may be null
};

struct Downloaded {
  bool is_unchanged = false;  // the caller's copy is current; nothing else is set, and `part` is gone
  Sha256 sha256{};
  /// The open file with this content. The file at `part` may be another one meanwhile.
  UniqueFd file;
  std::uint64_t size = 0;
  std::optional<std::string> etag;
  /// None if the date is too recent to be a validator (`settled_date`).
  std::optional<std::string> last_modified;
  std::vector<std::string> redirects;  // the Location headers that were followed; the last one as an absolute URL
  bool left_https = false;             // a redirect led from https to http
};

/// GETs `request.url` into the file `part` (core/net/partial_file.h) and hashes the content meanwhile. On success,
/// `part` is complete and synced. The caller holds a lock, so that only one thread of all processes uses `part` at a
/// time.
///
/// After a broken connection, a Range request continues where it broke. After an interruption, or a failure that
/// another attempt may cure, `part` stays. A later call then continues the download, also in another process. That
/// needs a strong ETag or Last-Modified date that is still the same at the server (If-Range). Else the download starts
/// anew, with a warning.
///
/// A download starts anew at most twice, and receives at most twice the size of the file (core/net/download_effort.h).
/// It ends after RetryPolicy::attempts attempts without progress. After any other failure, for example on a full disk,
/// `part` is removed. It is also removed if `cancel` says that another download found the disk full
/// (CancelFlag::is_for_room).
///
/// Throws HttpError, Error(kInterrupted), and Error naming `part`. For a status that isn't a success, throws Error
/// `package download failed: GET request to "{url}" failed with status {status}` (docs/rules/loading.md, 1.3).
[[nodiscard]] Downloaded download(HttpClient& client, const DownloadRequest& request, const std::string& part,
                                  const CancelFlag& cancel);

}  // namespace pkgfs
