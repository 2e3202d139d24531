// SPDX-License-Identifier: MIT
// Risk: a server that lies about a range gets wrong bytes to a reader.
#include "tests/unit/net/range_requests.h"

#include <optional>
#include <string>
#include <vector>

namespace pkgfs::test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Reason = RangeError::Reason;
using Reply = RawServer::Reply;

/// An answer that isn't the range that was asked for.
struct RangeLie {
  const char* name;
  std::string answer;
  std::string text;  // of the error
  /// The reasons if the version isn't known and if it is; none: the answer is right then.
  std::optional<Reason> unknown = Reason::kOther;
  std::optional<Reason> known = Reason::kOther;
  std::string bytes = asked();  // if the answer is right
};

std::vector<RangeLie> range_lies() {
  const std::string more = asked() + "more";
  const auto encoded = [](const char* coding) {
    return partial(etag() + right_range() + "Content-Encoding: " + coding + "\r\n");
  };
  const auto in_chunks = [](const std::string& body, const char* size) {
    return "HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n" + etag() + right_range() + "\r\n" + size +
           "\r\n" + body + "\r\n0\r\n\r\n";
  };
  const auto other_tag = std::string("\"two\"");
  return {
      // The whole file.
      {"Whole", whole(), "200 OK: the server sends the whole file", Reason::kNoRanges, Reason::kNoRanges},
      {"WholeWithoutVersion", head("200 OK", kContent.size(), {}) + kContent, "200 OK", Reason::kNoRanges,
       Reason::kNoRanges},
      {"WholeWithWeakTag", head("200 OK", kContent.size(), etag("W/\"one\"")) + kContent, "200 OK", Reason::kNoRanges,
       Reason::kNoRanges},
      {"WholeOfOtherTag", head("200 OK", kContent.size(), etag(other_tag)) + kContent, "200 OK", Reason::kNoRanges,
       Reason::kOtherVersion},
      {"WholeOfOtherSize", head("200 OK", 10, etag()) + "0123456789", "200 OK", Reason::kNoRanges,
       Reason::kOtherVersion},
      {"WholeInChunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + etag() + "\r\n5\r\nhello\r\n0\r\n\r\n",
       "200 OK", Reason::kNoRanges, Reason::kNoRanges},
      {"WholeCompressed", head("200 OK", 10, etag() + "Content-Encoding: gzip\r\n") + "0123456789", "200 OK",
       Reason::kNoRanges, Reason::kNoRanges},
      {"WholeTooLarge", head("200 OK", 1U << 30U, etag()), "", Reason::kOther, Reason::kOtherVersion},
      {"Empty", head("200 OK", 0, etag()), "", Reason::kOther, Reason::kOtherVersion},
      // Without a version or a size.
      {"NoValidator", partial(right_range()), "doesn't tell the version", Reason::kNoRanges, Reason::kNoRanges},
      {"WeakTag", partial(etag("W/\"one\"") + right_range()), "doesn't tell the version", Reason::kNoRanges,
       Reason::kNoRanges},
      {"WeakTagOfOther", partial(etag("W/\"two\"") + right_range()), "206 Partial Content", Reason::kNoRanges,
       Reason::kOtherVersion},
      {"WeakTagAndDate", partial(etag("W/\"one\"") + kOldDate + right_range()), "doesn't tell the version",
       Reason::kNoRanges, Reason::kNoRanges},
      {"LongTag", partial(etag("\"" + std::string(2000, 'x') + "\"") + right_range()), "206", Reason::kNoRanges,
       Reason::kOtherVersion},
      {"TagWithControls", partial(etag("\"o\tn\re\"") + right_range()), "206", Reason::kNoRanges,
       Reason::kOtherVersion},
      {"NoSize", partial(etag() + range(kFirst, kFirst + kLength - 1, "*")), "doesn't tell the size", Reason::kNoRanges,
       Reason::kNoRanges},
      // Another version.
      {"OtherTag", partial(etag(other_tag) + right_range()),
       "another version of the file (ETag: \"two\"; 6000 bytes) than before (\"one\"; 6000 bytes)", std::nullopt,
       Reason::kOtherVersion},
      {"OtherSize", partial(etag() + range(kFirst, kFirst + kLength - 1, "9999")), "9999 bytes", std::nullopt,
       Reason::kOtherVersion},
      {"Shorter", partial(etag() + range(kFirst, kFirst + 9, "1010"), asked().substr(0, 10)), "1010 bytes",
       std::nullopt, Reason::kOtherVersion, asked().substr(0, 10)},
      {"TooLarge", partial(etag() + range(kFirst, kFirst + kLength - 1, "99999999")), "", Reason::kOther,
       Reason::kOtherVersion},
      // Other bytes.
      {"Encoded", encoded("gzip"), "encodes the range (Content-Encoding: gzip)", Reason::kNoRanges, Reason::kNoRanges},
      {"IdentityEncoding", encoded("identity"), "", std::nullopt, std::nullopt},
      {"NoContentRange", partial(etag()), "Content-Range: none"},
      {"Nonsense", partial(etag() + "Content-Range: bytes 5-4/3\r\n"), "Content-Range: bytes 5-4/3)"},
      {"OtherUnit", partial(etag() + "Content-Range: lines 1000-2999/" + total() + "\r\n"), "Content-Range: lines"},
      {"Multipart",
       partial(etag() + "Content-Type: Multipart/Byteranges; boundary=x\r\n",
               "--x\r\n" + right_range() + "\r\n" + asked() + "\r\n--x--\r\n"),
       "in several parts"},
      {"FromTheBeginning", partial(etag() + range(0, kLength - 1, total())), "another range"},
      {"FromOneEarlier", partial(etag() + range(kFirst - 1, kFirst + kLength - 1, total()), "x" + asked()),
       "another range"},
      {"FromOneLater", partial(etag() + range(kFirst + 1, kFirst + kLength, total())), "another range"},
      {"Less", partial(etag() + range(kFirst, kFirst + 9, total()), asked().substr(0, 10)), "another range"},
      {"More", partial(etag() + range(kFirst, kFirst + kLength + 3, total()), more), "another range"},
      {"AnnouncesMore", partial(etag() + right_range(), more), "2004 bytes for a range of 2000"},
      {"AnnouncesLess", partial(etag() + right_range(), "few"), "3 bytes for a range of 2000"},
      {"AnnouncesNothing", partial(etag() + right_range(), ""), "0 bytes for a range of 2000"},
      {"SendsMore", unbounded(more), "more than the 2000 bytes of the range"},
      {"ChunkedMore", in_chunks(more, "7d4"), "more than the 2000 bytes of the range"},
      {"Chunked", in_chunks(asked(), "7d0"), "", std::nullopt, std::nullopt},
      {"Html", partial(etag() + right_range() + "Content-Type: text/html\r\n"), "", std::nullopt, std::nullopt},
      // Other successes.
      {"NoContent", head("204 No Content", 0, etag()), "204 No Content"},
      {"NonAuthoritative", head("203 Odd", kLength, etag() + right_range()) + asked(), "203"},
      // 416.
      {"Unsatisfied", head("416 Odd", 0, {}), "416 Range Not Satisfiable"},
      {"UnsatisfiedSame", head("416 Odd", 0, "Content-Range: bytes */" + total() + "\r\n"),
       "416 Range Not Satisfiable: the server has no such bytes"},
      {"UnsatisfiedOther", head("416 Odd", 0, "Content-Range: bytes */10\r\n"), "416 Range Not Satisfiable",
       Reason::kOther, Reason::kOtherVersion},
      {"UnsatisfiedEmpty", head("416 Odd", 0, "Content-Range: bytes */0\r\n"), "416 Range Not Satisfiable",
       Reason::kOther, Reason::kOtherVersion},
  };
}

class RangeAnswers : public RangeRequests, public ::testing::WithParamInterface<RangeLie> {
 protected:
  void expect(const RangeRequest& request, std::optional<Reason> reason) {
    if (!reason) {
      EXPECT_EQ(fetch(request).bytes, GetParam().bytes);
      return;
    }
    const RangeError error = range_error(request);
    EXPECT_EQ(error.reason(), *reason) << error.what();
    EXPECT_FALSE(error.is_transient());
    EXPECT_THAT(error.what(), HasSubstr(GetParam().text));
    EXPECT_THAT(got_, AnyOf(IsEmpty(), SizeIs(testing::Le(kLength))));
  }
};

TEST_P(RangeAnswers, AreRightOrAnErrorOfTheRightReason) {
  const RawServer server([](const std::string&, std::size_t) { return Reply{.bytes = GetParam().answer}; });
  {
    SCOPED_TRACE("unknown version");
    expect(request_to(server), GetParam().unknown);
  }
  SCOPED_TRACE("known version");
  expect(known_request_to(server), GetParam().known);
  EXPECT_THAT(server.requests(), SizeIs(2));
}

INSTANTIATE_TEST_SUITE_P(Kinds, RangeAnswers, ::testing::ValuesIn(range_lies()),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace pkgfs::test
