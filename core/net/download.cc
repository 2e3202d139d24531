// SPDX-License-Identifier: MIT
#include "core/net/download.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/base/log.h"
#include "core/net/byte_range.h"
#include "core/net/download_effort.h"
#include "core/net/http_client.h"
#include "core/net/partial_file.h"

namespace pkgfs {
namespace {

/// Thrown while a body begins that the caller has already.
struct Unchanged {};

/// One download: attempts until the file is complete, or until another attempt is of no use.
class Download {
 public:
  Download(HttpClient& client, const DownloadRequest& request, const std::string& part, const CancelFlag& cancel)
      : client_(client),
        request_(request),
        cancel_(cancel),
        part_(part),
        file_(part, request.url.text()),
        effort_(file_.size()),
        deadline_(client.download_deadline()) {}

  Downloaded run() {
    const std::string what = "downloading " + request_.name;
    Backoff backoff(client_.retry_policy(), cancel_, deadline_);
    while (true) {
      worth_keeping_ = false;
      const auto begun = Backoff::Clock::now();
      try {
        const HttpResponse response = attempt();
        if (response.status == 200 || (response.status == 206 && is_complete())) {
          return complete(response, file_.finish());
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
        if (response.status == 206) {
          failure_ = "the server sent less than was asked for";
          if (effort_.has_progressed(file_.size())) {
            backoff.reset();
          } else if (!backoff.again(what)) {
            throw failed("the server sends it in tiny pieces", true);
          }
          continue;
        }
        if (response.status == 416 && file_.size() > 0) {
          if (auto whole = already_complete(response)) {
            return std::move(*whole);
          }
          start_anew("the server has no bytes after byte " + std::to_string(file_.size()));
          tell_of_restart();
          if (!backoff.again(what)) {
            throw refused(response);
          }
          continue;
        }
        failure_ = response.status_text();
        worth_keeping_ = HttpClient::is_transient(response.status);
        const auto wait = response.retry_after();
        if (!worth_keeping_ || (wait ? !backoff.again_after(*wait, what) : !backoff.again(what))) {
          throw refused(response);
        }
      } catch (const Unchanged&) {
        return unchanged();
      } catch (const HttpError& error) {
        failure_ = error.chain().back();
        tell_of_restart();
        const bool has_progressed = effort_.has_progressed(file_.size());
        if (has_progressed) {
          backoff.reset();
        }
        worth_keeping_ = error.is_transient();
        if (!worth_keeping_ || !(has_progressed ? backoff.again(what) : backoff.again_after(error, begun, what))) {
          throw error.after(backoff.attempts());
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

  /// `sha256`: of the finished file.
  [[nodiscard]] Downloaded complete(const HttpResponse& response, const Sha256& sha256) {
    Downloaded result{.sha256 = sha256,
                      .file = file_.release(),
                      .size = file_.size(),
                      .etag = etag_of(response),
                      .last_modified = settled_date(response),
                      .redirects = response.redirects,
                      .left_https = response.left_https};
    if (!result.redirects.empty()) {
      result.redirects.back() = response.url;
    }
    return result;
  }

  /// After a 416: the file, if there are no more bytes because it is complete. An earlier process may have ended after
  /// the last byte. A server may ignore If-Range, so the hash must tell that the bytes are right, or else the
  /// validator.
  [[nodiscard]] std::optional<Downloaded> already_complete(const HttpResponse& response) {
    const std::string* range = response.header("content-range");
    if (range == nullptr || parse_unsatisfied_range(*range) != file_.size()) {
      return std::nullopt;
    }
    const bool is_same = file_.origin() && validator_of(response) == file_.origin()->validator;
    if (!is_same && !request_.expected) {
      return std::nullopt;
    }
    const Sha256 sha256 = file_.finish();
    const bool is_right = request_.expected ? sha256 == *request_.expected : is_same;
    return is_right ? std::optional(complete(response, sha256)) : std::nullopt;
  }

  [[nodiscard]] Downloaded unchanged() const {
    PartialFile::discard(part_);
    return {.is_unchanged = true, .file = {}, .etag = {}, .last_modified = {}, .redirects = {}};
  }

  [[nodiscard]] Error refused(const HttpResponse& response) const {
    const std::string status = response.status_text();
    return {ErrorCode::kNetwork,
            {"package download failed: GET request to \"" + server_text(request_.url.text()) +
                 "\" failed with status " + status.substr(0, status.find(" (")),
             status}};
  }

  /// After a 206: whether that was the rest of the file.
  [[nodiscard]] bool is_complete() const { return total_ && file_.size() == *total_; }

  [[nodiscard]] HttpError failed(std::string why, bool transient) const {
    return {
        ErrorCode::kNetwork, {"GET \"" + server_text(request_.url.text()) + "\" failed", std::move(why)}, transient};
  }

  /// The error for a download that isn't worth another attempt: the attempts before had reasons of their own.
  [[nodiscard]] HttpError given_up(std::string why) const {
    HttpError error = failed(std::move(why), false);
    if (failure_) {
      error.caused_by(fmt::format("the attempt before failed: {}", *failure_));
    }
    return error;
  }

  /// Throws away what there is, because of `why`. Throws HttpError if that happened too often. May be called on the
  /// client's thread, so it leaves the message to `tell_of_restart`.
  void start_anew(const std::string& why) {
    if (file_.size() > 0) {
      if (!effort_.restart()) {
        throw given_up(fmt::format("it was started anew {} times, and now {}", DownloadEffort::kMostRestarts, why));
      }
      restart_ = why + "; " + std::to_string(file_.size()) + " bytes are thrown away";
    }
    total_.reset();
    file_.clear();
  }

  void tell_of_restart() {
    if (restart_) {
      log::warn("downloading {} starts anew ({} of at most {} times): {}", request_.name, effort_.restarts(),
                DownloadEffort::kMostRestarts, *std::exchange(restart_, std::nullopt));
    }
  }

  [[nodiscard]] HttpRequest next_request() const {
    HttpRequest get{.url = request_.url,
                    .headers = {{"Accept", request_.accept}},
                    .body = {},
                    .bearer = request_.bearer,
                    .max_bytes = request_.max_bytes,
                    .purpose = HttpRequest::Purpose::kDownload,
                    .may_leave_https = request_.may_leave_https,
                    .deadline = deadline_};
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
    return get;
  }

  HttpResponse attempt() {
    if (!file_.origin()) {
      start_anew("the server gave no ETag and no date by which the rest could be asked for");
      tell_of_restart();
    }
    begun_ = false;
    HttpResponse response =
        client_.fetch_once(next_request(), cancel_, [&](const HttpResponse& head, auto piece) { take(head, piece); });
    tell_of_restart();
    if (response.status == 200 && !begun_) {
      total_.reset();
      file_.clear();  // an empty body
    }
    if (response.status == 206 && !begun_) {
      start_anew("the server answered with an empty range");
      throw failed("the server answered with an empty range", true);
    }
    if (response.status == 204 || (response.status > 206 && response.status < 300)) {
      throw Error(ErrorCode::kNetwork,
                  {"package download failed",
                   "GET \"" + server_text(request_.url.text()) + "\": " + response.status_text() + ", without a body"});
    }
    return response;
  }

  /// Called on the client's thread.
  void take(const HttpResponse& head, std::span<const std::byte> piece) {
    if (!begun_) {
      begin(head);
    }
    if (piece.size() > request_.max_bytes - std::min(request_.max_bytes, file_.size())) {
      throw failed("the answer has more than " + std::to_string(request_.max_bytes) + " bytes", false);
    }
    if (!effort_.spend(piece.size())) {
      throw given_up("the server sent more than twice the size of the file, because of broken attempts");
    }
    if (range_end_ && piece.size() > *range_end_ - file_.size()) {
      start_anew("the server sent more than the range that it announced");
      throw failed("the server sent more than the range that it announced", true);
    }
    file_.append(piece);
    if (request_.progress != nullptr) {
      request_.progress->received(file_.size());
    }
  }

  /// Decides by the head of the response whether the body continues the file or replaces it.
  void begin(const HttpResponse& head) {
    begun_ = true;
    range_end_.reset();
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
    start_anew("the server has another version or no ranges");
    const auto validator = validator_of(head);
    if (validator && !is_encoded(head)) {
      file_.set_origin({request_.url.text(), *validator});
    }
    total_ = announced_size(head);
    effort_.expect(total_);
    announce(total_);
  }

  /// Throws HttpError unless the body of this 206 begins where the file ends, and belongs to the same version.
  void check_range(const HttpResponse& head) {
    if (!file_.origin()) {
      throw failed("the server answered a part of what was asked for", true);
    }
    const std::string* range = head.header("content-range");
    const auto parsed = range == nullptr ? std::nullopt : parse_content_range(*range);
    const bool is_same = validator_of(head) == file_.origin()->validator && !is_encoded(head);
    const auto total = parsed && parsed->total ? parsed->total : total_;  // without it, the end can't be known
    if (!parsed || parsed->first != file_.size() || !is_same || !total || (total_ && *total_ != *total)) {
      const std::string why = "the server answered another range (" +
                              (range == nullptr ? "none" : "\"" + server_text(*range) + "\"") +
                              ", or of another version) than from byte " + std::to_string(file_.size());
      start_anew(why);
      throw failed(why, true);
    }
    total_ = total;
    range_end_ = parsed->last + 1;
    effort_.expect(total);
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
  bool begun_ = false;                      // the body of this attempt has begun
  bool worth_keeping_ = false;              // another attempt may succeed
  std::optional<std::uint64_t> total_;      // size of the whole file, as the server says
  std::optional<std::uint64_t> range_end_;  // where the range of this attempt ends
  DownloadEffort effort_;
  std::optional<std::string> failure_;  // why the last attempt failed
  std::optional<std::string> restart_;  // why the file was just cleared, if that wasn't told yet
  std::optional<Backoff::Clock::time_point> deadline_;
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
