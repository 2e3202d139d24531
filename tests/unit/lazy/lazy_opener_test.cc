// SPDX-License-Identifier: MIT
// Risk: parts of a package come over a connection that others can change, although nothing checks them at once. Or the
// part of another version that is here keeps away the one which is wanted, or is lost for nothing.
#include "core/lazy/lazy_opener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <spdlog/spdlog.h>

#include "core/cache/containers_by_url.h"
#include "core/net/http_client.h"
#include "core/net/url.h"
#include "tests/support/fixtures.h"
#include "tests/support/raw_server.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

class LazyOpenerTest : public ::testing::Test {
 protected:
  TempDir dir_;
  LazyOpener opener_{{.lazy = Lazy::kOn,
                      .packages_directory = (dir_.path() / "checkouts").string(),
                      .urls_directory = (dir_.path() / "downloads").string(),
                      .tokens = {},
                      .max_bytes = 1U << 30U,
                      .background_rate = std::nullopt,
                      .renew = {},
                      .fetcher = {}}};
  const std::shared_ptr<HttpClient> client_ = std::make_shared<HttpClient>(HttpClient::Options{});
  const CancelFlag never_;
};

TEST_F(LazyOpenerTest, ReadsNoPartsOverHttpFromAnotherMachine) {
  const CapturedLog log;
  spdlog::default_logger()->set_level(spdlog::level::debug);
  EXPECT_EQ(opener_.open(Url::parse("http://192.0.2.1/a.webc"), client_, never_), nullptr);
  EXPECT_FALSE(opener_.complete(Url::parse("http://192.0.2.1/a.webc"), client_, never_, nullptr));
  EXPECT_THAT(log.text(), HasSubstr("it doesn't come over https"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "downloads")) << "nothing was asked";
}

/// A server with one container, whose version changes.
class LazyReopen : public LazyOpenerTest {
 protected:
  static constexpr std::size_t kSize = 256U << 10U;

  [[nodiscard]] RawServer::Reply part(const std::string& request) const {
    const std::string range = header_of(request, "Range");  // bytes=FIRST-LAST
    const std::size_t first = std::stoul(range.substr(range.find('=') + 1));
    const std::size_t end = std::min(std::stoul(range.substr(range.find('-') + 1)) + 1, kSize);
    std::string body = std::string("\0webc003", 8).append(kSize, version_.front()).substr(first, end - first);
    return {.bytes = "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: \"" + version_ +
                     "\"\r\nContent-Range: bytes " + std::to_string(first) + "-" + std::to_string(end - 1) + "/" +
                     std::to_string(kSize) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body};
  }
  [[nodiscard]] std::shared_ptr<LazySource> open() { return opener_.open(url_, client_, never_); }
  [[nodiscard]] std::shared_ptr<LazySource> reopen(const std::string& version) {
    return opener_.reopen(url_, ContainerFetcher::version_of("\"" + version + "\"", kSize), client_, never_);
  }
  /// The version of the part that is here.
  [[nodiscard]] std::string here() const {
    const auto directory =
        PrivateDirectory::find(ContainersByUrl((dir_.path() / "downloads").string()).temporary_directory());
    const auto file = directory ? SparseFile::find(*directory, ContainersByUrl::key_of(url_)) : nullptr;
    return file == nullptr ? "none" : file->version().validator;
  }

  std::string version_ = "b";  // changed between requests only
  const RawServer server_{[this](const std::string& request, std::size_t) { return part(request); }};
  const Url url_ = Url::parse(server_.authority() + "/a.webc");
};

TEST_F(LazyReopen, TheWantedVersionReplacesThePartOfAnother) {
  ASSERT_NE(open(), nullptr);
  ASSERT_EQ(here(), "\"b\"");
  version_ = "a";
  const auto again = reopen("a");
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(here(), "\"a\"");
  EXPECT_EQ(server_.requests().size(), 2U);
  EXPECT_NE(reopen("a"), nullptr);
  EXPECT_EQ(server_.requests().size(), 2U) << "a part of it is here";
}

TEST_F(LazyReopen, ThePartOfAnotherVersionMayBeInUse) {
  const auto used = open();
  ASSERT_NE(used, nullptr);
  version_ = "a";
  const auto again = reopen("a");
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(here(), "\"a\"");
  EXPECT_TRUE(used->bytes().size() == kSize && again->bytes().size() == kSize);
}

TEST_F(LazyReopen, AVersionThatTheServerLacksReplacesNothing) {
  ASSERT_NE(open(), nullptr);
  version_ = "c";
  EXPECT_EQ(reopen("a"), nullptr);
  EXPECT_EQ(here(), "\"b\"");
  EXPECT_NE(reopen("b"), nullptr) << "its part is still here";
  EXPECT_EQ(server_.requests().size(), 2U);
}

}  // namespace
}  // namespace pkgfs::test
