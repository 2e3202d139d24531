// SPDX-License-Identifier: MIT
#pragma once

#include <gmock/gmock.h>

#include <span>
#include <stdexcept>
#include <typeinfo>
#include <utility>

#include "core/net/range_request.h"
#include "tests/unit/net/hostile_server.h"

/// Requests for a range of `kContent`, and answers to them.
namespace pkgfs::test {

inline constexpr std::size_t kFirst = 1000;
inline constexpr std::size_t kLength = 2000;
inline constexpr const char* kOldDate = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

inline std::string total() { return std::to_string(kContent.size()); }
inline std::string asked() { return kContent.substr(kFirst, kLength); }
/// The Content-Range that was asked for.
inline std::string right_range() { return range(kFirst, kFirst + kLength - 1, total()); }
inline std::string partial(const std::string& headers, const std::string& body = asked()) {
  return head("206 Partial Content", body.size(), headers) + body;
}
inline std::string partial() { return partial(etag() + right_range()); }
/// The same without a Content-Length: the end of the connection ends the body.
inline std::string unbounded(const std::string& body) {
  return "HTTP/1.1 206 Partial Content\r\nConnection: close\r\n" + etag() + right_range() + "\r\n" + body;
}

struct Outcome {
  std::string bytes;
  RangeAnswer answer = {};
};

class RangeRequests : public HostileServer {
 protected:
  /// The bytes from `kFirst` on, of any version.
  [[nodiscard]] static RangeRequest request_to(const RawServer& server) {
    return {.url = Url::parse(server.authority() + "/file"), .first = kFirst, .length = kLength, .max_size = 1U << 20U};
  }
  /// The same of the version that the right answers are of.
  [[nodiscard]] static RangeRequest known_request_to(const RawServer& server) {
    RangeRequest request = request_to(server);
    request.version = {.validator = kTag, .size = kContent.size()};
    return request;
  }
  [[nodiscard]] Outcome fetch(const RangeRequest& request) {
    HttpClient client(options_);
    Outcome outcome;
    outcome.answer = fetch_range(client, request, cancel_, [&](const RemoteVersion&, std::uint64_t at, auto piece) {
      EXPECT_EQ(at, request.first + got_.size());
      got_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    outcome.bytes = std::exchange(got_, {});
    return outcome;
  }
  /// The text of the error, which `Error` is exactly the type of. `got_` has the bytes that came before.
  template <typename Failure>
  Failure failure_of(const RangeRequest& request) {
    got_.clear();
    try {
      static_cast<void>(fetch(request));
    } catch (const Failure& error) {
      EXPECT_EQ(typeid(error), typeid(Failure)) << error.what();
      EXPECT_TRUE(kContent.substr(request.first).starts_with(got_)) << "wrong bytes came";
      EXPECT_THAT(error.what(), testing::HasSubstr(request.url.text()));
      EXPECT_THAT(error.what(), testing::HasSubstr("the bytes " + std::to_string(request.first) + "-" +
                                                   std::to_string(request.first + request.length - 1)));
      return error;
    }
    throw std::runtime_error("the request succeeds");
  }
  RangeError range_error(const RangeRequest& request) { return failure_of<RangeError>(request); }

  CancelFlag cancel_;
  std::string got_;
};

}  // namespace pkgfs::test
