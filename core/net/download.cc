// SPDX-License-Identifier: MIT
#include "core/net/download.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "core/base/log.h"
#include "core/net/http_client.h"
#include "core/net/libcurl.h"
#include "core/net/partial_file.h"

namespace pkgfs {
namespace {

/// The value for an If-Range header (RFC 9110 13.1.5): a strong ETag, else a date. A weak ETag can't be used.
std::optional<std::string> validator_of(const HttpResponse& head) {
  if (const std::string* etag = head.header("etag")) {
    if (etag->starts_with('"')) {
      return *etag;
    }
    return std::nullopt;
  }
  const std::string* date = head.header("last-modified");
  return date == nullptr ? std::nullopt : std::optional(*date);
}

bool is_encoded(const HttpResponse& head) {
  const std::string* encoding = head.header("content-encoding");
  return encoding != nullptr && *encoding != "identity";
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;
};

/// `bytes {first}-{last}/{total or *}`.
std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) {
    return std::nullopt;
  }
  text.remove_prefix(kUnit.size());
  const std::size_t dash = text.find('-');
  const std::size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) {
    return std::nullopt;
  }
  const auto first = parse_number(text.substr(0, dash));
  const auto last = parse_number(text.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first) {
    return std::nullopt;
  }
  return ContentRange{*first, *last, parse_number(text.substr(slash + 1))};
}

/// Thrown while a body begins that the caller has already.
struct Unchanged {};

/// The Last-Modified date if the file was older than a second when it was sent.
std::optional<std::string> settled_date(const HttpResponse& head) {
  const std::string* modified = head.header("last-modified");
  if (modified == nullptr) {
    return std::nullopt;
  }
  const std::string* sent = head.header("date");
  const std::time_t then = libcurl().getdate(modified->c_str(), nullptr);
  const std::time_t now = sent == nullptr ? std::time(nullptr) : libcurl().getdate(sent->c_str(), nullptr);
  return then != -1 && now != -1 && now - then > 1 ? std::optional(*modified) : std::nullopt;
}

/// One download: attempts until the file is complete, or until another attempt is of no use.
class Download {
 public:
  Download(HttpClient& client, const DownloadRequest& request, const std::string& part, const CancelFlag& cancel)
      : client_(client), request_(request), cancel_(cancel), part_(part), file_(part, request.url.text()) {}

  Downloaded run() {
    const std::string what = "downloading " + request_.name;
    Backoff backoff(client_.retry_policy(), cancel_);
    while (true) {
      const std::uint64_t before = file_.size();
      worth_keeping_ = false;
      try {
        const HttpResponse response = attempt();
        if (response.status == 200 || (response.status == 206 && is_complete())) {
          return complete(response);
        }
        if (response.status == 304 && request_.etag) {
          return unchanged();
        }
        if (response.status == 304 && asks_by_date_) {
          const std::string* const date = response.header("last-modified");
          if (date != nullptr && *date == *request_.last_modified) {
            return unchanged();
          }
          // Many servers say so of any file that isn't newer, also of an older one. `begin` compares the dates.
          asks_by_date_ = false;
          continue;
        }
        if (response.status == 206) {  // the server sent less than was asked for
          constexpr std::uint64_t kWorthARequest = 64U << 10U;
          if (file_.size() - before < kWorthARequest && !backoff.again(what)) {
            throw failed("the server sends it in tiny pieces", true);
          }
          continue;
        }
        if (response.status == 416 && before > 0) {
          forget();  // the file on the server is shorter than the part that we have
          continue;
        }
        worth_keeping_ = HttpClient::is_transient(response.status);
        const auto wait = response.retry_after();
        if (!worth_keeping_ || (wait ? !backoff.again_after(*wait, what) : !backoff.again(what))) {
          throw refused(response);
        }
      } catch (const Unchanged&) {
        return unchanged();
      } catch (const HttpError& error) {
        if (file_.size() > before) {
          backoff.reset();
        }
        worth_keeping_ = error.is_transient();
        if (!worth_keeping_ || !(error.is_timeout() ? backoff.again_after_timeout(what) : backoff.again(what))) {
          throw;
        }
      }
      worth_keeping_ = true;  // if the pause is interrupted
    }
  }

  /// After a failure: whether another download can continue from here.
  [[nodiscard]] bool can_continue(const Error& failure) const {
    return file_.origin() && file_.size() > 0 && !cancel_.is_for_room() &&
           (worth_keeping_ || failure.code() == ErrorCode::kInterrupted);
  }

 private:
  static std::optional<std::string> etag_of(const HttpResponse& response) {
    const std::string* etag = response.header("etag");
    return etag == nullptr ? std::nullopt : std::optional(*etag);
  }

  [[nodiscard]] Downloaded complete(const HttpResponse& response) {
    Downloaded result{.sha256 = file_.finish(),
                      .size = file_.size(),
                      .etag = etag_of(response),
                      .last_modified = settled_date(response),
                      .redirects = response.redirects};
    if (!result.redirects.empty()) {
      result.redirects.back() = response.url;
    }
    return result;
  }

  [[nodiscard]] Downloaded unchanged() const {
    PartialFile::discard(part_);
    return {.is_unchanged = true, .etag = {}, .last_modified = {}, .redirects = {}};
  }

  [[nodiscard]] Error refused(const HttpResponse& response) const {
    const std::string status = response.status_text();
    return {ErrorCode::kNetwork,
            {"package download failed: GET request to \"" + request_.url.text() + "\" failed with status " +
                 status.substr(0, status.find(" (")),
             status}};
  }

  /// After a 206: whether that was the rest of the file.
  [[nodiscard]] bool is_complete() const { return !total_ || file_.size() >= *total_; }

  [[nodiscard]] HttpError failed(std::string why, bool transient) const {
    return {ErrorCode::kNetwork, {"GET \"" + request_.url.text() + "\" failed", std::move(why)}, transient};
  }

  void forget() {
    total_.reset();
    file_.clear();
  }

  HttpResponse attempt() {
    if (!file_.origin()) {
      file_.clear();
    }
    HttpRequest get{.url = request_.url,
                    .headers = {{"Accept", request_.accept}},
                    .body = {},
                    .bearer = request_.bearer,
                    .max_bytes = request_.max_bytes};
    if (file_.size() > 0) {
      get.headers.emplace_back("Range", "bytes=" + std::to_string(file_.size()) + "-");
      get.headers.emplace_back("If-Range", file_.origin()->validator);
      get.compressed = false;
    }
    if (request_.etag) {
      get.headers.emplace_back("If-None-Match", *request_.etag);
    } else if (asks_by_date_) {
      get.headers.emplace_back("If-Modified-Since", *request_.last_modified);
    }
    begun_ = false;
    anew_ = false;
    HttpResponse response = client_.fetch_once(get, cancel_, [&](const HttpResponse& head, auto piece) {
      if (!begun_) {
        begin(head);
      }
      if (piece.size() > request_.max_bytes - std::min(request_.max_bytes, file_.size())) {
        throw failed("the answer has more than " + std::to_string(request_.max_bytes) + " bytes", false);
      }
      file_.append(piece);
      if (request_.progress != nullptr) {
        request_.progress->received(file_.size());
      }
    });
    if (anew_) {  // logged here, because a blocked terminal must not block the client's thread
      log::info("{}: the server has another version or no ranges, it was downloaded anew", request_.name);
    }
    if (response.status == 200 && !begun_) {
      forget();  // an empty body
    }
    if (response.status == 206 && !begun_) {
      forget();
      throw failed("the server answered with an empty range", true);
    }
    if (response.status == 204 || (response.status > 206 && response.status < 300)) {
      throw Error(ErrorCode::kNetwork, {"package download failed", "GET \"" + request_.url.text() + "\": " +
                                                                       response.status_text() + ", without a body"});
    }
    return response;
  }

  /// Decides by the head of the response whether the body continues the file or replaces it.
  void begin(const HttpResponse& head) {
    begun_ = true;
    if (head.status == 206) {
      check_range(head);
      announce(total_);
      return;
    }
    const std::string* const date = head.header("last-modified");
    const bool same_date =
        !request_.etag && request_.last_modified && date != nullptr && *date == *request_.last_modified;
    if ((request_.etag && etag_of(head) == request_.etag) || same_date) {
      throw Unchanged{};  // a server that doesn't know If-None-Match or If-Modified-Since
    }
    anew_ = file_.size() > 0;
    forget();
    const auto validator = validator_of(head);
    const bool encoded = is_encoded(head);
    if (validator && !encoded) {
      file_.set_origin({request_.url.text(), *validator});
    }
    const std::string* length = head.header("content-length");
    announce(encoded || length == nullptr ? std::nullopt : parse_number(*length));
  }

  /// Throws HttpError unless the body of this 206 begins where the file ends, and belongs to the same version.
  void check_range(const HttpResponse& head) {
    if (!file_.origin()) {
      throw failed("the server answered a part of what was asked for", true);
    }
    const std::string* range = head.header("content-range");
    const auto parsed = range == nullptr ? std::nullopt : parse_content_range(*range);
    const bool is_same = validator_of(head) == file_.origin()->validator && !is_encoded(head);
    if (!parsed || parsed->first != file_.size() || !is_same) {
      const std::uint64_t wanted = file_.size();
      forget();
      throw failed("the server answered another range (" + (range == nullptr ? "none" : *range) +
                       ", or of another version) than from byte " + std::to_string(wanted),
                   true);
    }
    total_ = parsed->total;
  }

  void announce(std::optional<std::uint64_t> total) {
    if (request_.progress != nullptr) {
      request_.progress->started(file_.size(), total);
    }
  }

  HttpClient& client_;
  const DownloadRequest& request_;
  const CancelFlag& cancel_;
  const std::string& part_;
  PartialFile file_;
  bool asks_by_date_ = !request_.etag && request_.last_modified;
  bool begun_ = false;                  // the body of this attempt has begun
  bool anew_ = false;                   // this attempt replaced what earlier ones had brought
  bool worth_keeping_ = false;          // another attempt may succeed
  std::optional<std::uint64_t> total_;  // size of the whole file, as the last 206 says
};

}  // namespace

Downloaded download(HttpClient& client, const DownloadRequest& request, const std::string& part,
                    const CancelFlag& cancel) {
  Download attempts(client, request, part, cancel);
  try {
    return attempts.run();
  } catch (const Error& error) {
    if (!attempts.can_continue(error)) {
      PartialFile::discard(part);
    }
    throw;
  }
}

}  // namespace pkgfs
