// SPDX-License-Identifier: MIT
// Risk: parts of a package come over a connection that others can change, although nothing checks them at once.
#include "core/lazy/lazy_opener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include <spdlog/spdlog.h>

#include "core/net/http_client.h"
#include "core/net/url.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

TEST(LazyOpener, ReadsNoPartsOverHttpFromAnotherMachine) {
  const TempDir dir;
  LazyOpener opener({.lazy = Lazy::kOn,
                     .packages_directory = (dir.path() / "checkouts").string(),
                     .urls_directory = (dir.path() / "downloads").string(),
                     .tokens = {},
                     .max_bytes = 1U << 30U,
                     .background_rate = std::nullopt,
                     .renew = {},
                     .fetcher = {}});
  const auto client = std::make_shared<HttpClient>(HttpClient::Options{});
  const CancelFlag never;
  const CapturedLog log;
  spdlog::default_logger()->set_level(spdlog::level::debug);
  EXPECT_EQ(opener.open(Url::parse("http://192.0.2.1/a.webc"), client, never), nullptr);
  EXPECT_FALSE(opener.complete(Url::parse("http://192.0.2.1/a.webc"), client, never, nullptr));
  EXPECT_THAT(log.text(), HasSubstr("it doesn't come over https"));
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "downloads")) << "nothing was asked";
}

}  // namespace
}  // namespace pkgfs::test
