// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/net/download.h"
#include "core/net/http_client.h"
#include "tests/support/fixtures.h"
#include "tests/support/raw_server.h"

/// A file on a server that breaks the rules, and its download.
namespace pkgfs::test {

inline std::string hostile_content() {
  std::string text;
  for (int i = 0; text.size() < 6000; ++i) {
    text += std::to_string(i) + " ";
  }
  return text;
}

inline const std::string kContent = hostile_content();
inline const std::size_t kHalf = kContent.size() / 2;
inline constexpr const char* kTag = "\"one\"";

inline std::string head(const std::string& status, std::size_t length, const std::string& more) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(length) + "\r\nConnection: close\r\n" + more +
         "\r\n";
}
inline std::string etag(const std::string& tag = kTag) { return "ETag: " + tag + "\r\n"; }
inline std::string range(std::size_t first, std::size_t last, const std::string& total) {
  return "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + total + "\r\n";
}
inline std::string whole() { return head("200 OK", kContent.size(), etag()) + kContent; }
/// The first byte that a request asks for.
inline std::optional<std::size_t> first_byte(const std::string& request) {
  const std::string value = header_of(request, "Range");
  return value.empty() ? std::nullopt : std::optional(std::stoul(value.substr(value.find('=') + 1)));
}
/// The right answer to any request.
inline std::string right(const std::string& request) {
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
inline std::string cut(std::size_t kept, const std::string& headers = etag()) {
  return head("200 OK", kContent.size(), headers) + kContent.substr(0, kept);
}

class HostileServer : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::string part_ = dir_.path() / "x.part";
  const CancelFlag never_;
  const CapturedLog log_;
  std::optional<Sha256> expected_;
  HttpClient::Options options_{
      .user_agent = "test",
      .proxy = {},
      .ca_file = {},
      .stall_timeout = std::chrono::seconds(1),
      .retry = {.first_pause = std::chrono::milliseconds(1), .server_wait = std::chrono::seconds(2)}};

  [[nodiscard]] Downloaded load(const RawServer& server) {
    HttpClient client(options_);
    const DownloadRequest request{.url = Url::parse(server.authority() + "/file"),
                                  .bearer = {},
                                  .expected = expected_,
                                  .max_bytes = 1U << 20U,
                                  .name = "the file"};
    return download(client, request, part_, never_);
  }
  void expect_whole(const RawServer& server) {
    const Downloaded got = load(server);
    EXPECT_TRUE(got.sha256 == sha256(kContent));
    EXPECT_TRUE(read_text(part_) == kContent) << read_text(part_).substr(0, 100);
    EXPECT_FALSE(std::filesystem::exists(part_ + ".from"));
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
  void expect_nothing_left() const { EXPECT_TRUE(std::filesystem::is_empty(dir_.path())); }
};

}  // namespace pkgfs::test
