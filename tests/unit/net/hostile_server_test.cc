// SPDX-License-Identifier: MIT
// Risk: a server that cuts connections and lies about ranges keeps a download going for ever, or gets wrong bytes into
// a file. Each test bounds the number of requests, because the pauses between them are short here.
#include "tests/unit/net/hostile_server.h"

#include <gmock/gmock.h>

#include <functional>
#include <sstream>

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Le;
using testing::SizeIs;
using Reply = RawServer::Reply;

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

TEST_F(HostileServer, TheLastRestartTellsWhyTheAttemptBeforeFailed) {
  const RawServer server([](const std::string&, std::size_t number) {
    return Reply{.bytes = cut(kHalf, {}), .end = number == 2 ? Reply::End::kHang : Reply::End::kClose};
  });
  const std::string text = expect_failure(server);
  EXPECT_THAT(text, HasSubstr("it was started anew 2 times, and now the server gave no ETag"));
  EXPECT_THAT(text, HasSubstr("the attempt before failed: the server sent nothing for 1 s (--timeout)"));
}

TEST_F(HostileServer, ACompleteFileIsKeptThoughThereIsNoMoreOfIt) {
  std::string validator;
  const RawServer server([&](const std::string& request, std::size_t) {
    const auto from = first_byte(request);
    return Reply{.bytes = from && *from >= kContent.size()
                              ? head("416 Range Not Satisfiable", 0,
                                     "Content-Range: bytes */" + std::to_string(kContent.size()) + "\r\n" + validator)
                              : right(request)};
  });
  /// As a process left it that ended after it had received `content`. Returns the number of requests for the rest.
  const auto load_after = [&](const std::string& content) {
    dir_.write("x.part", content);
    dir_.write("x.part.from", server.authority() + "/file\n" + kTag + "\n");
    const std::size_t before = server.requests().size();
    expect_whole(server);
    return server.requests().size() - before;
  };
  const std::string wrong(kContent.size(), 'x');
  EXPECT_EQ(load_after(kContent), 2U) << "without a hash, it may be another version";
  validator = etag();
  EXPECT_EQ(load_after(kContent), 1U) << "the server still has this version";
  validator.clear();
  expected_ = sha256(kContent);
  EXPECT_EQ(load_after(kContent), 1U);
  EXPECT_EQ(load_after(wrong), 2U);
  EXPECT_EQ(load_after(kContent + "x"), 2U);
}

TEST_F(HostileServer, ASizeThatIsNotToldAgainLimitsNothing) {
  const std::string chunked = [] {
    std::ostringstream size;
    size << std::hex << kContent.size();
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size.str() + "\r\n" + kContent + "\r\n0\r\n\r\n";
  }();
  const RawServer server([&](const std::string&, std::size_t number) {
    return Reply{.bytes = number == 0 ? head("200 OK", 1000, {}) + std::string(900, 'x') : chunked};
  });
  expect_whole(server);
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

}  // namespace
}  // namespace pkgfs::test
