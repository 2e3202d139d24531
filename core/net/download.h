// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/hash.h"
#include "core/net/http.h"

namespace pkgfs {

/// Watches downloads. Called from several threads at once, but for one name at a time. Must not throw, and neither
/// `started` nor `received` may wait for anybody: they are called on the thread that all transfers share.
class DownloadObserver {
 public:
  virtual ~DownloadObserver() = default;
  /// `have`: bytes that an earlier, interrupted download left. `total`: none when the server doesn't say.
  virtual void started(std::string_view name, std::uint64_t have, std::optional<std::uint64_t> total) = 0;
  virtual void received(std::string_view name, std::uint64_t have) = 0;
  virtual void finished(std::string_view name, std::uint64_t have, bool success) = 0;
};

struct DownloadRequest {
  Url url;
  std::optional<std::string> bearer;
  std::string accept = "application/webc";
  std::uint64_t max_bytes = 0;
  std::string name;                      // what the observer and the log call it
  DownloadObserver* observer = nullptr;  // may be null
};

struct Downloaded {
  Sha256 sha256{};
  std::uint64_t size = 0;
  std::optional<std::string> etag;
};

/// GETs `request.url` into the file `part`, hashing as it comes. A body that breaks off is continued from where it
/// broke with a Range request, also by a later process: `part` and a small file beside it (`part` + ".from": URL and
/// validator) stay after a failure that another attempt may cure, but not when the disk is full (`cancel` says so when
/// that happened to another download), and are used only while the server's strong ETag or Last-Modified is the same
/// (If-Range). Only one caller at a time may use `part` (a lock is the caller's business). On success `part` is
/// complete and synced, and the ".from" file is gone; the observer is told that by the caller, when it has checked what
/// came. Throws HttpError or Error with `package download failed: GET request to "{url}" failed with status {status}`
/// (docs/rules/loading.md, 1.3).
[[nodiscard]] Downloaded download(HttpClient& client, const DownloadRequest& request, const std::string& part,
                                  const CancelFlag& cancel);

/// Removes what an interrupted `download` to `part` left.
void discard_download(const std::string& part) noexcept;

}  // namespace pkgfs
