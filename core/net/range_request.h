// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/net/http_message.h"
#include "core/net/url.h"

namespace pkgfs {

class HttpClient;

/// One version of a file at a server.
struct RemoteVersion {
  /// A strong ETag, or the Last-Modified date of a file without an ETag if the date is settled (byte_range.h). As long
  /// as the server gives the same one, the file has the same bytes. At most 1,024 characters, none of them a line
  /// break.
  std::string validator;
  std::uint64_t size = 0;  // in bytes

  friend bool operator==(const RemoteVersion&, const RemoteVersion&) = default;
};

/// Asks for a part of a file.
struct RangeRequest {
  Url url;
  std::optional<std::string> bearer = std::nullopt;  // a secret for the server (HttpRequest::bearer)
  std::uint64_t first = 0;                           // the first byte
  /// In bytes, and not 0. If `version` is known, the range lies within its size. If not, the file may end earlier.
  std::uint64_t length = 0;
  /// The version that the answer must be of. None: any, and the answer tells which.
  std::optional<RemoteVersion> version = std::nullopt;
  /// The strong ETag of the version of which the caller has a copy. If the server still has it, it sends no range
  /// (RangeError::Reason::kUnchanged). None: the caller has no copy. Not together with `version`.
  std::optional<std::string> known_etag = std::nullopt;
  /// The most bytes that the whole file may have.
  std::uint64_t max_size = 0;
  /// A redirect may lead from https to http, because the caller checks the hash of the content.
  bool may_leave_https = false;
  /// When all bytes must have come. None: a server that sends a few hundred bytes a second may take as long as it wants
  /// (HttpClient::Options::stall_timeout).
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;
};

/// The server answered, but not with a range that can be used.
class RangeError : public HttpError {
 public:
  enum class Reason {
    kNoRanges,      // the server sends the whole file, or a compressed one, or doesn't tell its size or its version
    kOtherVersion,  // the server has another version of the file, or says that it is longer or shorter
    kRefused,       // 401, 403, 404 or 410: a URL that was signed for some minutes may have expired
    kUnchanged,     // the server has the version with RangeRequest::known_etag
    kBusy,          // 408, 429 or 5xx: later, the server may answer
    kOther,         // any other status, an answer that contradicts itself or the request, an empty or too large file
  };

  /// Another attempt may succeed (`is_transient`) if the reason is kBusy.
  RangeError(Reason reason, std::vector<std::string> chain,
             std::optional<std::chrono::seconds> retry_after = std::nullopt);
  [[nodiscard]] Reason reason() const { return reason_; }
  /// The pause that the server asked for (Retry-After). Only with kBusy.
  [[nodiscard]] const std::optional<std::chrono::seconds>& retry_after() const { return retry_after_; }

 private:
  Reason reason_;
  std::optional<std::chrono::seconds> retry_after_;
};

/// The answer to a range request.
struct RangeAnswer {
  RemoteVersion version;
  std::string url;          // after redirects
  bool left_https = false;  // a redirect led from https to http
};

/// Takes the bytes of the range in order: `piece` belongs to the byte `at` of the file. Called on the client's thread,
/// so it must not block for long. An exception ends the request, and the caller of `fetch_range` receives it.
using RangeSink = std::function<void(const RemoteVersion& version, std::uint64_t at, std::span<const std::byte> piece)>;

/// GETs a part of a file; doesn't try again. Checks the head of the answer before the first piece: it must be of
/// this range and version, and its bytes must not be encoded. If the head isn't right, the request ends at once, and
/// the body isn't taken. Returns once all bytes came. If the request fails later, the pieces that `sink` got are still
/// bytes of the range, as far as the server tells the truth.
///
/// Throws RangeError, HttpError, Error(kInterrupted), and the exceptions of `sink`. An answer that ends early is an
/// HttpError that is transient, as for any lost connection. Each HttpError names the range and the URL.
RangeAnswer fetch_range(HttpClient& client, const RangeRequest& request, const CancelFlag& cancel,
                        const RangeSink& sink);

}  // namespace pkgfs
