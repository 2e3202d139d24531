// SPDX-License-Identifier: MIT
// The only file that includes Boost.Beast, which takes a compiler half a minute.
#include "daemon/http/http_server.h"

#include <fcntl.h>
#include <sys/socket.h>

#ifdef __SANITIZE_THREAD__
#define BOOST_ASIO_DISABLE_FENCED_BLOCK  // ThreadSanitizer does not understand fences; Asio's queues have locks as well
#endif

#include <utility>  // before Asio, which uses std::exchange without including it

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <limits>
#include <list>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/http/workers.h"

namespace pkgfs {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using Protocol = asio::generic::stream_protocol;

constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr unsigned kHttp11 = 11;
constexpr unsigned kInternalError = 500;

beast::string_view to_beast(std::string_view text) { return {text.data(), text.size()}; }
std::string_view from_beast(beast::string_view text) { return {text.data(), text.size()}; }

/// Why a request that was not read is refused; nothing if the client left or was too slow.
std::optional<HttpServer::Refusal> refusal_of(beast::error_code error) {
  using enum HttpServer::Refusal;
  if (error == http::error::body_limit) {
    return kBodyTooLarge;
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return kHeaderTooLarge;
  }
  const bool is_parser = error.category() == http::make_error_code(http::error::bad_method).category();
  const bool has_left = error == http::error::end_of_stream || error == http::error::partial_message;
  return is_parser && !has_left ? std::optional(kNotHttp) : std::nullopt;
}

}  // namespace

/// The Error of a system call of Asio, which throws its number and the name of the call.
Error asio_error(const std::string& name, const boost::system::system_error& error) {
  const int errnum = error.code().value();
  const bool is_thread = errnum == EAGAIN;
  return is_thread ? start_error(name + " can't be started", errnum) : system_error(name + " can't be started", errnum);
}

class HttpServer::Impl {
 public:
  Impl(std::string name, int listener, const HttpLimits& limits, Handler handler, Refuse refuse);
  ~Impl() { is_stopping_ = true; }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  void on_stop_signal(std::function<void()> action);
  void run();
  void stop();

 private:
  class Connection;

  void wait();
  void accept();
  void connection_ended();

  const std::string name_;
  const HttpLimits limits_;
  const Handler handler_;
  const Refuse refuse_;
  int family_ = AF_UNSPEC;
  // Connections that the destructor of `io_` destroys use what is declared before it.
  std::size_t connections_ = 0;
  std::list<Connection*> waiting_;  // for a request, the longest first
  bool is_stopping_ = false;
  bool workers_have_ended_ = false;
  bool accept_fails_ = false;
  asio::io_context io_{1};
  asio::posix::stream_descriptor listener_{io_};
  asio::steady_timer pause_{io_};
  asio::signal_set signals_{io_};
  std::optional<Workers> workers_;
};

/// One client. Every pending operation owns the connection, so it ends with the last one. The server's thread does
/// everything but the handler's work.
class HttpServer::Impl::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Impl& server, Protocol::socket socket) : server_(server), stream_(std::move(socket)) {
    ++server_.connections_;
  }
  ~Connection() {
    stop_waiting();
    server_.connection_ended();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() {
    place_ = server_.waiting_.insert(server_.waiting_.end(), this);
    if (server_.limits_.idle.count() == 0 || buffer_.size() > 0) {
      read();
    } else {
      wait_for_request();
    }
  }

  /// Ends the connection, which waits for a request.
  void drop() {
    stop_waiting();
    stream_.close();
  }

 private:
  void stop_waiting() {
    if (place_) {
      server_.waiting_.erase(*place_);
      place_.reset();
    }
  }

  void wait_for_request() {
    stream_.expires_after(server_.limits_.idle);
    stream_.async_read_some(buffer_.prepare(1), [self = shared_from_this()](beast::error_code error, std::size_t got) {
      if (!error) {
        self->buffer_.commit(got);
        self->read();
      }
    });
  }

  void read() {
    const HttpLimits& limits = server_.limits_;
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits.header_bytes));
    stream_.expires_after(limits.request);
    auto done = [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_read(error); };
    if (limits.body_bytes == 0) {
      parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
      http::async_read_header(stream_, buffer_, *parser_, std::move(done));
    } else {
      parser_->body_limit(limits.body_bytes);
      http::async_read(stream_, buffer_, *parser_, std::move(done));
    }
  }

  void on_read(beast::error_code error) {
    stop_waiting();
    if (!error) {
      answer();
    } else if (const auto refusal = refusal_of(error)) {
      log::info("{} refuses a request: {}", server_.name_, error.message());
      write(server_.refuse_(*refusal, error.message()));
    } else {
      log::debug("{} closes a connection: {}", server_.name_, error.message());
    }
  }

  void answer() {
    if (!server_.workers_) {
      is_answered_ = true;
      write(ask_handler());
      return;
    }
    asio::post(server_.workers_->jobs(), [self = shared_from_this()]() mutable {
      Reply reply = self->ask_handler();
      auto& io = self->server_.io_;
      asio::post(io, [self = std::move(self), reply = std::move(reply)]() mutable {
        self->is_answered_ = true;
        self->write(std::move(reply));
      });
    });
  }

  Reply ask_handler() const {
    const auto& request = parser_->get();
    try {
      return server_.handler_({.method = from_beast(request.method_string()),
                               .target = from_beast(request.target()),
                               .body = request.body()});
    } catch (const std::exception& error) {
      log::warn("{} can't answer a request: {}", server_.name_, error);
      return {.status = kInternalError, .body = "internal error\n"};
    }
  }

  void write(Reply reply) {
    const bool is_head = is_answered_ && parser_->get().method() == http::verb::head;
    response_.emplace(static_cast<http::status>(reply.status), is_answered_ ? parser_->get().version() : kHttp11);
    response_->set(http::field::server, "pkgfs/" PKGFS_VERSION);
    response_->set(http::field::content_type, to_beast(reply.content_type));
    for (const auto& [name, value] : reply.headers) {
      response_->set(to_beast(name), to_beast(value));
    }
    response_->keep_alive(is_answered_ && server_.limits_.idle.count() > 0 && parser_->get().keep_alive());
    response_->content_length(reply.body.size());
    if (!is_head) {
      response_->body() = std::move(reply.body);
    }
    undelivered_ = std::move(reply.undelivered);
    stream_.expires_after(server_.limits_.request);
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_write(error); });
  }

  void on_write(beast::error_code error) {
    if (error) {
      log::debug("{}: a client did not take its reply: {}", server_.name_, error.message());
      report_undelivered();
    } else if (response_->keep_alive() && !server_.is_stopping_) {
      is_answered_ = false;
      start();
    } else {
      beast::error_code ignored;
      std::ignore = stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
      stream_.expires_after(server_.limits_.drain);
      drain(server_.limits_.drained_bytes);
    }
  }

  void report_undelivered() {
    if (!undelivered_) {
      return;
    }
    auto job = [this_name = server_.name_, undelivered = std::move(undelivered_)] {
      try {
        undelivered();
      } catch (const std::exception& failed) {
        log::warn("{}: {}", this_name, failed);
      }
    };
    if (server_.workers_ && !server_.workers_have_ended_) {
      asio::post(server_.workers_->jobs(), std::move(job));  // the job outlives this connection
    } else {
      job();
    }
  }

  void drain(std::size_t left) {
    stream_.async_read_some(asio::buffer(drained_),
                            [self = shared_from_this(), left](beast::error_code error, std::size_t got) {
                              if (!error && got < left) {
                                self->drain(left - got);
                              }
                            });
  }

  Impl& server_;
  beast::basic_stream<Protocol> stream_;
  beast::flat_buffer buffer_{server_.limits_.header_bytes * 2};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::function<void()> undelivered_;
  std::optional<std::list<Connection*>::iterator> place_;  // in `waiting_`
  bool is_answered_ = false;                               // the handler has seen the request that `parser_` holds
  std::array<char, 16384> drained_{};
};

HttpServer::Impl::Impl(std::string name, int listener, const HttpLimits& limits, Handler handler, Refuse refuse)
    : name_(std::move(name)), limits_(limits), handler_(std::move(handler)), refuse_(std::move(refuse)) {
  socklen_t size = sizeof(family_);
  const int copy = ::fcntl(listener, F_DUPFD_CLOEXEC, 0);  // `listener_` closes its descriptor
  if (copy < 0 || ::getsockopt(copy, SOL_SOCKET, SO_DOMAIN, &family_, &size) != 0) {
    throw system_error(name_ + " can't be started", errno);
  }
  listener_.assign(copy);
}

void HttpServer::Impl::on_stop_signal(std::function<void()> action) {
  signals_.add(SIGTERM);
  signals_.add(SIGINT);
  signals_.async_wait([action = std::move(action)](beast::error_code error, int) {
    if (!error) {
      action();
    }
  });
}

void HttpServer::Impl::run() {
  if (limits_.handler_threads > 0) {
    workers_.emplace(limits_.handler_threads, name_);
  }
  wait();
  // Without it, `run` would end while handlers work on all connections: then nothing waits for anything here.
  const auto work = asio::make_work_guard(io_);
  io_.run();
  is_stopping_ = true;
  beast::error_code ignored;
  std::ignore = listener_.close(ignored);
  if (workers_) {
    workers_->join();
  }
  workers_have_ended_ = true;
  io_.restart();
  io_.poll();  // sends the replies that the handlers have made since
}

void HttpServer::Impl::stop() { io_.stop(); }

void HttpServer::Impl::wait() {
  listener_.async_wait(asio::posix::stream_descriptor::wait_read, [this](beast::error_code error) {
    if (!error && !is_stopping_) {
      accept();
    }
  });
}

void HttpServer::Impl::accept() {
  const int fd = ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
    // No file descriptor is free, or no memory. The message comes once, not with each attempt.
    if (!std::exchange(accept_fails_, true)) {
      log::warn("{}", system_error(name_ + " can't accept a connection", errno).message());
    }
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](beast::error_code error) {
      if (!error) {
        wait();
      }
    });
    return;
  }
  accept_fails_ = false;
  if (fd >= 0) {
    std::make_shared<Connection>(*this, Protocol::socket(io_, Protocol(family_, 0), fd))->start();
  }
  if (connections_ < limits_.connections) {
    wait();
  } else if (waiting_.size() > 1) {
    waiting_.front()->drop();  // not the newest one; its end makes the server wait for the next client
  }
}

void HttpServer::Impl::connection_ended() {
  if (connections_-- == limits_.connections && !is_stopping_) {
    wait();
  }
}

HttpServer::HttpServer(std::string name, int listener, const HttpLimits& limits, Handler handler, Refuse refuse) try
    : impl_(std::make_unique<Impl>(name, listener, limits, std::move(handler), std::move(refuse))) {
} catch (const boost::system::system_error& error) {
  throw asio_error(name, error);
}
HttpServer::~HttpServer() = default;
void HttpServer::on_stop_signal(std::function<void()> action) {
  try {
    impl_->on_stop_signal(std::move(action));
  } catch (const boost::system::system_error& error) {
    throw asio_error(impl_->name(), error);
  }
}
void HttpServer::run() { impl_->run(); }
void HttpServer::stop() { impl_->stop(); }

}  // namespace pkgfs
