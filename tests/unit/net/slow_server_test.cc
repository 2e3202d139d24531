// SPDX-License-Identifier: MIT
// Risk: a server that sends next to nothing holds a command for ever, or this machine's own slowness is taken for such
// a server.
#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/unit/net/hostile_server.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::SizeIs;
using Clock = std::chrono::steady_clock;
using Reply = RawServer::Reply;

/// How long `call` takes, and that it fails with a text that has `expected`.
template <typename Call>
double seconds_of(const Call& call, const std::string& expected) {
  const auto begun = Clock::now();
  try {
    call();
    ADD_FAILURE() << "it succeeds";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNetwork) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(expected));
  }
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

class SlowServer : public HostileServer {
 protected:
  void query(const RawServer& server) const {
    HttpClient client(options_);
    static_cast<void>(client.fetch({.method = HttpRequest::Method::kPost,
                                    .url = Url::parse(server.authority() + "/graphql"),
                                    .headers = {},
                                    .body = std::string(700, 'q'),
                                    .bearer = {}},
                                   never_));
  }
};

TEST_F(SlowServer, MuteServerTakesTheTimeoutForEachAttempt) {
  const RawServer server([](const std::string&, std::size_t) { return Reply{.end = Reply::End::kHang}; });
  const double took = seconds_of([&] { query(server); }, "in 2 attempts");
  EXPECT_GE(took, 1.9);
  EXPECT_LE(took, 10);
  EXPECT_THAT(server.requests(), SizeIs(2));
}

TEST_F(SlowServer, TrickledAnswerEndsAfterTheTimeout) {
  const RawServer server([](const std::string&, std::size_t) {
    return Reply{
        .bytes = head("200 OK", 100'000, {}) + std::string(100'000, ' '), .piece = 4, .pause = milliseconds(100)};
  });
  EXPECT_LE(seconds_of([&] { query(server); }, "less than 256 bytes a second"), 10);
}

TEST_F(SlowServer, HeadersThatTrickleOrNeverEnd) {
  const RawServer slow([](const std::string&, std::size_t) {
    return Reply{.bytes = "HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x'), .piece = 2, .pause = milliseconds(50)};
  });
  EXPECT_LE(seconds_of([&] { query(slow); }, "the server sent nothing for 1 s"), 10);
  const RawServer endless([](const std::string&, std::size_t) {
    std::string bytes = "HTTP/1.1 200 OK\r\n";
    while (bytes.size() < 1U << 20U) {
      bytes += "X-" + std::to_string(bytes.size()) + ": " + std::string(1000, 'x') + "\r\n";
    }
    return Reply{.bytes = bytes};
  });
  EXPECT_LE(seconds_of([&] { query(endless); }, "the headers have more than"), 10);
}

TEST_F(SlowServer, DeadlineHoldsForAllAttemptsTogether) {
  options_.query_deadline = seconds(2);
  options_.stall_timeout = seconds(30);
  const RawServer mute([](const std::string&, std::size_t) { return Reply{.end = Reply::End::kHang}; });
  const double silent = seconds_of([&] { query(mute); }, "--deadline");
  EXPECT_GE(silent, 1.9);
  EXPECT_LE(silent, 10);
  const RawServer busy([](const std::string&, std::size_t) {
    return Reply{.bytes = head("503 Service Unavailable", 0, "Retry-After: 1\r\n")};
  });
  options_.retry.server_wait = seconds(60);
  const auto begun = Clock::now();
  query(busy);  // the last response, for its caller to judge
  EXPECT_LE(std::chrono::duration<double>(Clock::now() - begun).count(), 10);
}

TEST_F(SlowServer, DownloadHasADeadlineOnlyIfItIsGiven) {
  const RawServer server([](const std::string& request, std::size_t) {
    return Reply{.bytes = right(request), .piece = 200, .pause = milliseconds(100)};
  });
  options_.query_deadline = seconds(1);
  expect_whole(server);  // takes three seconds
  fs::remove(part_);
  options_.download_deadline = seconds(1);
  EXPECT_LE(seconds_of([&] { static_cast<void>(load(server)); }, "--deadline"), 10);
  EXPECT_TRUE(fs::exists(part_)) << "the next download continues";
  EXPECT_GT(fs::file_size(part_), 0U);
}

TEST_F(SlowServer, TimeInWhichTheDiskIsBlockedIsNotTheServers) {
  const RawServer steady([](const std::string& request, std::size_t) {
    return Reply{.bytes = right(request), .piece = 100, .pause = milliseconds(100)};
  });
  const RawServer fast([](const std::string& request, std::size_t) { return Reply{.bytes = right(request)}; });
  options_.stall_timeout = seconds(2);
  HttpClient client(options_);
  std::atomic<std::size_t> have = 0;
  const auto fetch = [&](const RawServer& server, const HttpSink& sink) {
    return client.fetch_once({.url = Url::parse(server.authority() + "/file"),
                              .headers = {},
                              .body = {},
                              .bearer = {},
                              .purpose = HttpRequest::Purpose::kDownload},
                             never_, sink);
  };
  auto slow = std::async(std::launch::async,
                         [&] { return fetch(steady, [&](const auto&, auto piece) { have += piece.size(); }); });
  while (have == 0 && slow.wait_for(milliseconds(0)) != std::future_status::ready) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  const auto blocked = [](const auto&, auto) { std::this_thread::sleep_for(seconds(5)); };
  EXPECT_EQ(fetch(fast, blocked).status, 200);
  EXPECT_EQ(slow.get().status, 200);
  EXPECT_EQ(have, kContent.size());
}

TEST_F(SlowServer, StalledDownloadIsContinued) {
  const RawServer server([](const std::string& request, std::size_t number) {
    return number == 0 ? Reply{.bytes = cut(kHalf), .end = Reply::End::kHang} : Reply{.bytes = right(request)};
  });
  expect_whole(server);
  EXPECT_THAT(server.requests(), SizeIs(2));
}

}  // namespace
}  // namespace pkgfs::test
