// SPDX-License-Identifier: MIT
// Risk: a server that cuts connections and lies about ranges keeps a download going for ever, or gets wrong bytes into
// a file. Each test bounds the number of requests, because the pauses between them are short here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "core/base/error.h"
#include "core/net/download.h"
#include "core/net/http_client.h"
#include "tests/support/fixtures.h"
#include "tests/support/raw_server.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Le;
using testing::SizeIs;
using Clock = std::chrono::steady_clock;
using Reply = RawServer::Reply;

std::string content() {
  std::string text;
  for (int i = 0; text.size() < 6000; ++i) {
    text += std::to_string(i) + " ";
  }
  return text;
}

const std::string kContent = content();
const std::size_t kHalf = kContent.size() / 2;
constexpr const char* kTag = "\"one\"";

std::string head(const std::string& status, std::size_t length, const std::string& more) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(length) + "\r\nConnection: close\r\n" + more +
         "\r\n";
}
std::string etag(const std::string& tag = kTag) { return "ETag: " + tag + "\r\n"; }
std::string range(std::size_t first, std::size_t last, const std::string& total) {
  return "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + total + "\r\n";
}
std::string whole() { return head("200 OK", kContent.size(), etag()) + kContent; }
/// The first byte that a request asks for.
std::optional<std::size_t> first_byte(const std::string& request) {
  const std::string value = header_of(request, "Range");
  return value.empty() ? std::nullopt : std::optional(std::stoul(value.substr(value.find('=') + 1)));
}
/// The right answer to any request.
std::string right(const std::string& request) {
  const auto from = first_byte(request);
  if (!from) {
    return whole();
  }
  const std::string rest = kContent.substr(*from);
  return head("206 Partial Content", rest.size(),
              etag() + range(*from, kContent.size() - 1, std::to_string(kContent.size()))) +
         rest;
}
/// The whole file, cut off after `kept` bytes of the body.
std::string cut(std::size_t kept, const std::string& headers = etag()) {
  return head("200 OK", kContent.size(), headers) + kContent.substr(0, kept);
}

class HostileServer : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::string part_ = dir_.path() / "x.part";
  const CancelFlag never_;
  const CapturedLog log_;
  HttpClient::Options options_{.user_agent = "test",
                               .proxy = {},
                               .ca_file = {},
                               .stall_timeout = seconds(1),
                               .retry = {.first_pause = milliseconds(1), .server_wait = seconds(2)}};

  [[nodiscard]] Downloaded load(const RawServer& server) {
    HttpClient client(options_);
    const DownloadRequest request{
        .url = Url::parse(server.authority() + "/file"), .bearer = {}, .max_bytes = 1U << 20U, .name = "the file"};
    return download(client, request, part_, never_);
  }
  void expect_whole(const RawServer& server) {
    const Downloaded got = load(server);
    EXPECT_TRUE(got.sha256 == sha256(kContent));
    EXPECT_TRUE(read_text(part_) == kContent) << read_text(part_).substr(0, 100);
    EXPECT_FALSE(fs::exists(part_ + ".from"));
  }
  /// The text of the error.
  std::string expect_failure(const RawServer& server) {
    try {
      static_cast<void>(load(server));
      ADD_FAILURE() << "it succeeds";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNetwork) << error.what();
      return error.what();
    }
    return {};
  }
  void expect_nothing_left() const { EXPECT_TRUE(fs::is_empty(dir_.path())); }
};

/// A lie about the rest of a file whose first half has come.
struct Lie {
  const char* name;
  std::function<std::string(std::size_t from)> answer;
};

const std::vector<Lie>& lies() {
  const std::string size = std::to_string(kContent.size());
  const auto partial = [](std::size_t from, const std::string& headers, std::size_t length) {
    return head("206 Partial Content", length, headers) + kContent.substr(from, length);
  };
  static const std::vector<Lie> all{
      {"416", [=](std::size_t) { return head("416 Range Not Satisfiable", 0, "Content-Range: bytes */10\r\n"); }},
      {"OtherEtag",
       [=](std::size_t from) {
         return partial(from, etag("\"two\"") + range(from, kContent.size() - 1, size), kContent.size() - from);
       }},
      {"NoEtag",
       [=](std::size_t from) { return partial(from, range(from, kContent.size() - 1, size), kContent.size() - from); }},
      {"WrongRange",
       [=](std::size_t from) {
         return partial(from, etag() + range(0, kContent.size() - 1, size), kContent.size() - from);
       }},
      {"NoRange", [=](std::size_t from) { return partial(from, etag(), kContent.size() - from); }},
      {"OtherSize",
       [=](std::size_t from) {
         return partial(from, etag() + range(from, kContent.size() + 9, "99999999"), kContent.size() - from);
       }},
      {"Empty", [=](std::size_t from) { return partial(from, etag() + range(from, kContent.size() - 1, size), 0); }},
      {"OneByte", [=](std::size_t from) { return partial(from, etag() + range(from, from, size), 1); }},
      {"MoreThanTheRange", [=](std::size_t from) { return partial(from, etag() + range(from, from, size), 1000); }},
      {"CutAtOnce",
       [=](std::size_t from) {
         return head("206 Partial Content", kContent.size() - from, etag() + range(from, kContent.size() - 1, size));
       }},
  };
  return all;
}

class RangeLies : public HostileServer, public ::testing::WithParamInterface<Lie> {};

TEST_P(RangeLies, EndAfterFewRequests) {
  const RawServer server([](const std::string& request, std::size_t) {
    const auto from = first_byte(request);
    return Reply{.bytes = from ? GetParam().answer(*from) : cut(kHalf)};
  });
  const std::string text = expect_failure(server);
  EXPECT_THAT(server.requests(), SizeIs(Le(8U))) << text;
  EXPECT_THAT(text, HasSubstr("GET "));
  // What is left is the beginning of the file, with the validator for the rest.
  if (fs::exists(part_)) {
    EXPECT_TRUE(kContent.starts_with(read_text(part_)));
    EXPECT_TRUE(fs::exists(part_ + ".from"));
  }
}

TEST_P(RangeLies, AServerThatOnlyCannotContinueIsStillOfUse) {
  std::size_t wholes = 0;
  const RawServer server([&](const std::string& request, std::size_t) {
    const auto from = first_byte(request);
    return Reply{.bytes = from ? GetParam().answer(*from) : wholes++ == 0 ? cut(kHalf) : whole()};
  });
  if (std::string(GetParam().name) == "OneByte" || std::string(GetParam().name) == "CutAtOnce") {
    expect_failure(server);  // the ranges are true, so the beginning is kept
  } else {
    expect_whole(server);
    EXPECT_THAT(log_.text(), HasSubstr("downloading the file starts anew (1 of at most 2 times)"));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, RangeLies, ::testing::ValuesIn(lies()),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_F(HostileServer, EachRestartIsToldOnce) {
  const RawServer server([](const std::string& request, std::size_t) {
    return Reply{.bytes = first_byte(request) ? head("416 Range Not Satisfiable", 0, {}) : cut(kHalf)};
  });
  expect_failure(server);
  const std::string text = log_.text();
  for (const char* which : {"(1 of at most 2 times)", "(2 of at most 2 times)"}) {
    EXPECT_THAT(text, HasSubstr(which));
    EXPECT_EQ(text.find(which), text.rfind(which));
  }
  EXPECT_THAT(text, testing::Not(HasSubstr("(3 of")));
}

TEST_F(HostileServer, WithoutAValidatorADownloadStartsAnewTwice) {
  std::size_t cuts = 2;
  const RawServer server([&](const std::string&, std::size_t number) {
    return Reply{.bytes = number < cuts ? cut(100, {}) : head("200 OK", kContent.size(), {}) + kContent};
  });
  expect_whole(server);
  cuts = 100;
  const RawServer worse([&](const std::string&, std::size_t) { return Reply{.bytes = cut(100, {})}; });
  EXPECT_THAT(expect_failure(worse), HasSubstr("it was started anew 2 times"));
  EXPECT_THAT(worse.requests(), SizeIs(3));
  expect_nothing_left();
}

TEST_F(HostileServer, TwiceTheSizeIsTheMost) {
  const RawServer server(
      [&](const std::string&, std::size_t) { return Reply{.bytes = cut(kContent.size() - 10, {})}; });
  EXPECT_THAT(expect_failure(server), HasSubstr("more than twice the size"));
  expect_nothing_left();
}

TEST_F(HostileServer, BytesThatComeInPiecesAreProgress) {
  const RawServer server([](const std::string& request, std::size_t) {
    const std::size_t from = first_byte(request).value_or(0);
    const std::string all = right(request);
    const std::size_t body = all.find("\r\n\r\n") + 4;
    return Reply{.bytes = all.substr(0, body + std::min<std::size_t>(500, kContent.size() - from))};
  });
  expect_whole(server);
  EXPECT_THAT(log_.text(), testing::IsEmpty());
}

TEST_F(HostileServer, AConnectionMayBreakAtAnyByte) {
  const std::size_t length = whole().size();
  for (std::size_t at = 0; at < length; at += at < 120 ? 1 : 197) {
    for (const Reply::End end : {Reply::End::kClose, Reply::End::kReset}) {
      if (end == Reply::End::kReset && at % 10 != 0) {
        continue;
      }
      SCOPED_TRACE(at);
      const RawServer server([&](const std::string& request, std::size_t number) {
        return Reply{.bytes = number == 0 ? whole().substr(0, at) : right(request), .end = end};
      });
      expect_whole(server);
      EXPECT_THAT(server.requests(), SizeIs(Le(4U)));
      fs::remove(part_);
      fs::remove(part_ + ".from");
    }
  }
}

TEST_F(HostileServer, ChunksAndTrailersAreABody) {
  const RawServer server([](const std::string&, std::size_t) {
    return Reply{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"};
  });
  EXPECT_TRUE(load(server).sha256 == sha256("hello"));
}

TEST_F(HostileServer, EveryConnectionMayBreakAtAnyByte) {
  const std::size_t length = whole().size();
  for (std::size_t at = 0; at < length; at += at < 120 ? 7 : 499) {
    SCOPED_TRACE(at);
    const RawServer server([&](const std::string&, std::size_t) { return Reply{.bytes = whole().substr(0, at)}; });
    try {
      static_cast<void>(load(server));
      ADD_FAILURE() << "it succeeds";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNetwork) << error.what();
    }
    EXPECT_THAT(server.requests(), SizeIs(Le(8U)));
    if (fs::exists(part_)) {
      EXPECT_TRUE(kContent.starts_with(read_text(part_)));
    }
    fs::remove(part_);
    fs::remove(part_ + ".from");
  }
}

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

TEST_F(SlowServer, StalledDownloadIsContinued) {
  const RawServer server([](const std::string& request, std::size_t number) {
    return number == 0 ? Reply{.bytes = cut(kHalf), .end = Reply::End::kHang} : Reply{.bytes = right(request)};
  });
  expect_whole(server);
  EXPECT_THAT(server.requests(), SizeIs(2));
}

}  // namespace
}  // namespace pkgfs::test
