// SPDX-License-Identifier: MIT
// Risk: an old ETag confirms a new file, so that a URL gives the wrong container for ever.
#include "core/cache/containers_by_url.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/net/url.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ContainersByUrlTest : public ::testing::Test {
 protected:
  TempDir dir_;
  const fs::path root_ = dir_.path() / "downloads";
  ContainersByUrl cache_{root_.string()};
  const CancelFlag never_;
  const Url url_ = Url::parse("http://example.com/a.webc");

  std::string store(const std::string& content, const std::optional<std::string>& etag) {
    const PartialEntry partial = cache_.reserve(url_, never_);
    std::ofstream(partial.part) << content;
    return cache_.commit(partial, open(partial.part), url_, etag);
  }
  static UniqueFd open(const fs::path& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }
  [[nodiscard]] fs::path entry() const { return cache_.path_of(url_); }
  static void set_age(const fs::path& path, std::chrono::hours age) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - age);
  }
};

TEST_F(ContainersByUrlTest, MissingEntriesAndDirectoriesAreNoErrors) {
  EXPECT_FALSE(cache_.find(url_));
  EXPECT_EQ(cache_.etag_of(url_), std::nullopt);
  EXPECT_THAT(cache_.entries(), IsEmpty());
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::seconds(0)), 0U);
  EXPECT_FALSE(fs::exists(root_)) << "looking creates nothing";
}

TEST_F(ContainersByUrlTest, EntriesAreNamedByTheirUrl) {
  EXPECT_EQ(store("content", "\"1\""), (root_ / to_upper_hex(sha256(url_.text()))).string());
  const auto found = cache_.find(url_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, entry().string());
  ASSERT_TRUE(found->age);
  EXPECT_LT(*found->age, std::chrono::minutes(1));
  EXPECT_EQ(cache_.etag_of(url_), "\"1\"");
  const auto entries = cache_.entries();
  ASSERT_THAT(entries, SizeIs(1)) << "the ETag is no entry";
  EXPECT_EQ(entries[0].path, entry().string());
  EXPECT_EQ(entries[0].size, 7U);
  EXPECT_FALSE(cache_.find(Url::parse("http://example.com/b.webc")));
  set_age(entry(), std::chrono::hours(2));
  const timespec long_ago[2]{{.tv_sec = 1'000'000, .tv_nsec = 0}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  ASSERT_EQ(::utimensat(AT_FDCWD, entry().c_str(), long_ago, 0), 0);
  (void)cache_.find(url_);
  EXPECT_GT(cache_.entries()[0].used, std::chrono::system_clock::now() - std::chrono::minutes(1)) << "it is used now";
}

TEST_F(ContainersByUrlTest, AnOldEtagNeverStaysBesideANewFile) {
  store("one", "\"1\"");
  store("two", std::nullopt);
  EXPECT_EQ(read_text(entry()), "two");
  EXPECT_EQ(cache_.etag_of(url_), std::nullopt);
  store("three", "\"3\"");
  EXPECT_EQ(cache_.etag_of(url_), "\"3\"");
}

TEST_F(ContainersByUrlTest, ADateIsKeptWhereThereIsNoEtag) {
  const auto store_dated = [&](const std::optional<std::string>& etag, const std::optional<std::string>& date) {
    const PartialEntry partial = cache_.reserve(url_, never_);
    std::ofstream(partial.part) << "content";
    cache_.commit(partial, open(partial.part), url_, etag, date);
  };
  store_dated(std::nullopt, "Sat, 28 Nov 2026 10:00:00 GMT");
  EXPECT_EQ(cache_.date_of(url_), "Sat, 28 Nov 2026 10:00:00 GMT");
  EXPECT_THAT(cache_.entries(), SizeIs(1)) << "the date is no entry";
  store_dated("\"1\"", "Sat, 28 Nov 2026 11:00:00 GMT");
  EXPECT_EQ(cache_.date_of(url_), std::nullopt) << "an old date beside a new file would be believed";
  store_dated(std::nullopt, "Sat, 28 Nov 2026 12:00:00 GMT");
  EXPECT_EQ(cache_.etag_of(url_), std::nullopt);
  const std::string other = (root_ / (std::string(64, 'A') + ".modified")).string();
  std::ofstream(other) << "x";
  set_age(other, std::chrono::hours(48));
  EXPECT_GT(cache_.remove_leftovers(std::chrono::hours(24)), 0U);
  EXPECT_FALSE(fs::exists(other)) << "it belongs to no entry";
  cache_.remove(entry());
  EXPECT_EQ(cache_.date_of(url_), std::nullopt);
}

TEST_F(ContainersByUrlTest, AgeIsCountedSinceTheServerConfirmedTheFile) {
  store("content", "\"1\"");
  const auto set_ages = [this](std::chrono::hours age) {
    set_age(entry(), age);
    set_age(entry().string() + ".etag", age);
  };
  set_ages(std::chrono::hours(2));
  EXPECT_GE(cache_.find(url_)->age.value(), std::chrono::minutes(119));
  set_ages(std::chrono::hours(-2));
  EXPECT_EQ(cache_.find(url_)->age, std::nullopt) << "the clock was set back";
  const auto before = fs::last_write_time(entry());
  cache_.mark_current(url_);
  EXPECT_LT(cache_.find(url_)->age.value(), std::chrono::minutes(1));
  EXPECT_EQ(fs::last_write_time(entry()), before) << "it may be mounted, and would count as changed";
}

TEST_F(ContainersByUrlTest, TheHashOfAnEntryIsKeptAsLongAsTheEntryStays) {
  EXPECT_EQ(cache_.content_hash(url_), std::nullopt);
  const fs::path beside = entry().string() + ".sha256";
  store("one", "\"1\"");
  EXPECT_EQ(cache_.content_hash(url_), sha256("one"));
  ASSERT_TRUE(fs::exists(beside));
  const std::string kept = read_text(beside);
  const Sha256 other = sha256("other");
  std::ofstream(beside) << to_hex(other) << kept.substr(64);
  EXPECT_EQ(cache_.content_hash(url_), other) << "the entry isn't hashed again";
  std::ofstream(entry()) << "another text";
  EXPECT_EQ(cache_.content_hash(url_), sha256("another text"));
  set_age(entry(), std::chrono::hours(1));
  EXPECT_EQ(cache_.content_hash(url_), sha256("another text"));
  for (const std::string& damaged : {std::string(), std::string(300, 'x'), kept.substr(0, 64)}) {
    std::ofstream(beside) << damaged;
    EXPECT_EQ(cache_.content_hash(url_), sha256("another text")) << damaged;
  }
  store("two", "\"2\"");
  EXPECT_FALSE(fs::exists(beside));
  EXPECT_EQ(cache_.content_hash(url_), sha256("two"));
  EXPECT_THAT(cache_.entries(), SizeIs(1)) << "the hash is no entry";
  cache_.remove(entry());
  EXPECT_FALSE(fs::exists(beside));
}

TEST_F(ContainersByUrlTest, AnEntryThatIsNoFileIsNone) {
  fs::create_directories(entry());
  EXPECT_FALSE(cache_.find(url_));
}

TEST_F(ContainersByUrlTest, RemovingTakesTheEtagToo) {
  store("content", "\"1\"");
  cache_.remove(entry());
  cache_.remove(entry());
  EXPECT_FALSE(fs::exists(entry()));
  EXPECT_EQ(cache_.etag_of(url_), std::nullopt);
}

TEST_F(ContainersByUrlTest, LeftoversGoWhenTheyAreOld) {
  store("content", "\"1\"");
  const std::string key(64, 'A');
  std::vector<fs::path> stale;
  for (const std::string& name :
       {"__temp__/" + key + ".part", "__temp__/" + key + ".part.from", "__temp__/" + key + ".lock", key + ".etag",
        key + ".sha256", entry().filename().string() + ".etag.0a1b2c3d"}) {
    stale.push_back(dir_.write("downloads/" + name, "x"));
    set_age(stale.back(), std::chrono::hours(48));
  }
  const fs::path young = dir_.write("downloads/__temp__/young.part", "x");
  set_age(entry().string() + ".etag", std::chrono::hours(48));
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1), true), 5U);
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1)), 5U);
  for (const fs::path& path : stale) {
    EXPECT_FALSE(fs::exists(path)) << path;
  }
  EXPECT_TRUE(fs::exists(young));
  EXPECT_EQ(cache_.etag_of(url_), "\"1\"") << "it belongs to an entry";
}

TEST_F(ContainersByUrlTest, PartsThatAreBeingFilledStay) {
  store("content", std::nullopt);
  const fs::path part = dir_.write("downloads/__temp__/" + entry().filename().string() + ".part", "12345");
  set_age(part, std::chrono::hours(48));
  {
    const PartialEntry partial = cache_.reserve(url_, never_);
    EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1), true), 0U);
    EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1)), 0U);
    EXPECT_TRUE(fs::exists(part));
  }
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1)), 5U);
  EXPECT_TRUE(fs::is_empty(root_ / "__temp__"));
}

}  // namespace
}  // namespace pkgfs::test
