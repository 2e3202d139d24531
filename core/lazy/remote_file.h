// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/net/range_request.h"
#include "core/net/url.h"

namespace pkgfs {

class HttpClient;
class SparseFile;

/// Where the bytes of a lazy container come from.
struct RemoteFile {
  Url url;
  std::optional<std::string> bearer;  // a secret for the server (HttpRequest::bearer)
  std::string name;                   // of the package, for messages
  std::uint64_t max_size = 0;         // the most bytes that the file may have
  bool may_leave_https = false;       // a redirect may lead from https to http
  /// A URL with the secret for its server.
  struct Place {
    Url url;
    std::optional<std::string> bearer;
  };
  /// Asks for a place that works, because the server refused `url`: a signed URL expires after some minutes. Nothing if
  /// there is no other. May be empty, and may throw Error. Called by a thread that may wait for the network.
  std::function<std::optional<Place>(HttpClient& client, const CancelFlag& cancel)> renew;

  /// Asks for `length` bytes from the byte `first`, of any version.
  [[nodiscard]] RangeRequest request(std::uint64_t first, std::uint64_t length) const;
  /// The same, of the version of `file`.
  [[nodiscard]] RangeRequest request(const SparseFile& file, std::uint64_t first, std::uint64_t length) const;
};

}  // namespace pkgfs
