// SPDX-License-Identifier: MIT
#include "core/net/http.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/base/log.h"
#include "core/net/libcurl.h"

namespace pkgfs {
namespace {

constexpr std::size_t kKeptOfFailure = 64U << 10U;  // of the body of an answer that isn't 2xx
constexpr long kMaxConnections = 32;
constexpr long kSlowestBytesPerSecond = 32;  // a byte now and then is no progress
constexpr int kPollMilliseconds = 100;

/// curl_global_init is to be called once, and libcurl frees it with the process.
void start_libcurl() {
  static const CURLcode code = libcurl().global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    throw Error(ErrorCode::kInternal, std::string("libcurl can't be used: ") + libcurl().easy_strerror(code));
  }
}

const char* name_of(HttpRequest::Method method) {
  switch (method) {
    case HttpRequest::Method::kHead:
      return "HEAD";
    case HttpRequest::Method::kPost:
      return "POST";
    case HttpRequest::Method::kGet:
      break;
  }
  return "GET";
}

std::string describe(const HttpRequest& request) {
  return std::string(name_of(request.method)) + " \"" + request.url.text() + "\"";
}

bool is_printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

/// One exchange while it lasts. Lives on the stack of `fetch_once`; the loop's thread works on it until `is_done`.
struct Transfer {
  const HttpRequest& request;
  const CancelFlag& cancel;
  const HttpClient::Sink& sink;
  HttpResponse response;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  std::array<char, CURL_ERROR_SIZE> message{};
  std::exception_ptr thrown;
  std::uint64_t received = 0;
  bool too_large = false;
  // Guarded by the loop's mutex.
  std::condition_variable done;  // its own: one for all would wake everybody each time
  bool is_done = false;
  bool is_cancelled = false;
  CURLcode code = CURLE_OK;

  Transfer(const HttpRequest& asked, const CancelFlag& flag, const HttpClient::Sink& body)
      : request(asked), cancel(flag), sink(body), easy(libcurl().easy_init()) {
    if (easy == nullptr) {
      throw std::bad_alloc();
    }
  }
  ~Transfer() {
    libcurl().easy_cleanup(easy);
    libcurl().slist_free_all(headers);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  void add_header(const std::string& line) {
    curl_slist* longer = libcurl().slist_append(headers, line.c_str());
    if (longer == nullptr) {
      throw std::bad_alloc();
    }
    headers = longer;
  }

  std::size_t take_header(std::string_view line) {
    if (line.starts_with("HTTP/")) {
      response.headers.clear();  // another answer: after a redirect, or after 100 Continue
      return line.size();
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
      return line.size();
    }
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string_view value = line.substr(colon + 1);
    const std::size_t first = value.find_first_not_of(" \t\r\n");
    value = first == std::string_view::npos ? std::string_view{} : value.substr(first);
    value = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
    response.headers[std::move(name)] = value;
    return line.size();
  }

  [[nodiscard]] bool announced_too_much() const {
    curl_off_t length = -1;
    libcurl().easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length > 0 && static_cast<std::uint64_t>(length) > request.max_bytes;
  }

  bool take_body(std::span<const std::byte> piece) {
    if (received == 0) {
      long status = 0;
      libcurl().easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
      response.status = static_cast<int>(status);
    }
    if (received == 0 && announced_too_much()) {
      too_large = true;
      return false;
    }
    received += piece.size();
    if (received > request.max_bytes) {
      too_large = true;
      return false;
    }
    const bool success = response.status >= 200 && response.status < 300;
    if (success && sink) {
      sink(response, piece);
    } else if (success || response.body.size() < kKeptOfFailure) {
      // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text
      response.body.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    return true;
  }
};

std::size_t on_header(char* data, std::size_t /*one*/, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    return transfer.take_header({data, size});
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

std::size_t on_body(char* data, std::size_t /*one*/, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    return transfer.take_body(std::as_bytes(std::span(data, size))) ? size : 0;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): libcurl's interface
  const CURLcode code = libcurl().easy_setopt(easy, option, value);
  if (code != CURLE_OK) {
    throw Error(ErrorCode::kInternal, std::string("libcurl refuses an option: ") + libcurl().easy_strerror(code));
  }
}

void prepare(Transfer& transfer, const HttpClient::Options& options) {
  const HttpRequest& request = transfer.request;
  CURL* easy = transfer.easy;
  set(easy, CURLOPT_URL, request.url.text().c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // Without it, the end of a transfer waits for the thread that looks a name up, as long as a silent name server lets
  // it, and all other transfers wait with it.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(easy, CURLOPT_LOW_SPEED_LIMIT, kSlowestBytesPerSecond);
  set(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout.count()));
  set(easy, CURLOPT_FOLLOWLOCATION, 1L);
  set(easy, CURLOPT_MAXREDIRS, static_cast<long>(options.max_redirects));
  set(easy, CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(easy, CURLOPT_PIPEWAIT, request.url.is_https() ? 1L : 0L);
  set(easy, CURLOPT_ERRORBUFFER, transfer.message.data());
  set(easy, CURLOPT_HEADERFUNCTION, &on_header);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  set(easy, CURLOPT_WRITEFUNCTION, &on_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(easy, CURLOPT_PRIVATE, static_cast<void*>(&transfer));
  if (request.url.is_loopback()) {
    set(easy, CURLOPT_NOPROXY, "*");  // what stays on this machine, tokens with it, isn't shown to a proxy
  } else if (options.proxy) {
    set(easy, CURLOPT_PROXY, options.proxy->c_str());
  }
  if (options.ca_file) {
    set(easy, CURLOPT_CAINFO, options.ca_file->c_str());
  }
  if (request.compressed) {
    set(easy, CURLOPT_ACCEPT_ENCODING, "");  // all that it can decode
  }
  if (request.method == HttpRequest::Method::kHead) {
    set(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method == HttpRequest::Method::kPost) {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(easy, CURLOPT_POSTFIELDS, request.body.data());
    transfer.add_header("Expect:");  // saves the round trip of "100 Continue"
  }
  for (const auto& [name, value] : request.headers) {
    transfer.add_header(name + ": " + value);
  }
  if (request.bearer) {
    if (!is_printable(*request.bearer)) {
      log::warn("the token for {} can't be sent in a header and is left out", request.url.authority());
    } else if (!request.url.is_https() && !request.url.is_loopback()) {
      log::warn("the token for {} isn't sent, because the connection isn't encrypted", request.url.authority());
    } else {
      // libcurl drops this header at a redirect to another host, port or scheme.
      transfer.add_header("Authorization: Bearer " + *request.bearer);
    }
  }
  set(easy, CURLOPT_HTTPHEADER, transfer.headers);
}

bool is_transient_code(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

}  // namespace

class HttpClient::Loop {
 public:
  explicit Loop(Options given) : options(std::move(given)) {}
  ~Loop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    if (thread_.joinable()) {
      libcurl().multi_wakeup(multi_);
      thread_.join();
    }
    if (multi_ != nullptr) {
      libcurl().multi_cleanup(multi_);
    }
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Has the transfer done, on the loop's thread; waits for its end.
  void run(Transfer& transfer) {
    std::unique_lock lock(mutex_);
    if (!thread_.joinable()) {
      open_multi();
      thread_ = std::thread([this] { serve(); });
    }
    incoming_.push_back(&transfer);
    libcurl().multi_wakeup(multi_);
    transfer.done.wait(lock, [&] { return transfer.is_done; });
  }

  const Options options;

 private:
  void open_multi() {
    start_libcurl();
    multi_ = libcurl().multi_init();
    if (multi_ == nullptr) {
      throw std::bad_alloc();
    }
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): libcurl's interface
    libcurl().multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, kMaxConnections);
  }

  void serve() {
    while (true) {
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) {
          return;  // nobody waits in `run` any more
        }
        for (Transfer* transfer : incoming_) {
          libcurl().multi_add_handle(multi_, transfer->easy);
          active_.push_back(transfer);
        }
        incoming_.clear();
      }
      int running = 0;
      libcurl().multi_perform(multi_, &running);
      reap();
      drop_cancelled();
      libcurl().multi_poll(multi_, nullptr, 0, active_.empty() ? kIdleMilliseconds : kPollMilliseconds, nullptr);
    }
  }

  void reap() {
    int left = 0;
    while (const CURLMsg* message = libcurl().multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) {
        continue;
      }
      void* owner = nullptr;
      libcurl().easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
      auto* transfer = static_cast<Transfer*>(owner);
      end(transfer, message->data.result, false);
    }
  }

  void drop_cancelled() {
    const std::vector<Transfer*> all = active_;
    for (Transfer* transfer : all) {
      if (transfer->cancel.is_cancelled()) {
        end(transfer, CURLE_ABORTED_BY_CALLBACK, true);
      }
    }
  }

  void end(Transfer* transfer, CURLcode code, bool cancelled) {
    libcurl().multi_remove_handle(multi_, transfer->easy);
    std::erase(active_, transfer);
    const std::lock_guard lock(mutex_);
    transfer->code = code;
    transfer->is_cancelled = cancelled;
    transfer->is_done = true;
    transfer->done.notify_one();  // under the lock: afterwards the transfer may be gone
  }

  static constexpr int kIdleMilliseconds = 10'000;

  CURLM* multi_ = nullptr;
  std::mutex mutex_;
  std::vector<Transfer*> incoming_;
  bool stopping_ = false;
  std::vector<Transfer*> active_;  // the thread's own
  std::thread thread_;
};

HttpClient::HttpClient(Options options) : loop_(std::make_unique<Loop>(std::move(options))) {}
HttpClient::~HttpClient() = default;

const RetryPolicy& HttpClient::retry_policy() const { return loop_->options.retry; }

bool HttpClient::is_transient(int status) {
  constexpr std::array kTransient{408, 429, 500, 502, 503, 504};
  return std::find(kTransient.begin(), kTransient.end(), status) != kTransient.end();
}

HttpResponse HttpClient::fetch_once(const HttpRequest& request, const CancelFlag& cancel, const Sink& sink) {
  Transfer transfer(request, cancel, sink);
  prepare(transfer, loop_->options);
  log::debug("{}", describe(request));
  loop_->run(transfer);
  if (transfer.is_cancelled) {
    throw Error(ErrorCode::kInterrupted, describe(request) + ": interrupted");
  }
  if (transfer.thrown) {
    std::rethrow_exception(transfer.thrown);
  }
  if (transfer.too_large) {
    throw HttpError(
        ErrorCode::kNetwork,
        {describe(request) + " failed", "the answer has more than " + std::to_string(request.max_bytes) + " bytes"},
        false);
  }
  if (transfer.code != CURLE_OK) {
    const char* detail =
        transfer.message.front() != '\0' ? transfer.message.data() : libcurl().easy_strerror(transfer.code);
    throw HttpError(ErrorCode::kNetwork, {describe(request) + " failed", detail}, is_transient_code(transfer.code),
                    transfer.code == CURLE_OPERATION_TIMEDOUT);
  }
  long status = 0;
  libcurl().easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  const char* url = nullptr;
  libcurl().easy_getinfo(transfer.easy, CURLINFO_EFFECTIVE_URL, &url);
  transfer.response.status = static_cast<int>(status);
  transfer.response.url = url == nullptr ? request.url.text() : url;
  return std::move(transfer.response);
}

HttpResponse HttpClient::fetch(const HttpRequest& request, const CancelFlag& cancel, std::optional<int> attempts) {
  RetryPolicy policy = loop_->options.retry;
  policy.attempts = attempts.value_or(policy.attempts);
  Backoff backoff(policy, cancel);
  while (true) {
    try {
      HttpResponse response = fetch_once(request, cancel);
      if (!is_transient(response.status)) {
        return response;
      }
      const auto wait = response.retry_after();
      if (wait ? !backoff.again_after(*wait, describe(request)) : !backoff.again(describe(request))) {
        return response;
      }
    } catch (const HttpError& error) {
      const std::string what = describe(request);
      if (!error.is_transient() || !(error.is_timeout() ? backoff.again_after_timeout(what) : backoff.again(what))) {
        throw;
      }
    }
  }
}

}  // namespace pkgfs
