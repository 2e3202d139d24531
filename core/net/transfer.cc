// SPDX-License-Identifier: MIT
#include "core/net/transfer.h"

#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <new>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "core/base/ascii.h"
#include "core/base/log.h"
#include "core/net/address_policy.h"

namespace pkgfs {
namespace {

constexpr std::size_t kKeptOfFailure = 64U << 10U;   // bytes of the body of a response that isn't 2xx
constexpr std::uint64_t kMostHeaders = 256U << 10U;  // bytes of the headers of one exchange
constexpr std::chrono::seconds kDownloadWindow{30};

/// Whether `text` can be sent as a header: a scheme of authentication, a blank and a token.
bool is_header_value(const std::string& text) {
  const auto is_printable = [](char c) { return c > ' ' && c < 0x7F; };
  const std::size_t blank = text.find(' ');
  return blank != std::string::npos &&
         std::all_of(text.begin() + static_cast<std::ptrdiff_t>(blank) + 1, text.end(), is_printable);
}

Pace::Limits pace_limits(const HttpRequest& request, const HttpClient::Options& options) {
  const bool is_download = request.purpose == HttpRequest::Purpose::kDownload;
  constexpr int kToStore = 4;  // a server may answer only when it has stored and hashed all that was sent
  const std::chrono::milliseconds silence = options.stall_timeout * (request.upload ? kToStore : 1);
  return {.silence = silence,
          .window = is_download ? std::max<std::chrono::milliseconds>(silence, kDownloadWindow) : silence,
          .deadline = request.deadline};
}

/// Initialises libcurl once; the end of the process frees it.
void start_libcurl() {
  static const CURLcode code = libcurl().global_init(CURL_GLOBAL_DEFAULT);
  if (code == CURLE_OUT_OF_MEMORY) {
    throw std::bad_alloc();
  }
  if (code != CURLE_OK) {
    throw Error(ErrorCode::kInternal, std::string("libcurl can't be used: ") + libcurl().easy_strerror(code));
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

}  // namespace

void Transfer::FreeEasy::operator()(CURL* easy) const { libcurl().easy_cleanup(easy); }
void Transfer::FreeList::operator()(curl_slist* list) const { libcurl().slist_free_all(list); }

Transfer::Transfer(const HttpRequest& request, const HttpSink& sink, const CancelFlag& cancel,
                   const HttpClient::Options& options)
    : request_(request),
      sink_(sink),
      cancel_(cancel),
      pace_(pace_limits(request, options)),
      addresses_(options.addresses) {
  start_libcurl();
  easy_.reset(libcurl().easy_init());
  if (easy_ == nullptr) {
    throw std::bad_alloc();
  }
  set_options(options);
}

void Transfer::set_options(const HttpClient::Options& options) {
  CURL* const easy = easy_.get();
  set(easy, CURLOPT_URL, request_.url.text().c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_REDIR_PROTOCOLS_STR, must_keep_https() ? "https" : "http,https");
  set(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);  // of a redirect: `Url` refuses one in a request
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // Otherwise the end of a transfer would wait for the thread that looks up a name, which a silent name server can
  // delay for long, and all other transfers would wait as well.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(easy, CURLOPT_PREREQFUNCTION, &request_callback);
  set(easy, CURLOPT_PREREQDATA, static_cast<void*>(this));
  set(easy, CURLOPT_FOLLOWLOCATION, 1L);
  set(easy, CURLOPT_MAXREDIRS, static_cast<long>(options.max_redirects));
  set(easy, CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(easy, CURLOPT_PIPEWAIT, request_.url.is_https() ? 1L : 0L);
  set(easy, CURLOPT_ERRORBUFFER, message_.data());
  set(easy, CURLOPT_HEADERFUNCTION, &header_callback);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // the answer of a proxy to CONNECT isn't the server's
  set(easy, CURLOPT_WRITEFUNCTION, &body_callback);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
  // Checks an address before the connection is made; `request_callback` also checks a connection that is used again.
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &socket_callback);
  set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  if (!request_.may_redirect) {
    set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  }
  if (request_.url.is_loopback()) {
    set(easy, CURLOPT_NOPROXY, "*");  // a proxy must not see local requests and their tokens
  } else if (options.proxy) {
    set(easy, CURLOPT_PROXY, options.proxy->c_str());
  }
  if (options.ca_file) {
    set(easy, CURLOPT_CAINFO, options.ca_file->c_str());
  }
  if (request_.compressed) {
    set(easy, CURLOPT_ACCEPT_ENCODING, "");  // all encodings that libcurl can decode
  }
  if (request_.method == HttpRequest::Method::kHead) {
    set(easy, CURLOPT_NOBODY, 1L);
  } else if (request_.method == HttpRequest::Method::kPost) {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(easy, CURLOPT_POSTFIELDS, request_.body.data());
    add_header("Expect:");  // saves the round trip of "100 Continue"
  } else if (request_.method == HttpRequest::Method::kPut) {
    set(easy, CURLOPT_UPLOAD, 1L);
    set(easy, CURLOPT_FOLLOWLOCATION, 0L);  // the body would have to be sent again
    set(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(upload_size()));
    set(easy, CURLOPT_READFUNCTION, &read_callback);
    set(easy, CURLOPT_READDATA, static_cast<void*>(this));
    set(easy, CURLOPT_SEEKFUNCTION, &seek_callback);  // a connection may turn out to be closed when bytes were sent
    set(easy, CURLOPT_SEEKDATA, static_cast<void*>(this));
    if (!request_.upload) {
      add_header("Expect:");
    }
  }
  for (const auto& [name, value] : request_.headers) {
    add_header(fmt::format("{}: {}", name, value));
  }
  add_credentials();
  set(easy, CURLOPT_HTTPHEADER, headers_.get());
}

void Transfer::add_credentials() {
  if (!request_.bearer && !request_.authorization) {
    return;
  }
  const std::string value = request_.authorization ? *request_.authorization : "Bearer " + *request_.bearer;
  if (!is_header_value(value)) {
    log::warn("the login for {} can't be sent in a header and is left out", request_.url.authority());
  } else if (!request_.url.is_https() && !request_.url.is_loopback()) {
    log::warn("the login for {} isn't sent, because the connection isn't encrypted", request_.url.authority());
  } else {
    // libcurl drops this header at a redirect to another host, port or scheme.
    add_header("Authorization: " + value);
  }
}

void Transfer::add_header(const std::string& line) {
  curl_slist* longer = libcurl().slist_append(headers_.get(), line.c_str());
  if (longer == nullptr) {
    throw std::bad_alloc();
  }
  curl_slist* const shorter = headers_.release();  // the beginning of the longer list, except for the first line
  headers_.reset(longer);
  static_cast<void>(shorter);
}

void Transfer::take_header(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kMostHeaders) {
    throw HttpError(ErrorCode::kNetwork,
                    {name() + " failed", fmt::format("the headers have more than {} bytes", kMostHeaders)}, false);
  }
  if (line == "\r\n" || line == "\n") {
    const bool is_trailer = std::exchange(head_ended_, true);  // what follows are trailers or another response
    response_.status = status();
    if (!is_trailer && request_.on_head && is_success()) {
      request_.on_head(response_);
    }
    return;
  }
  if (line.starts_with("HTTP/")) {
    head_ended_ = false;
    if (const std::string* location = response_.header("location")) {
      response_.redirects.push_back(*location);
    }
    response_.headers.clear();  // another response begins: after a redirect, or after 100 Continue
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    return;
  }
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view value = line.substr(colon + 1);
  const std::size_t first = value.find_first_not_of(" \t\r\n");
  value = first == std::string_view::npos ? std::string_view{} : value.substr(first);
  value = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
  std::string& kept = response_.headers[name];
  if (name == "www-authenticate" && !kept.empty()) {
    kept.append(", ").append(value);  // a server may offer several ways to log in
  } else {
    kept = value;
  }
}

int Transfer::status() const {
  long status = 0;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

bool Transfer::announces_too_much() const {
  curl_off_t length = -1;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  return length > 0 && static_cast<std::uint64_t>(length) > request_.max_bytes;
}

bool Transfer::take_body(std::span<const std::byte> piece) {
  if (received_ == 0) {
    response_.status = status();
    too_large_ = announces_too_much();
  }
  received_ += piece.size();
  too_large_ = too_large_ || received_ > request_.max_bytes;
  if (too_large_) {
    return false;
  }
  const bool success = is_success();
  if (success && sink_) {
    sink_(response_, piece);
  } else if (success || response_.body.size() < kKeptOfFailure) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text
    response_.body.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return true;
}

std::uint64_t Transfer::body_bytes() const {
  curl_off_t bytes = 0;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_SIZE_DOWNLOAD_T, &bytes);
  return static_cast<std::uint64_t>(std::max<curl_off_t>(bytes, 0));
}

bool Transfer::is_overdue(Pace::Clock::time_point now, std::size_t transfers) {
  const std::uint64_t body = body_bytes();
  if (body < last_body_) {
    passed_bytes_ += last_body_;
  }
  last_body_ = body;
  pace_.received(header_bytes_ + passed_bytes_ + body + sent_bytes(), now);
  verdict_ = pace_.judge(now, transfers);
  return verdict_ != Pace::Verdict::kFine;
}

std::string Transfer::overdue_text() const {
  const Pace::Limits& limits = pace_.limits();
  const auto seconds = [](std::chrono::milliseconds time) { return static_cast<double>(time.count()) / 1000; };
  switch (verdict_) {
    case Pace::Verdict::kSilent:
      return fmt::format("the server sent nothing for {:g} s (--timeout)", seconds(limits.silence));
    case Pace::Verdict::kSlow:
      return fmt::format("the server sent less than {} bytes a second for {:g} s", limits.slowest,
                         seconds(limits.window));
    case Pace::Verdict::kLate:
      return "it wasn't complete in the time that --deadline gives";
    case Pace::Verdict::kFine:
      break;
  }
  return {};
}

std::size_t Transfer::header_callback(char* data, std::size_t /*one*/, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    transfer.take_header({data, size});
    return size;
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return 0;
  }
}

std::size_t Transfer::body_callback(char* data, std::size_t /*one*/, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    return transfer.take_body(std::as_bytes(std::span(data, size))) ? size : 0;
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return 0;
  }
}

bool Transfer::may_use(const sockaddr& address, bool is_connected) {
  const char* now = nullptr;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_EFFECTIVE_URL, &now);
  const AddressPolicy::Hop hop{request_.url.text(), now == nullptr ? request_.url.text() : now};
  if (auto why = addresses_->refusal(hop, address)) {
    refused_ = *std::move(why);
    return false;
  }
  if (is_connected) {
    addresses_->connected(hop, address);
  }
  return true;
}

curl_socket_t Transfer::socket_callback(void* user, curlsocktype /*purpose*/, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    if (transfer.addresses_ == nullptr || transfer.may_use(address->addr, false)) {
      const int made = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
      transfer.socket_error_ = made < 0 ? errno : 0;
      return made;
    }
  } catch (...) {
    transfer.thrown_ = std::current_exception();
  }
  return CURL_SOCKET_BAD;
}

int Transfer::request_callback(void* user, char* remote, char* /*local*/, int remote_port, int /*local_port*/) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    transfer.pace_.sent(Pace::Clock::now());
    const char* scheme = nullptr;
    libcurl().easy_getinfo(transfer.easy(), CURLINFO_SCHEME, &scheme);
    transfer.response_.left_https =
        transfer.response_.left_https ||
        (transfer.request_.url.is_https() && scheme != nullptr && to_lower(std::string(scheme)) == "http");
    if (transfer.addresses_ == nullptr) {
      return CURL_PREREQFUNC_OK;
    }
    const auto connected = Address::parse(remote == nullptr ? "" : remote, static_cast<std::uint16_t>(remote_port));
    return connected && transfer.may_use(connected->get(), true) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
  } catch (...) {
    transfer.thrown_ = std::current_exception();
    return CURL_PREREQFUNC_ABORT;
  }
}

}  // namespace pkgfs
