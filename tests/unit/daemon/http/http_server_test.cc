// SPDX-License-Identifier: MIT
// Risk: one client of a server takes memory, threads or time from the others, or a reply is lost unnoticed.
#include "daemon/http/http_server.h"

#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "daemon/http/unix_listener.h"
#include "tests/support/fixtures.h"
#include "tests/support/http.h"
#include "tests/support/process.h"

namespace pkgfs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

std::string get(const std::string& target, const std::string& more = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n";
}

std::string post(const std::string& body) {
  return "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Http : public ::testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    limits_.request = milliseconds(300);
    limits_.drain = milliseconds(300);
  }
  ~Http() override { end(); }

  void start() {
    server_.emplace(
        "the test's server", listener_.fd(), limits_, [this](const auto& request) { return handle(request); },
        [](HttpServer::Refusal why, const std::string& detail) {
          return HttpServer::Reply{.status = 400,
                                   .body = "refused " + std::to_string(static_cast<int>(why)) + " " + detail};
        });
    thread_ = std::thread([this] { server_->run(); });
  }
  void end() {
    if (thread_.joinable()) {
      server_->stop();
      thread_.join();
    }
  }
  HttpServer::Reply handle(const HttpServer::Request& request) {
    ++handled_;
    if (request.target == "/throw") {
      throw std::runtime_error("on purpose");
    }
    if (request.target == "/slow") {
      at_work_ = true;
      sleep_ms(400);
    }
    HttpServer::Reply reply{.body = std::string(request.method) + " [" + std::string(request.body) + "]"};
    if (request.target == "/large") {
      reply.body = std::string(std::size_t{16} << 20U, 'x');
    }
    reply.undelivered = [this] { ++undelivered_; };
    return reply;
  }
  [[nodiscard]] std::string address() const { return "unix:" + listener_.path(); }
  [[nodiscard]] std::string ask(const std::string& request) const { return talk(address(), request); }
  /// Sends on a connection that stays open, and returns what comes until `enough` is there.
  static std::string say(int fd, const std::string& request, const std::string& enough) {
    EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    std::string got;
    char part[4096];
    while (got.find(enough) == std::string::npos) {
      const ssize_t count = ::recv(fd, part, sizeof(part), 0);
      if (count <= 0) {
        break;
      }
      got.append(part, static_cast<std::size_t>(count));
    }
    return got;
  }

  TempDir directory_;
  UnixListener listener_{directory_.path() / "s", "Unable to listen", UnixListener::Access::kUmask};
  HttpLimits limits_;
  std::atomic<int> handled_ = 0;
  std::atomic<int> undelivered_ = 0;
  std::atomic<bool> at_work_ = false;
  std::optional<HttpServer> server_;
  std::thread thread_;
};

TEST_F(Http, WithoutABodyLimitTheHandlerGetsNoBodyAndTheClientItsReply) {
  start();
  EXPECT_NE(ask(get("/")).find("\r\n\r\nGET []"), std::string::npos);
  const std::string reply = ask(post(std::string(2'000'000, 'x')).substr(0, 100'000));
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200 OK\r\n")) << reply.substr(0, 200);
  const std::string head = ask("HEAD / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.0 200 OK\r\n")) << head;
  EXPECT_NE(head.find("Content-Length: 7\r\n"), std::string::npos) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << "the body is for GET only";
  EXPECT_EQ(undelivered_, 0);
}

TEST_F(Http, RequestsOverALimitAreRefusedBeforeTheHandlerSeesThem) {
  limits_.body_bytes = 100;
  limits_.handler_threads = 1;
  start();
  EXPECT_NE(ask(post(std::string(100, 'x'))).find("POST [xxx"), std::string::npos);
  EXPECT_NE(ask(post(std::string(50'000, 'x'))).find("refused 2 "), std::string::npos);
  EXPECT_NE(ask(get("/", "X: " + std::string(50'000, 'y') + "\r\n")).find("refused 1 "), std::string::npos);
  EXPECT_NE(ask("\x16\x03\x01 hello\r\n\r\n").find("refused 0 "), std::string::npos);
  EXPECT_EQ(handled_, 1);
}

TEST_F(Http, ConnectionsAreKeptOnlyWithAnIdleLimitAndEndWithIt) {
  start();
  EXPECT_NE(ask(get("/")).find("Connection: close\r\n"), std::string::npos);
  end();
  limits_.idle = milliseconds(300);
  start();
  const UniqueFd fd = connect_to(address());
  for (int round = 0; round < 3; ++round) {
    EXPECT_NE(say(fd.get(), get("/"), "GET []").find("GET []"), std::string::npos);
    sleep_ms(100);
  }
  EXPECT_EQ(handled_, 4);
  const auto begin = Clock::now();
  EXPECT_EQ(read_rest(fd.get()), "");
  EXPECT_LT(Clock::now() - begin, seconds(3));
}

TEST_F(Http, SlowClientsAreCutOff) {
  start();
  const UniqueFd slow = connect_to(address());
  EXPECT_EQ(::send(slow.get(), "GET /", 5, MSG_NOSIGNAL), 5);
  const auto begin = Clock::now();
  EXPECT_EQ(read_rest(slow.get()), "");
  EXPECT_LT(Clock::now() - begin, seconds(3));
  EXPECT_EQ(handled_, 0);
}

TEST_F(Http, IdleClientsKeepNoOthersOut) {
  limits_.connections = 2;
  limits_.request = seconds(30);
  start();
  const UniqueFd idle[] = {connect_to(address()), connect_to(address()), connect_to(address())};
  const auto begin = Clock::now();
  EXPECT_NE(ask(get("/")).find("GET []"), std::string::npos);
  EXPECT_EQ(read_rest(idle[0].get()), "") << "the one that waited longest is closed";
  EXPECT_LT(Clock::now() - begin, seconds(10));
}

TEST_F(Http, OthersWaitWhileAllConnectionsAreAnswered) {
  limits_.connections = 2;
  limits_.handler_threads = 2;
  start();
  const UniqueFd busy[] = {connect_to(address()), connect_to(address())};
  for (const UniqueFd& fd : busy) {
    EXPECT_EQ(::send(fd.get(), get("/slow").data(), get("/slow").size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(get("/slow").size()));
  }
  ASSERT_TRUE(eventually([&] { return handled_ == 2; }));
  const auto begin = Clock::now();
  EXPECT_NE(ask(get("/")).find("GET []"), std::string::npos);
  EXPECT_GT(Clock::now() - begin, milliseconds(100)) << "two are served at a time";
  for (const UniqueFd& fd : busy) {
    EXPECT_NE(read_rest(fd.get()).find("GET []"), std::string::npos);
  }
}

TEST_F(Http, AReplyThatNoClientTakesIsReported) {
  for (const std::size_t threads : {0U, 2U}) {
    limits_.handler_threads = threads;
    undelivered_ = 0;
    start();
    const UniqueFd fd = connect_to(address());
    EXPECT_EQ(::send(fd.get(), get("/large").data(), get("/large").size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(get("/large").size()));
    EXPECT_TRUE(eventually([&] { return undelivered_ == 1; })) << "the client reads nothing";
    end();
  }
}

TEST_F(Http, AnExceptionOfTheHandlerCostsOneReply) {
  for (const std::size_t threads : {0U, 2U}) {
    limits_.handler_threads = threads;
    start();
    EXPECT_TRUE(ask(get("/throw")).starts_with("HTTP/1.1 500 "));
    EXPECT_TRUE(ask(get("/")).starts_with("HTTP/1.1 200 "));
    end();
  }
}

TEST_F(Http, StoppingWaitsForAHandlerAndSendsItsReply) {
  limits_.handler_threads = 2;
  start();
  std::string reply;
  std::thread client([&] { reply = ask(get("/slow")); });
  EXPECT_TRUE(eventually([&] { return at_work_.load(); }));
  end();
  client.join();
  EXPECT_NE(reply.find("GET []"), std::string::npos) << reply;
}

TEST_F(Http, ASignalCallsTheActionOnce) {
  std::atomic<int> calls = 0;
  server_.emplace(
      "the test's server", listener_.fd(), limits_, [this](const auto& request) { return handle(request); },
      [](HttpServer::Refusal, const std::string&) { return HttpServer::Reply{}; });
  server_->on_stop_signal([&] {
    ++calls;
    server_->stop();
  });
  thread_ = std::thread([this] { server_->run(); });
  EXPECT_NE(ask(get("/")).find("GET []"), std::string::npos);
  ::kill(::getpid(), SIGTERM);
  thread_.join();
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace pkgfs::test
