// SPDX-License-Identifier: MIT
#include "core/net/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <vector>

#include "core/base/files.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

constexpr std::size_t kOriginBytes = 64U << 10U;

std::string origin_file(const std::string& part) { return part + ".from"; }

/// Where the bytes of a partial file are from: two lines, URL and validator.
struct Origin {
  std::string url;
  std::string validator;
};

std::optional<Origin> read_origin(const std::string& part) {
  try {
    const auto text = read_small_file(origin_file(part), kOriginBytes);
    if (!text) {
      return std::nullopt;
    }
    const std::size_t first = text->find('\n');
    const std::size_t second = first == std::string::npos ? first : text->find('\n', first + 1);
    if (second == std::string::npos || second + 1 != text->size()) {
      return std::nullopt;
    }
    return Origin{text->substr(0, first), text->substr(first + 1, second - first - 1)};
  } catch (const Error& error) {
    log::debug("{}", error.what());
    return std::nullopt;
  }
}

/// What If-Range may be given (RFC 9110 13.1.5): a strong ETag, else a date.
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

/// The file that grows, with the hash of what it holds.
class PartialFile {
 public:
  explicit PartialFile(std::string path) : path_(std::move(path)) {
    fd_.reset(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd_) {
      throw failed("open", errno);
    }
  }

  [[nodiscard]] std::uint64_t size() const { return size_; }

  void clear() {
    if (::ftruncate(fd_.get(), 0) != 0) {
      throw failed("truncate", errno);
    }
    size_ = 0;
    hasher_ = std::make_unique<Sha256Hasher>();
  }

  /// Takes over what is in the file.
  void take_over() {
    clear_hash();
    std::vector<std::byte> buffer(kBuffer);
    while (true) {
      const ssize_t got = ::pread(fd_.get(), buffer.data(), buffer.size(), static_cast<off_t>(size_));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        throw failed("read", errno);
      }
      if (got == 0) {
        return;
      }
      hasher_->update(std::span(buffer).first(static_cast<std::size_t>(got)));
      size_ += static_cast<std::uint64_t>(got);
    }
  }

  void append(std::span<const std::byte> piece) {
    hasher_->update(piece);
    while (!piece.empty()) {
      const ssize_t put = ::pwrite(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(size_));
      if (put < 0) {
        if (errno == EINTR) {
          continue;
        }
        throw failed("write", errno);
      }
      size_ += static_cast<std::uint64_t>(put);
      piece = piece.subspan(static_cast<std::size_t>(put));
    }
  }

  [[nodiscard]] Sha256 finish() {
    if (::fsync(fd_.get()) != 0) {
      throw failed("write", errno);
    }
    return hasher_->finish();
  }

 private:
  static constexpr std::size_t kBuffer = 1U << 20U;

  void clear_hash() {
    size_ = 0;
    hasher_ = std::make_unique<Sha256Hasher>();
  }
  [[nodiscard]] Error failed(const char* what, int errnum) const {
    return system_error(std::string("Unable to ") + what + " '" + path_ + "'", errnum);
  }

  std::string path_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;
  std::unique_ptr<Sha256Hasher> hasher_ = std::make_unique<Sha256Hasher>();
};

/// One download with its attempts.
class Download {
 public:
  Download(HttpClient& client, const DownloadRequest& request, const std::string& part, const CancelFlag& cancel)
      : client_(client), request_(request), part_(part), cancel_(cancel), file_(part) {
    origin_ = read_origin(part_);
    if (origin_ && origin_->url == request_.url.text()) {
      file_.take_over();
    } else {
      forget();
    }
  }

  Downloaded run() {
    const std::string what = "downloading " + request_.name;
    Backoff backoff(client_.retry_policy(), cancel_);
    while (true) {
      const std::uint64_t before = file_.size();
      worth_keeping_ = false;
      try {
        const HttpResponse response = attempt();
        if (response.status == 200 || (response.status == 206 && is_complete())) {
          return {file_.finish(), file_.size(), etag_of(response)};
        }
        if (response.status == 206) {  // a part of what was asked for
          constexpr std::uint64_t kWorthARequest = 64U << 10U;
          if (file_.size() - before < kWorthARequest && !backoff.again(what)) {
            throw failed("the server sends it in tiny pieces", true);
          }
          continue;
        }
        if (response.status == 416 && before > 0) {
          forget();  // what we have isn't a beginning of what is there now
          continue;
        }
        worth_keeping_ = HttpClient::is_transient(response.status);
        const auto wait = response.retry_after();
        if (!worth_keeping_ || (wait ? !backoff.again_after(*wait, what) : !backoff.again(what))) {
          throw refused(response);
        }
      } catch (const HttpError& error) {
        if (file_.size() > before) {
          backoff.reset();
        }
        worth_keeping_ = error.is_transient();
        if (!worth_keeping_ || !(error.is_timeout() ? backoff.again_after_timeout(what) : backoff.again(what))) {
          throw;
        }
      }
      worth_keeping_ = true;  // whatever stops us during a pause
    }
  }

  /// After a failure: whether another attempt can go on from here.
  [[nodiscard]] bool can_continue(const Error& failure) const {
    return origin_ && file_.size() > 0 && !cancel_.is_for_room() &&
           (worth_keeping_ || failure.code() == ErrorCode::kInterrupted);
  }

 private:
  static std::optional<std::string> etag_of(const HttpResponse& response) {
    const std::string* etag = response.header("etag");
    return etag == nullptr ? std::nullopt : std::optional(*etag);
  }

  [[nodiscard]] Error refused(const HttpResponse& response) const {
    const std::string status = response.status_text();
    return {ErrorCode::kNetwork,
            {"package download failed: GET request to \"" + request_.url.text() + "\" failed with status " +
                 status.substr(0, status.find(" (")),
             status}};
  }

  /// After a 206: whether that was the rest.
  [[nodiscard]] bool is_complete() const { return !total_ || file_.size() >= *total_; }

  [[nodiscard]] HttpError failed(std::string why, bool transient) const {
    return {ErrorCode::kNetwork, {"GET \"" + request_.url.text() + "\" failed", std::move(why)}, transient};
  }

  void forget() {
    total_.reset();
    origin_.reset();
    ::unlink(origin_file(part_).c_str());
    file_.clear();
  }

  HttpResponse attempt() {
    if (!origin_) {
      file_.clear();
    }
    HttpRequest get{.url = request_.url,
                    .headers = {{"Accept", request_.accept}},
                    .body = {},
                    .bearer = request_.bearer,
                    .max_bytes = request_.max_bytes};
    if (file_.size() > 0) {
      get.headers.emplace_back("Range", "bytes=" + std::to_string(file_.size()) + "-");
      get.headers.emplace_back("If-Range", origin_->validator);
      get.compressed = false;
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
      if (request_.observer != nullptr) {
        request_.observer->received(request_.name, file_.size());
      }
    });
    if (anew_) {  // not said on the client's thread, which the terminal could hold up
      log::info("{}: the server has another version or no ranges, it was fetched anew", request_.name);
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

  /// Looks at the head of the answer: does it go on where we are?
  void begin(const HttpResponse& head) {
    begun_ = true;
    if (head.status == 206 && !origin_) {
      throw failed("the server answered a part of what was asked for", true);
    }
    if (head.status == 206) {
      const std::string* range = head.header("content-range");
      const auto parsed = range == nullptr ? std::nullopt : parse_content_range(*range);
      const bool is_same = validator_of(head) == origin_->validator && !is_encoded(head);
      if (!parsed || parsed->first != file_.size() || !is_same) {
        const std::uint64_t wanted = file_.size();
        forget();
        throw failed("the server answered another range (" + (range == nullptr ? "none" : *range) +
                         ", or of another version) than from byte " + std::to_string(wanted),
                     true);
      }
      total_ = parsed->total;
      announce(total_);
      return;
    }
    anew_ = file_.size() > 0;
    forget();
    const auto validator = validator_of(head);
    const bool encoded = is_encoded(head);
    if (validator && !encoded && validator->find('\n') == std::string::npos) {
      origin_ = Origin{request_.url.text(), *validator};
      write_file_atomically(origin_file(part_), origin_->url + "\n" + origin_->validator + "\n", Durability::kUnsynced);
    }
    const std::string* length = head.header("content-length");
    announce(encoded || length == nullptr ? std::nullopt : parse_number(*length));
  }

  void announce(std::optional<std::uint64_t> total) {
    if (request_.observer != nullptr) {
      request_.observer->started(request_.name, file_.size(), total);
    }
  }

  HttpClient& client_;
  const DownloadRequest& request_;
  const std::string& part_;
  const CancelFlag& cancel_;
  PartialFile file_;
  std::optional<Origin> origin_;
  bool begun_ = false;
  bool anew_ = false;  // what was there before was of no use
  bool worth_keeping_ = false;
  std::optional<std::uint64_t> total_;  // as the last 206 says
};

}  // namespace

Downloaded download(HttpClient& client, const DownloadRequest& request, const std::string& part,
                    const CancelFlag& cancel) {
  Download attempts(client, request, part, cancel);
  try {
    Downloaded result = attempts.run();
    ::unlink(origin_file(part).c_str());
    return result;
  } catch (const Error& error) {
    if (!attempts.can_continue(error)) {
      discard_download(part);
    }
    if (request.observer != nullptr) {
      request.observer->finished(request.name, 0, false);
    }
    throw;
  }
}

void discard_download(const std::string& part) noexcept {
  ::unlink(part.c_str());
  try {
    ::unlink(origin_file(part).c_str());
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory; a stale file is removed with the old ones
  }
}

}  // namespace pkgfs
