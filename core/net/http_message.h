// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/net/url.h"

namespace pkgfs {

struct HttpResponse;

/// The bytes of a file, as the body of a request. They are read while they are sent, so a file of any size takes little
/// memory.
struct HttpUpload {
  int fd = -1;             // stays open until the exchange ends; its position isn't used
  std::uint64_t size = 0;  // the bytes that are sent, from the first one on
  std::string name;        // of the file, for messages
};

struct HttpRequest {
  enum class Method { kGet, kHead, kPost, kPut };
  enum class Purpose {
    kQuery,     // the answer is short
    kDownload,  // the answer may be of any size, so its rate is measured over half a minute at least
  };

  Method method = Method::kGet;
  Url url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // of a POST or PUT
  /// Sent as `Authorization: Bearer`, but only over https or to loopback, and not to another authority after a
  /// redirect.
  std::optional<std::string> bearer;
  /// Another `Authorization` header than the one with `bearer`, for example of Basic authentication. Sent under the
  /// same conditions.
  std::optional<std::string> authorization = std::nullopt;
  std::optional<HttpUpload> upload = std::nullopt;  // the body of a PUT, instead of `body`
  std::uint64_t max_bytes = 16ULL << 20U;           // the most bytes of the decoded body of the response
  bool compressed = true;                           // accept all encodings that libcurl can decode (gzip, zstd, br)
  Purpose purpose = Purpose::kQuery;
  bool may_leave_https = false;  // follow a redirect from https to http
  /// Follow redirects. Not for a request whose body is a secret: another server would get it.
  bool may_redirect = true;
  /// When the whole response must have come. None: `HttpClient::fetch` uses Options::query_deadline, and `fetch_once`
  /// has no deadline.
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;
  /// Judges the head of a 2xx response before its body comes, so that a wrong body is never waited for. Called once an
  /// exchange, on the client's thread. An exception ends the exchange, and the caller of the client receives it.
  std::function<void(const HttpResponse& head)> on_head = nullptr;
};

struct HttpResponse {
  int status = 0;
  std::string url;                             // after redirects
  std::vector<std::string> redirects;          // the Location headers that were followed, as they came
  bool left_https = false;                     // a redirect led from https to http
  std::map<std::string, std::string> headers;  // of the final response; names in lower case
  std::string body;                            // decoded; empty if a sink took it

  [[nodiscard]] const std::string* header(const std::string& lower_case_name) const;
  /// The status with its phrase: `404 Not Found`. The phrase is from pkgfs, because HTTP/2 sends none. For a 503 with a
  /// Retry-After header, ` (Retry After: {value})` follows.
  [[nodiscard]] std::string status_text() const;
  /// The value of the Retry-After header, at most a day; none if it is missing or malformed.
  [[nodiscard]] std::optional<std::chrono::seconds> retry_after() const;
};

/// No usable response came: a failure of the connection, or a response that breaks a limit.
class HttpError : public Error {
 public:
  HttpError(ErrorCode code, std::vector<std::string> chain, bool transient, bool timed_out = false)
      : Error(code, std::move(chain)), transient_(transient), timed_out_(timed_out) {}
  /// Whether another attempt may succeed: true for lost connections and time-outs, false for a wrong certificate.
  [[nodiscard]] bool is_transient() const { return transient_; }
  /// Whether a name server, a proxy or the server was silent or slow for too long.
  [[nodiscard]] bool is_timeout() const { return timed_out_; }
  /// The same error. If there were several `attempts`, its first message also gives their number.
  [[nodiscard]] HttpError after(int attempts) const;

 private:
  bool transient_;
  bool timed_out_;
};

/// The address policy of the client doesn't allow an address that the request led to. Nothing was sent there.
class RefusedAddress : public HttpError {
 public:
  explicit RefusedAddress(std::vector<std::string> chain)
      : HttpError(ErrorCode::kPermission, std::move(chain), /*transient=*/false) {}
};

/// Takes the decoded body of a 2xx response piece by piece; `head` is the response without its body. Called on the
/// client's thread, so it must not block for long. An exception ends the transfer, and the caller of the client
/// receives it. A response with another status has about the first 64 KiB of its body in `HttpResponse::body` instead.
using HttpSink = std::function<void(const HttpResponse& head, std::span<const std::byte> piece)>;

/// A text or URL of a server, for messages: printable, and with at most `kLongestServerText` characters
/// (core/base/printable.h).
[[nodiscard]] std::string server_text(std::string_view text);

/// `GET "https://…"`, for messages.
[[nodiscard]] std::string describe(const HttpRequest& request);

}  // namespace pkgfs
