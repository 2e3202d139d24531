// SPDX-License-Identifier: MIT
// The one file that Boost.Beast is compiled in.
#include "daemon/observe/metrics_server.h"

#include <utility>  // before asio, which uses std::exchange without it

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <tuple>

#include "core/base/log.h"
#include "daemon/observe/metrics_listener.h"

namespace pkgfs {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::size_t kMostRequest = 8192;
constexpr std::size_t kMostConnections = 64;
constexpr auto kRequestLimit = std::chrono::seconds(5);
constexpr auto kAnswerLimit = std::chrono::seconds(5);
constexpr auto kDrainLimit = std::chrono::seconds(1);
constexpr std::size_t kDrain = std::size_t{64} << 10U;
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr const char* kTextFormat = "text/plain; version=0.0.4; charset=utf-8";

using Text = std::function<std::string()>;
using Stream = beast::basic_stream<asio::generic::stream_protocol>;
using Answer = http::response<http::string_body>;

Answer make_answer(http::status status, unsigned version, std::string body, const char* type = "text/plain") {
  Answer answer(status, version);
  answer.set(http::field::content_type, type);
  answer.set(http::field::server, "pkgfs/" PKGFS_VERSION);
  answer.keep_alive(false);
  answer.body() = std::move(body);
  answer.prepare_payload();
  return answer;
}

Answer answer_to(const http::request<http::empty_body>& request, const Text& text) {
  const unsigned version = request.version();
  const bool is_head = request.method() == http::verb::head;
  if (request.method() != http::verb::get && !is_head) {
    Answer answer = make_answer(http::status::method_not_allowed, version, "only GET and HEAD\n");
    answer.set(http::field::allow, "GET, HEAD");
    return answer;
  }
  const std::string_view target(request.target().data(), request.target().size());
  if (target.substr(0, target.find('?')) != "/metrics") {
    return make_answer(http::status::not_found, version, is_head ? "" : "the metrics are at /metrics\n");
  }
  std::string body = text();
  if (!is_head) {
    return make_answer(http::status::ok, version, std::move(body), kTextFormat);
  }
  Answer answer = make_answer(http::status::ok, version, "", kTextFormat);
  answer.content_length(body.size());
  return answer;
}

/// One request and its answer. Keeps itself alive as long as something is going on.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// `ended` is called by the destructor.
  Connection(Stream stream, const Text& text, std::function<void()> ended)
      : stream_(std::move(stream)), text_(text), ended_(std::move(ended)) {
    parser_.header_limit(kMostRequest);
  }
  ~Connection() { ended_(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() {
    stream_.expires_after(kRequestLimit);
    http::async_read_header(stream_, buffer_, parser_,
                            [self = shared_from_this()](beast::error_code error, std::size_t) { self->answer(error); });
  }

 private:
  void answer(beast::error_code error) {
    constexpr unsigned kHttp11 = 11;
    if (!error) {
      answer_ = answer_to(parser_.get(), text_);
    } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      answer_ = make_answer(http::status::request_header_fields_too_large, kHttp11, "the request is too large\n");
    } else if (error.category() == make_error_code(http::error::bad_method).category() &&
               error != http::error::end_of_stream && error != http::error::partial_message) {
      answer_ = make_answer(http::status::bad_request, kHttp11, "not an HTTP request\n");
    } else {
      return;  // gone, or too slow
    }
    stream_.expires_after(kAnswerLimit);
    http::async_write(stream_, answer_, [self = shared_from_this()](beast::error_code failed, std::size_t) {
      if (!failed) {
        self->drain();
      }
    });
  }

  /// Takes what the client still sends: closing over it would take the answer away from the client.
  void drain() {
    beast::error_code ignored;
    std::ignore = stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
    stream_.expires_after(kDrainLimit);
    read_rest(kDrain);
  }
  void read_rest(std::size_t left) {
    stream_.async_read_some(asio::buffer(rest_),
                            [self = shared_from_this(), left](beast::error_code error, std::size_t count) {
                              if (!error && count < left) {
                                self->read_rest(left - count);
                              }
                            });
  }

  Stream stream_;
  const Text& text_;
  std::function<void()> ended_;
  beast::flat_static_buffer<kMostRequest> buffer_;
  http::request_parser<http::empty_body> parser_;
  Answer answer_;
  std::array<char, 4096> rest_{};
};

}  // namespace

class MetricsServer::Impl {
 public:
  Impl(const std::string& address, Text text) : listener_(address), text_(std::move(text)) {}
  ~Impl() {
    io_.stop();
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void start() {
    const int copy = ::fcntl(listener_.fd(), F_DUPFD_CLOEXEC, 0);  // the descriptor below closes its own
    waiting_.emplace(io_, copy);
    wait();
    thread_ = std::thread([this] { run(); });
  }
  [[nodiscard]] const std::string& address() const { return listener_.address(); }

 private:
  void run() {
    try {
      io_.run();
    } catch (const std::exception& error) {
      log::warn("the metrics are no longer served: {}", error.what());
    }
  }

  void wait() {
    waiting_->async_wait(asio::posix::stream_descriptor::wait_read, [this](beast::error_code error) {
      if (!error) {
        accept();
      }
    });
  }

  void accept() {
    const int fd = ::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      pause_.expires_after(kPause);  // no descriptors, or no memory
      pause_.async_wait([this](beast::error_code error) {
        if (!error) {
          wait();
        }
      });
      return;
    }
    if (fd >= 0) {
      asio::generic::stream_protocol::socket socket(io_, asio::generic::stream_protocol(listener_.family(), 0), fd);
      ++connections_;
      std::make_shared<Connection>(Stream(std::move(socket)), text_, [this] { ended(); })->start();
    }
    if (connections_ < kMostConnections) {
      wait();
    }
  }

  void ended() {
    if (connections_-- == kMostConnections && !io_.stopped()) {
      wait();
    }
  }

  MetricsListener listener_;
  Text text_;
  std::size_t connections_ = 0;
  asio::io_context io_{1};
  std::optional<asio::posix::stream_descriptor> waiting_;
  asio::steady_timer pause_{io_};
  std::thread thread_;
};

MetricsServer::MetricsServer(const std::string& address, std::function<std::string()> text)
    : impl_(std::make_unique<Impl>(address, std::move(text))) {}
MetricsServer::~MetricsServer() = default;
void MetricsServer::start() { impl_->start(); }
const std::string& MetricsServer::address() const { return impl_->address(); }

}  // namespace pkgfs
