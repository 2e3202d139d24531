// SPDX-License-Identifier: MIT
// Risk: ranges are right only from the servers that the other tests make up, not from nginx over HTTP/1.1 and HTTP/2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/hash.h"
#include "core/net/http_client.h"
#include "core/net/range_request.h"
#include "tests/support/fixtures.h"
#include "tests/support/registry/test_registry.h"

namespace pkgfs::test {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;
using Reason = RangeError::Reason;

class RangesOfNginx : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string missing = registry_missing(); !missing.empty()) {
      GTEST_SKIP() << missing;
    }
    registry_ =
        std::make_unique<TestRegistry>(std::vector{file_}, TestRegistry::Options{.tls = TestRegistry::Tls::kValid});
    client_ = std::make_unique<HttpClient>(
        HttpClient::Options{.user_agent = "test", .proxy = {}, .ca_file = registry_->ca_file(), .retry = {}});
  }

  [[nodiscard]] std::string url(bool tls) const {
    const std::string endpoint = tls ? registry_->tls_endpoint() : registry_->endpoint();
    const std::string path = registry_->file_url(to_hex(sha256(content_)));
    return endpoint.substr(0, endpoint.rfind("/graphql")) + path.substr(path.find("/files/"));
  }
  [[nodiscard]] std::string fetch(const RangeRequest& request) {
    std::string bytes;
    answer_ = fetch_range(*client_, request, never_, [&](const RemoteVersion&, std::uint64_t at, auto piece) {
      EXPECT_EQ(at, request.first + bytes.size());
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    return bytes;
  }
  /// The reason why this request fails.
  [[nodiscard]] Reason reason(const RangeRequest& request) {
    try {
      static_cast<void>(fetch(request));
    } catch (const RangeError& error) {
      return error.reason();
    }
    throw std::runtime_error("the request succeeds");
  }

  const std::filesystem::path file_ = fixtures() / "webc/sizes-v3.webc";
  const std::string content_ = read_text(file_);
  std::unique_ptr<TestRegistry> registry_;
  std::unique_ptr<HttpClient> client_;
  const CancelFlag never_;
  RangeAnswer answer_;
};

TEST_F(RangesOfNginx, AllRangesTogetherAreTheFile) {
  for (const bool tls : {false, true}) {
    SCOPED_TRACE(tls);
    registry_->clear_requests();
    constexpr std::uint64_t kBlock = 20'011;
    RangeRequest request{.url = Url::parse(url(tls)), .length = kBlock, .max_size = 1U << 30U};
    std::string bytes = fetch(request);
    request.version = answer_.version;
    EXPECT_EQ(request.version->size, content_.size());
    while (bytes.size() < content_.size()) {
      request.first = bytes.size();
      request.length = std::min<std::uint64_t>(kBlock, content_.size() - bytes.size());
      bytes += fetch(request);
      EXPECT_EQ(answer_.version, *request.version);
    }
    EXPECT_TRUE(bytes == content_);
    const auto requests = registry_->requests();
    EXPECT_THAT(requests, SizeIs(content_.size() / kBlock + 1));
    EXPECT_THAT(requests, Each(testing::Field(&TestRegistry::Request::status, 206)));
    EXPECT_THAT(requests, Each(testing::Field(&TestRegistry::Request::protocol, tls ? "HTTP/2.0" : "HTTP/1.1")));
  }
}

TEST_F(RangesOfNginx, OtherAnswersHaveTheirReason) {
  using Kind = Fault::Kind;
  using Where = Fault::Where;
  for (const bool tls : {false, true}) {
    SCOPED_TRACE(tls);
    registry_->clear_faults();
    RangeRequest request{.url = Url::parse(url(tls)), .first = 10, .length = 1000, .max_size = 1U << 30U};
    EXPECT_EQ(fetch(request), content_.substr(10, 1000));
    const RemoteVersion version = answer_.version;
    const auto with_version = [&](std::string validator, std::uint64_t size) {
      RangeRequest known = request;
      known.version = {.validator = std::move(validator), .size = size};
      return reason(known);
    };
    EXPECT_EQ(with_version("\"other\"", version.size), Reason::kOtherVersion);
    EXPECT_EQ(with_version(version.validator, version.size + 1), Reason::kOtherVersion);
    request.first = version.size + 10;
    EXPECT_EQ(reason(request), Reason::kOther);
    EXPECT_EQ(with_version(version.validator, version.size + 100'000), Reason::kOtherVersion);
    request.first = 10;

    const auto with_fault = [&](const Fault& fault) {
      registry_->set_fault(fault);
      const Reason known = with_version(version.validator, version.size);
      EXPECT_EQ(reason(request), known);
      return known;
    };
    EXPECT_EQ(with_fault({.kind = Kind::kIgnoreRange, .where = Where::kFiles}), Reason::kNoRanges);
    EXPECT_EQ(with_fault({.kind = Kind::kGzip, .where = Where::kFiles}), Reason::kNoRanges);
    EXPECT_EQ(with_fault({.kind = Kind::kLyingRange, .where = Where::kFiles}), Reason::kOther);
    EXPECT_EQ(with_fault({.where = Where::kFiles, .etag = Fault::Etag::kNone}), Reason::kNoRanges);
    EXPECT_EQ(with_fault({.kind = Kind::kStatus, .where = Where::kFiles, .status = 403}), Reason::kRefused);
    EXPECT_EQ(with_fault({.kind = Kind::kStatus, .where = Where::kFiles, .status = 503}), Reason::kBusy);
    registry_->set_fault({.where = Where::kFiles, .etag = Fault::Etag::kChanges});
    EXPECT_EQ(with_version(version.validator, version.size), Reason::kOtherVersion);
  }
}

}  // namespace
}  // namespace pkgfs::test
