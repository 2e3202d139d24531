// SPDX-License-Identifier: MIT
#include "core/net/range_request.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/base/ascii.h"
#include "core/net/byte_range.h"
#include "core/net/http_client.h"

namespace pkgfs {
namespace {

using Reason = RangeError::Reason;

constexpr std::size_t kLongestValidator = 1024;

/// The validator by which the caller can ask for more of the version that `head` is of. None if there is no strong one,
/// or if it can't be sent in a header or stored in a line.
std::optional<std::string> lasting_validator(const HttpResponse& head) {
  std::optional<std::string> validator = head.header("etag") != nullptr ? validator_of(head) : settled_date(head);
  const bool is_usable = validator && validator->size() <= kLongestValidator &&
                         std::ranges::none_of(*validator, [](unsigned char c) { return c < ' ' || c == 0x7F; });
  return is_usable ? validator : std::nullopt;
}

enum class Match { kSame, kOther, kUnknown };

/// Whether `head` is of the version with this validator. A server may have begun to send ETags since a version was
/// known by its date, so the same date is enough then.
Match compare(const HttpResponse& head, const std::string& validator) {
  const bool is_tag = validator.starts_with('"');
  const std::string* const shown = head.header(is_tag ? "etag" : "last-modified");
  if (shown == nullptr || *shown == "W/" + validator) {  // weak: the bytes may differ or not
    return Match::kUnknown;
  }
  return *shown == validator ? Match::kSame : Match::kOther;
}

/// A header for a message.
std::string shown_header(const HttpResponse& head, const std::string& name) {
  const std::string* const value = head.header(name);
  return value == nullptr ? "none" : server_text(*value);
}

/// The error for a status that isn't a success.
Reason reason_for(int status) {
  if (status == 401 || status == 403 || status == 404 || status == 410) {
    return Reason::kRefused;
  }
  return status == 408 || status == 429 || status >= 500 ? Reason::kBusy : Reason::kOther;
}

/// One range request.
class RangeFetch {
 public:
  RangeFetch(const RangeRequest& request, const RangeSink& sink) : request_(request), sink_(sink) {
    const std::uint64_t most = request.version ? request.version->size : UINT64_MAX;
    if (request.length == 0 || request.first >= most || request.length > most - request.first) {
      throw Error(ErrorCode::kInternal, fmt::format("{} bytes from byte {} on aren't a range of \"{}\"", request.length,
                                                    request.first, server_text(request.url.text())));
    }
  }

  RangeAnswer run(HttpClient& client, const CancelFlag& cancel) {
    try {
      const HttpResponse response =
          client.fetch_once(http_request(), cancel, [this](const HttpResponse&, auto piece) { take(piece); });
      if (response.status < 200 || response.status >= 300) {
        throw refused(response);
      }
      if (at_ != end_) {
        throw HttpError(ErrorCode::kNetwork,
                        {failed(), fmt::format("the answer ended after {} of {} bytes", at_ - request_.first,
                                               end_ - request_.first)},
                        true);
      }
      return {.version = std::move(version_), .url = response.url, .left_https = response.left_https};
    } catch (HttpError& error) {
      error.context(fmt::format("can't read the bytes {}-{} of a remote file", request_.first, last_asked()));
      throw;
    }
  }

 private:
  [[nodiscard]] std::uint64_t last_asked() const { return request_.first + (request_.length - 1); }

  /// Its purpose is a query, so that a server that trickles bytes is found out within the time-out, as a silent one is.
  /// A download may take half a minute for that, but a reader waits for this answer.
  [[nodiscard]] HttpRequest http_request() {
    HttpRequest get{.url = request_.url,
                    .headers = {{"Accept", "application/webc"},
                                {"Range", fmt::format("bytes={}-{}", request_.first, last_asked())}},
                    .body = {},
                    .bearer = request_.bearer,
                    .compressed = false,
                    .purpose = HttpRequest::Purpose::kQuery,
                    .may_leave_https = request_.may_leave_https,
                    .deadline = request_.deadline,
                    .on_head = [this](const HttpResponse& head) { begin(head); }};
    get.max_bytes = std::max(get.max_bytes, request_.length);  // the body of an error may be longer than the range
    if (request_.version) {
      get.headers.emplace_back("If-Range", request_.version->validator);
    }
    if (request_.known_etag) {
      get.headers.emplace_back("If-None-Match", *request_.known_etag);
    }
    return get;
  }

  [[nodiscard]] std::string failed() const { return "GET \"" + server_text(request_.url.text()) + "\" failed"; }
  [[nodiscard]] RangeError error(Reason reason, std::string why) const { return {reason, {failed(), std::move(why)}}; }
  [[nodiscard]] RangeError too_large(std::uint64_t size) const {
    return error(Reason::kOther,
                 fmt::format("the file has {} bytes, and at most {} are allowed", size, request_.max_size));
  }

  /// The error for an answer that is of another version than the caller's.
  [[nodiscard]] RangeError other_version(const HttpResponse& head, std::optional<std::uint64_t> size) const {
    const RemoteVersion& known = *request_.version;
    const bool is_tag = known.validator.starts_with('"');
    return error(
        Reason::kOtherVersion,
        fmt::format("{}: the server has another version of the file ({}: {}; {} bytes) than before ({}; {} bytes)",
                    head.status_text(), is_tag ? "ETag" : "Last-Modified",
                    shown_header(head, is_tag ? "etag" : "last-modified"), size ? std::to_string(*size) : "unknown",
                    server_text(known.validator), known.size));
  }
  [[nodiscard]] bool is_other(const HttpResponse& head, std::optional<std::uint64_t> size) const {
    return request_.version &&
           (compare(head, request_.version->validator) == Match::kOther || (size && *size != request_.version->size));
  }

  [[nodiscard]] RangeError unchanged(const HttpResponse& head) const {
    return error(Reason::kUnchanged, head.status_text() + ": the server has the same version of the file as before");
  }

  /// The error for the status of `response`, which isn't a success.
  [[nodiscard]] RangeError refused(const HttpResponse& response) const {
    if (response.status == 416) {
      const std::string* const range = response.header("content-range");
      const auto size = range == nullptr ? std::nullopt : parse_unsatisfied_range(*range);
      if (request_.version && size && *size != request_.version->size) {
        return other_version(response, size);
      }
      return error(Reason::kOther, fmt::format("{}: the server has no such bytes (Content-Range: {})",
                                               response.status_text(), shown_header(response, "content-range")));
    }
    if (response.status == 304 && request_.known_etag) {
      return unchanged(response);
    }
    const Reason reason = reason_for(response.status);
    return {
        reason, {failed(), response.status_text()}, reason == Reason::kBusy ? response.retry_after() : std::nullopt};
  }

  /// The error for an answer with the status 200, which is of the whole file.
  [[nodiscard]] RangeError whole(const HttpResponse& head) const {
    if (const std::string* const etag = head.header("etag"); etag != nullptr && request_.known_etag == *etag) {
      return unchanged(head);  // by a server that knows neither If-None-Match nor ranges
    }
    const auto size = announced_size(head);
    if (is_other(head, size)) {
      return other_version(head, size);
    }
    if (size == 0U) {
      return error(Reason::kOther, head.status_text() + ": the file is empty");
    }
    if (size && *size > request_.max_size) {
      return too_large(*size);
    }
    return error(Reason::kNoRanges, head.status_text() + ": the server sends the whole file instead of a range");
  }

  /// Throws RangeError unless the body is what was asked for. Called on the client's thread.
  void begin(const HttpResponse& head) {
    at_ = request_.first;
    if (head.status == 200) {
      throw whole(head);
    }
    if (head.status != 206) {
      throw error(Reason::kOther, head.status_text() + ": neither a range nor a file");
    }
    if (is_encoded(head)) {
      throw error(Reason::kNoRanges, fmt::format("{}: the server encodes the range (Content-Encoding: {})",
                                                 head.status_text(), shown_header(head, "content-encoding")));
    }
    const ContentRange range = content_range(head);
    if (is_other(head, range.total)) {
      throw other_version(head, range.total);
    }
    set_version(head, range);
    if (request_.known_etag == version_.validator) {
      throw unchanged(head);  // by a server that doesn't know If-None-Match
    }
    check_bounds(head, range);
  }

  [[nodiscard]] ContentRange content_range(const HttpResponse& head) const {
    const std::string* const type = head.header("content-type");
    if (type != nullptr && to_lower(*type).starts_with("multipart/byteranges")) {
      throw error(Reason::kOther, head.status_text() + ": the server answers one range in several parts");
    }
    const std::string* const text = head.header("content-range");
    const auto range = text == nullptr ? std::nullopt : parse_content_range(*text);
    if (!range) {
      throw error(Reason::kOther, fmt::format("{}: the server doesn't tell which bytes it sends (Content-Range: {})",
                                              head.status_text(), shown_header(head, "content-range")));
    }
    return *range;
  }

  /// Takes the version from an answer that isn't of another one.
  void set_version(const HttpResponse& head, const ContentRange& range) {
    std::optional<std::string> validator = lasting_validator(head);
    if (request_.version) {
      validator.reset();
      if (compare(head, request_.version->validator) == Match::kSame) {
        validator = request_.version->validator;
      }
    }
    if (!range.total) {
      throw error(Reason::kNoRanges, fmt::format("{}: the server doesn't tell the size of the file (Content-Range: {})",
                                                 head.status_text(), shown_header(head, "content-range")));
    }
    if (!validator) {
      throw error(Reason::kNoRanges,
                  fmt::format("{}: the server doesn't tell the version of the file (ETag: {}, Last-Modified: {})",
                              head.status_text(), shown_header(head, "etag"), shown_header(head, "last-modified")));
    }
    if (*range.total > request_.max_size) {
      throw too_large(*range.total);
    }
    version_ = {.validator = *validator, .size = *range.total};
  }

  /// Throws RangeError unless these are the bytes that were asked for, and the body has as many.
  void check_bounds(const HttpResponse& head, const ContentRange& range) {
    const std::uint64_t last = std::min(last_asked(), version_.size - 1);
    if (range.first != request_.first || range.last != last) {
      throw error(Reason::kOther, fmt::format("{}: the server sends another range (Content-Range: {})",
                                              head.status_text(), shown_header(head, "content-range")));
    }
    end_ = last + 1;
    const auto length = announced_size(head);
    if (length && *length != end_ - at_) {
      throw error(Reason::kOther,
                  fmt::format("{}: the server announces {} bytes for a range of {} (Content-Range: {})",
                              head.status_text(), *length, end_ - at_, shown_header(head, "content-range")));
    }
  }

  /// Called on the client's thread.
  void take(std::span<const std::byte> piece) {
    if (piece.size() > end_ - at_) {
      throw error(Reason::kOther, fmt::format("the server sends more than the {} bytes of the range that it announced",
                                              end_ - request_.first));
    }
    const std::uint64_t at = std::exchange(at_, at_ + piece.size());
    sink_(version_, at, piece);
  }

  const RangeRequest& request_;
  const RangeSink& sink_;
  RemoteVersion version_;
  std::uint64_t at_ = request_.first;                     // the byte of the file that comes next
  std::uint64_t end_ = request_.first + request_.length;  // after the last byte of the range
};

}  // namespace

RangeError::RangeError(Reason reason, std::vector<std::string> chain, std::optional<std::chrono::seconds> retry_after)
    : HttpError(ErrorCode::kNetwork, std::move(chain), reason == Reason::kBusy),
      reason_(reason),
      retry_after_(retry_after) {}

RangeAnswer fetch_range(HttpClient& client, const RangeRequest& request, const CancelFlag& cancel,
                        const RangeSink& sink) {
  return RangeFetch(request, sink).run(client, cancel);
}

}  // namespace pkgfs
