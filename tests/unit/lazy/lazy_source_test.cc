// SPDX-License-Identifier: MIT
// Risk: a container that nothing uses any more keeps a thread and a disk busy.
#include "core/lazy/lazy_source.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "core/base/private_directory.h"
#include "core/net/http_client.h"
#include "core/net/url.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;

TEST(LazySourceTest, AContainerThatNothingUsesIsHashedNoMore) {
  const TempDir dir;
  const PrivateDirectory directory = PrivateDirectory::make(dir.path() / "temp");
  auto file = SparseFile::open(directory, "key", {.validator = "\"etag\"", .size = 16ULL << 30U});
  file->mark_present({0, file->blocks()});
  const Url url = Url::parse("http://127.0.0.1:1/a.webc");  // nothing is asked for
  auto source = LazySource::make(
      std::move(file),
      {.remote =
           {.url = url, .bearer = std::nullopt, .name = "a", .max_size = 0, .may_leave_https = false, .renew = {}},
       .hash = Sha256{},
       .keep = [](SparseFile&) { ADD_FAILURE() << "it has another hash"; },
       .background_rate = std::nullopt,
       .is_urgent = false,
       .profile = {},
       .keep_profile = {}},
      BlockFetcher::make({.make_client = [] { return std::make_shared<HttpClient>(HttpClient::Options{}); }}));
  const std::weak_ptr<const LazySource> alive = source->weak_from_this();
  source->begin_background();
  std::this_thread::sleep_for(300ms);  // of the many seconds that the hash takes
  EXPECT_EQ(source->state(), LazySource::State::kLazy);
  source.reset();
  EXPECT_TRUE(eventually([&] { return alive.expired(); }, 3s));
}

}  // namespace
}  // namespace pkgfs::test
