// SPDX-License-Identifier: MIT
// Risk: a range request is sent twice, waits for a server without end, or fails for a reason that makes the caller do
// the wrong thing next.
#include "tests/unit/net/range_requests.h"

#include <chrono>
#include <future>
#include <initializer_list>
#include <thread>

namespace pkgfs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;
using Reason = RangeError::Reason;
using Reply = RawServer::Reply;

TEST_F(RangeRequests, AsksOnceAndTellsTheVersion) {
  const RawServer server([](const std::string&, std::size_t) { return Reply{.bytes = partial()}; });
  RangeRequest request = request_to(server);
  request.bearer = "secret";
  const Outcome first = fetch(request);
  EXPECT_EQ(first.bytes, asked());
  EXPECT_EQ(first.answer.version, (RemoteVersion{.validator = kTag, .size = kContent.size()}));
  EXPECT_EQ(first.answer.url, request.url.text());
  EXPECT_FALSE(first.answer.left_https);
  request.version = first.answer.version;
  const Outcome second = fetch(request);
  EXPECT_EQ(second.bytes, asked());
  EXPECT_EQ(second.answer.version, first.answer.version);

  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(2));
  EXPECT_THAT(requests[0], StartsWith("GET /file HTTP/1.1\r\n"));
  EXPECT_EQ(header_of(requests[0], "Range"), "bytes=1000-2999");
  EXPECT_EQ(header_of(requests[0], "If-Range"), "");
  EXPECT_EQ(header_of(requests[0], "Accept"), "application/webc");
  EXPECT_EQ(header_of(requests[0], "Accept-Encoding"), "");
  EXPECT_EQ(header_of(requests[0], "Authorization"), "Bearer secret");
  EXPECT_EQ(header_of(requests[1], "If-Range"), kTag);
}

TEST_F(RangeRequests, AFileThatEndsEarlierIsNoErrorIfItsSizeWasUnknown) {
  const std::string rest = kContent.substr(kFirst);
  const RawServer server([&](const std::string&, std::size_t) {
    return Reply{.bytes = partial(etag() + range(kFirst, kContent.size() - 1, total()), rest)};
  });
  RangeRequest request = request_to(server);
  request.length = 1'000'000;
  EXPECT_EQ(fetch(request).bytes, rest);
  request.length = UINT64_MAX - kFirst;
  EXPECT_EQ(fetch(request).bytes, rest);
}

TEST_F(RangeRequests, ADateIsAVersionIfItIsSettled) {
  const std::string date = "Sun, 06 Nov 1994 08:49:37 GMT";
  std::string headers = kOldDate;
  const RawServer server(
      [&](const std::string&, std::size_t) { return Reply{.bytes = partial(headers + right_range())}; });
  RangeRequest request = request_to(server);
  request.version = fetch(request).answer.version;
  EXPECT_EQ(request.version->validator, date);
  EXPECT_EQ(fetch(request).bytes, asked());
  EXPECT_EQ(header_of(server.requests().back(), "If-Range"), date);
  headers += etag();
  EXPECT_EQ(fetch(request).bytes, asked()) << "the server began to send ETags";
  headers = "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\r\n";
  EXPECT_EQ(range_error(request).reason(), Reason::kOtherVersion);
  request.version.reset();
  headers += "Date: Sun, 06 Nov 1994 08:49:39 GMT\r\n";
  EXPECT_EQ(range_error(request).reason(), Reason::kNoRanges) << "another version could get the same date";
}

TEST_F(RangeRequests, AKnownVersionIsNotSentAgain) {
  bool knows_conditions = true;
  const RawServer server([&](const std::string&, std::size_t) {
    return Reply{.bytes = knows_conditions ? head("304 Not Modified", 0, etag()) : partial()};
  });
  RangeRequest request = request_to(server);
  request.known_etag = kTag;
  EXPECT_EQ(range_error(request).reason(), Reason::kUnchanged);
  EXPECT_EQ(header_of(server.requests().back(), "If-None-Match"), kTag);
  knows_conditions = false;
  EXPECT_EQ(range_error(request).reason(), Reason::kUnchanged);
  EXPECT_THAT(got_, IsEmpty());
  request.known_etag = "\"older\"";
  EXPECT_EQ(fetch(request).bytes, asked());
}

TEST_F(RangeRequests, FollowsRedirects) {
  const RawServer target([](const std::string&, std::size_t) { return Reply{.bytes = partial()}; });
  const RawServer server([&](const std::string&, std::size_t) {
    return Reply{.bytes = head("302 Found", 0, "Location: " + target.authority() + "/signed?x\r\n")};
  });
  const Outcome outcome = fetch(known_request_to(server));
  EXPECT_EQ(outcome.bytes, asked());
  EXPECT_EQ(outcome.answer.url, target.authority() + "/signed?x");
  EXPECT_EQ(header_of(target.requests().at(0), "Range"), "bytes=1000-2999");
  EXPECT_EQ(header_of(target.requests().at(0), "If-Range"), kTag);
}

TEST_F(RangeRequests, EachStatusHasItsReason) {
  int status = 0;
  std::string headers;
  const RawServer server([&](const std::string&, std::size_t) {
    return Reply{.bytes = head(std::to_string(status) + " Odd", 5, headers) + "sorry"};
  });
  const auto expect = [&](Reason reason, std::initializer_list<int> statuses) {
    for (const int each : statuses) {
      SCOPED_TRACE(each);
      status = each;
      const RangeError error = range_error(known_request_to(server));
      EXPECT_EQ(error.reason(), reason) << error.what();
      EXPECT_EQ(error.is_transient(), reason == Reason::kBusy);
      EXPECT_THAT(error.what(), HasSubstr("caused by: " + std::to_string(each)));
      EXPECT_EQ(error.retry_after(),
                reason == Reason::kBusy && !headers.empty() ? std::optional(seconds(7)) : std::nullopt);
      EXPECT_THAT(got_, IsEmpty());
    }
  };
  expect(Reason::kRefused, {401, 403, 404, 410});
  expect(Reason::kBusy, {408, 429, 500, 501, 502, 503, 504, 520, 599});
  expect(Reason::kOther, {300, 304, 400, 402, 405, 409, 412, 413, 451});
  headers = "Retry-After: 7\r\n";
  expect(Reason::kBusy, {408, 429, 503});
  expect(Reason::kRefused, {403});
}

TEST_F(RangeRequests, WrongBodiesAreNotWaitedFor) {
  options_.stall_timeout = seconds(60);
  for (const std::string& answer :
       {head("200 OK", 1'000'000, etag()), head("206 Partial Content", 1'000'000, etag() + right_range()),
        head("206 Partial Content", kLength, etag("\"two\"") + right_range())}) {
    const RawServer server(
        [&](const std::string&, std::size_t) { return Reply{.bytes = answer, .end = Reply::End::kHang}; });
    const auto begun = Clock::now();
    static_cast<void>(range_error(known_request_to(server)));
    EXPECT_LT(Clock::now() - begun, seconds(20));
  }
}

TEST_F(RangeRequests, ALostConnectionIsTransientAndWhatCameIsRight) {
  const std::string all = partial();
  for (std::size_t at = 0; at < all.size(); at += at < 150 ? 7 : 311) {
    SCOPED_TRACE(at);
    const auto end = at % 2 == 0 ? Reply::End::kClose : Reply::End::kReset;
    const RawServer server(
        [&](const std::string&, std::size_t) { return Reply{.bytes = all.substr(0, at), .end = end}; });
    const HttpError error = failure_of<HttpError>(known_request_to(server));
    EXPECT_TRUE(error.is_transient()) << error.what();
    EXPECT_FALSE(error.is_timeout());
    EXPECT_THAT(server.requests(), SizeIs(1));
  }
  const RawServer server([&](const std::string&, std::size_t) { return Reply{.bytes = unbounded("few")}; });
  const RawServer other(
      [&](const std::string&, std::size_t) { return Reply{.bytes = unbounded(asked().substr(0, 77))}; });
  const HttpError error = failure_of<HttpError>(known_request_to(other));
  EXPECT_TRUE(error.is_transient());
  EXPECT_THAT(error.what(), HasSubstr("the answer ended after 77 of 2000 bytes"));
  EXPECT_EQ(got_, asked().substr(0, 77));
}

TEST_F(RangeRequests, SilentAndTricklingServersEndAfterTheTimeout) {
  const RawServer mute([](const std::string&, std::size_t) { return Reply{.end = Reply::End::kHang}; });
  const RawServer stalled([](const std::string&, std::size_t) {
    return Reply{.bytes = partial().substr(0, 1000), .end = Reply::End::kHang};
  });
  const RawServer trickling(
      [](const std::string&, std::size_t) { return Reply{.bytes = partial(), .piece = 4, .pause = milliseconds(50)}; });
  // Its head comes at once, as from a server that only its body holds up.
  const RawServer loris([](const std::string&, std::size_t number) {
    static_cast<void>(number);
    return Reply{.bytes = partial(), .piece = 250, .pause = milliseconds(1500)};
  });
  for (const RawServer* server : {&mute, &stalled, &trickling, &loris}) {
    const auto begun = Clock::now();
    const HttpError error = failure_of<HttpError>(known_request_to(*server));
    EXPECT_TRUE(error.is_timeout() && error.is_transient()) << error.what();
    EXPECT_LT(Clock::now() - begun, seconds(20));
    EXPECT_THAT(server->requests(), SizeIs(1));
  }
}

TEST_F(RangeRequests, DeadlineHoldsThoughBytesCome) {
  options_.stall_timeout = seconds(30);
  const RawServer server([](const std::string&, std::size_t) {
    return Reply{.bytes = partial(), .piece = 100, .pause = milliseconds(500)};
  });
  RangeRequest request = known_request_to(server);
  request.deadline = Clock::now() + seconds(1);
  EXPECT_TRUE(failure_of<HttpError>(request).is_timeout());
  EXPECT_GE(Clock::now(), *request.deadline);
}

TEST_F(RangeRequests, CancellationEndsTheWaitAtOnce) {
  options_.stall_timeout = seconds(60);
  const RawServer server([](const std::string&, std::size_t) {
    return Reply{.bytes = partial().substr(0, 1000), .end = Reply::End::kHang};
  });
  auto waiting = std::async(std::launch::async, [&] { return fetch(known_request_to(server)); });
  while (server.requests().empty()) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(waiting.wait_for(milliseconds(200)), std::future_status::timeout);
  const auto begun = Clock::now();
  cancel_.cancel();
  try {
    static_cast<void>(waiting.get());
    ADD_FAILURE() << "it succeeds";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  }
  EXPECT_LT(Clock::now() - begun, seconds(10));
}

TEST_F(RangeRequests, AnExceptionOfTheSinkReachesTheCaller) {
  const RawServer server([](const std::string&, std::size_t) { return Reply{.bytes = partial()}; });
  HttpClient client(options_);
  EXPECT_THROW(fetch_range(client, request_to(server), cancel_,
                           [](const RemoteVersion&, std::uint64_t, auto) { throw std::length_error("full"); }),
               std::length_error);
}

TEST_F(RangeRequests, ARangeOutsideOfTheFileIsNotAskedFor) {
  const RawServer server([](const std::string&, std::size_t) { return Reply{.bytes = partial()}; });
  const auto expect = [&](std::uint64_t first, std::uint64_t length, bool known) {
    RangeRequest request = known ? known_request_to(server) : request_to(server);
    request.first = first;
    request.length = length;
    try {
      static_cast<void>(fetch(request));
      ADD_FAILURE() << "it succeeds";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
    }
  };
  expect(0, 0, false);
  expect(10, UINT64_MAX - 9, false);
  expect(kContent.size(), 1, true);
  expect(0, kContent.size() + 1, true);
  EXPECT_THAT(server.requests(), IsEmpty());
}

}  // namespace
}  // namespace pkgfs::test
