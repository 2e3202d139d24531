// SPDX-License-Identifier: MIT
// The only place that includes Beast: it costs a compiler half a minute.
#include "daemon/volumes/plugin_server.h"

#include <unistd.h>

#ifdef __SANITIZE_THREAD__
#define BOOST_ASIO_DISABLE_FENCED_BLOCK  // fences are beyond ThreadSanitizer; asio's queues have locks, too
#endif

#include <utility>  // asio's awaitable.hpp forgets it

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Socket = net::local::stream_protocol;

/// Requests at a time: a mount may keep one waiting for seconds.
constexpr std::size_t kThreads = 16;
constexpr std::size_t kHeaderBytes = 16U << 10U;
constexpr auto kAcceptPause = std::chrono::milliseconds(200);
/// What is still read, and thrown away, of a request that was refused: the client reads our answer then.
constexpr std::size_t kMostDrained = 8U << 20U;

/// What all connections share.
struct Server {
  VolumeDriver& driver;
  PluginServerLimits limits;
  net::io_context io{1};
  net::thread_pool workers{kThreads};
  std::size_t connections = 0;
  bool workers_ended = false;
};

/// One client. Keeps itself alive while something is going on; all of it but the driver's answer on the one thread of
/// the server.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, Socket::socket socket) : server_(server), stream_(std::move(socket)) {
    ++server_.connections;
  }
  ~Connection() { --server_.connections; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Waits for the first byte of a request, longer than for the rest of it.
  void start() {
    if (buffer_.size() > 0) {
      read();
      return;
    }
    stream_.expires_after(server_.limits.idle);
    stream_.async_read_some(buffer_.prepare(1), [self = shared_from_this()](beast::error_code error, std::size_t got) {
      if (!error) {
        self->buffer_.commit(got);
        self->read();
      }
    });
  }

 private:
  void read() {
    parser_.emplace();
    parser_->header_limit(kHeaderBytes);
    parser_->body_limit(server_.limits.body_bytes);
    stream_.expires_after(server_.limits.request);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_read(error); });
  }

  void on_read(beast::error_code error) {
    if (error == http::error::body_limit) {
      refuse(http::status::payload_too_large,
             "the request has more than " + std::to_string(server_.limits.body_bytes) + " bytes");
      return;
    }
    if (error.category() == http::make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
      refuse(http::status::bad_request, "the request isn't HTTP: " + error.message());
      return;
    }
    if (error) {
      log::debug("a client of the volume plugin is left: {}", error.message());
      return;
    }
    net::post(server_.workers, [self = shared_from_this()]() mutable {
      const auto& request = self->parser_->get();
      const auto method = request.method_string();
      const auto target = request.target();
      PluginAnswer answer = answer_plugin_request(
          {.method = {method.data(), method.size()}, .path = {target.data(), target.size()}, .body = request.body()},
          self->server_.driver);
      auto& io = self->server_.io;
      net::post(io, [self = std::move(self), answer = std::move(answer)]() mutable { self->write(std::move(answer)); });
    });
  }

  void refuse(http::status status, const std::string& why) {
    log::info("a request to the volume plugin is refused: {}", why);
    is_refused_ = true;
    write(plugin_error(static_cast<unsigned>(status), why));
  }

  void write(PluginAnswer answer) {
    response_.emplace(static_cast<http::status>(answer.status), 11);
    response_->set(http::field::server, "pkgfs/" PKGFS_VERSION);
    response_->set(http::field::content_type, beast::string_view(kPluginContentType.data(), kPluginContentType.size()));
    response_->keep_alive(!is_refused_ && parser_->get().keep_alive());
    response_->body() = std::move(answer.body);
    response_->body() += '\n';
    response_->prepare_payload();
    undo_ = std::move(answer.undo);
    stream_.expires_after(server_.limits.request);
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_write(error); });
  }

  void on_write(beast::error_code error) {
    if (error) {
      log::debug("an answer of the volume plugin wasn't read: {}", error.message());
      if (undo_ && server_.workers_ended) {
        undo(undo_);
      } else if (undo_) {  // the connection itself ends here, not on that thread
        net::post(server_.workers, [job = std::move(undo_)] { undo(job); });
      }
      return;
    }
    if (is_refused_) {
      beast::error_code ignored;
      std::ignore = stream_.socket().shutdown(Socket::socket::shutdown_send, ignored);
      stream_.expires_after(server_.limits.request);
      drain(0);
    } else if (response_->keep_alive()) {
      start();
    }
  }

  static void undo(const std::function<void()>& job) noexcept {
    try {
      job();
    } catch (const std::exception& failed) {
      log::warn("{}", failed.what());
    }
  }

  void drain(std::size_t so_far) {
    buffer_.clear();
    stream_.async_read_some(net::buffer(drained_),
                            [self = shared_from_this(), so_far](beast::error_code error, std::size_t got) {
                              if (!error && so_far + got < kMostDrained) {
                                self->drain(so_far + got);
                              }
                            });
  }

  Server& server_;
  beast::basic_stream<Socket> stream_;
  beast::flat_buffer buffer_{kHeaderBytes * 2};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::function<void()> undo_;
  bool is_refused_ = false;
  std::array<char, 16384> drained_{};
};

class Acceptor {
 public:
  Acceptor(Server& server, int listener) : server_(server), acceptor_(server.io), pause_(server.io) {
    const int own = ::dup(listener);
    if (own < 0) {
      throw system_error("Unable to listen", errno);
    }
    acceptor_.assign(Socket(), own);
  }

  void start() {
    acceptor_.async_accept([this](beast::error_code error, Socket::socket socket) {
      if (error == net::error::operation_aborted) {
        return;
      }
      if (!error && server_.connections < server_.limits.connections) {
        std::make_shared<Connection>(server_, std::move(socket))->start();
      } else if (error) {  // no more descriptors, say
        log::warn("the volume plugin can't take a client: {}", error.message());
        pause_.expires_after(kAcceptPause);
        pause_.async_wait([this](beast::error_code) { start(); });
        return;
      }
      start();
    });
  }
  void stop() {
    beast::error_code ignored;
    std::ignore = acceptor_.cancel(ignored);
    std::ignore = acceptor_.close(ignored);
  }

 private:
  Server& server_;
  Socket::acceptor acceptor_;
  net::steady_timer pause_;
};

}  // namespace

void serve_plugin(int listener, VolumeDriver& driver, const PluginServerLimits& limits,
                  const std::function<void()>& stopping) {
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe)
  Server server{.driver = driver, .limits = limits};
  Acceptor acceptor(server, listener);
  acceptor.start();
  net::signal_set signals(server.io, SIGTERM, SIGINT);
  signals.async_wait([&](beast::error_code error, int) {
    if (!error) {
      acceptor.stop();
      stopping();
      server.io.stop();
    }
  });
  server.io.run();
  server.workers.join();
  // What they have answered is written, as far as it is taken at once.
  server.workers_ended = true;
  server.io.restart();
  server.io.poll();
}

}  // namespace pkgfs
