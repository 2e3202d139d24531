// SPDX-License-Identifier: MIT
// Risk: a container that is fetched in parts is removed while a mount uses it, or stays on the disk for ever.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>

#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/cache/lazy_files.h"
#include "core/lazy/partial_containers.h"
#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LeftoversTest : public LazyDirectory {
 protected:
  /// A partial entry, unused for two days.
  void make_old(const PrivateDirectory& directory) const {
    fetch(*SparseFile::open(directory, "key", version()), {0, 10});
    set_old(directory.path());
  }
  static void set_old(const fs::path& directory) {
    for (const auto& file : fs::directory_iterator(directory)) {
      fs::last_write_time(file, fs::file_time_type::clock::now() - hours(48));
    }
  }
};

template <typename Cache>
class CachesTest : public LeftoversTest {};
using Caches = ::testing::Types<ContainersByHash, ContainersByUrl>;
TYPED_TEST_SUITE(CachesTest, Caches);

TYPED_TEST(CachesTest, RemoveWhatIsOldAndNotInUse) {
  TypeParam cache((this->dir_.path() / "cache").string());
  EXPECT_EQ(cache.remove_partial(hours(0)), 0U);
  const PrivateDirectory temporary = PrivateDirectory::make(cache.temporary_directory());
  this->make_old(temporary);
  EXPECT_EQ(cache.remove_leftovers(hours(24)), 0U) << "it isn't an interrupted download";
  EXPECT_EQ(cache.remove_partial(hours(72)), 0U);
  EXPECT_GE(cache.remove_partial(hours(24), true), 10 * kBlock);
  {
    const auto used = SparseFile::find(temporary, "key");
    ASSERT_NE(used, nullptr) << "none of these removed it";
    LeftoversTest::set_old(temporary.path());
    EXPECT_EQ(cache.remove_partial(hours(24), true), 0U);
    EXPECT_EQ(cache.remove_partial(hours(24)), 0U);
    EXPECT_TRUE(used->has({0, 10}));
  }
  EXPECT_EQ(cache.remove_partial(hours(24)), 0U) << "it was closed just now";
  LeftoversTest::set_old(temporary.path());
  const std::uint64_t freed = cache.remove_partial(hours(24));
  EXPECT_GE(freed, 10 * kBlock);
  EXPECT_LT(freed, 20 * kBlock) << "holes take no room";
  EXPECT_TRUE(fs::is_empty(temporary.path()));
}

TEST_F(LeftoversTest, HalfAPairIsRemovedToo) {
  for (const fs::path& lost : {data_path(), map_path()}) {
    make_old(directory_);
    fs::remove(lost);
    EXPECT_FALSE(lazy_files::is_in_use(directory_, "key"));
    EXPECT_THAT(lazy_files::list(directory_), ElementsAre(Field(&lazy_files::Pair::key, "key")));
    lazy_files::remove_old(PrivateDirectory::find(directory_.path()), cache_files::Clock::now() - hours(24), false);
    EXPECT_TRUE(fs::is_empty(directory_.path()));
  }
}

TEST_F(LeftoversTest, APairIsRemovedByNameUnlessItIsUsed) {
  auto file = open();
  fetch(*file, {0, 10});
  EXPECT_TRUE(lazy_files::is_in_use(directory_, "key"));
  EXPECT_EQ(lazy_files::remove(directory_, "key"), std::nullopt);
  EXPECT_NE(find(), nullptr);
  file.reset();
  EXPECT_FALSE(lazy_files::is_in_use(directory_, "key"));
  EXPECT_GE(lazy_files::remove(directory_, "key").value(), 10 * kBlock);
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

TEST_F(LeftoversTest, TheNextDownloadRemovesPairsOfLastMonth) {
  ContainersByHash cache((dir_.path() / "cache").string());
  const CancelFlag never;
  const PrivateDirectory temporary = PrivateDirectory::make(cache.temporary_directory());
  make_old(temporary);
  static_cast<void>(ContainersByHash(cache.directory()).reserve({}, never));
  EXPECT_THAT(lazy_files::list(temporary), SizeIs(1));
  for (const auto& file : fs::directory_iterator(temporary.path())) {
    fs::last_write_time(file, fs::file_time_type::clock::now() - hours(31 * 24));
  }
  static_cast<void>(cache.reserve({}, never));
  EXPECT_THAT(lazy_files::list(temporary), IsEmpty());
}

TEST_F(LeftoversTest, AListSaysHowMuchIsThere) {
  EXPECT_THAT(partial_containers((dir_.path() / "none").string()), IsEmpty());
  EXPECT_THAT(partial_containers(directory_.path()), IsEmpty());
  {
    const auto file = open();
    fetch(*file, {0, 10});
    fetch(*file, {kBlocks - 1, 1});
    file->sync();
    fetch(*file, {10, 1});
    const auto list = partial_containers(directory_.path());
    ASSERT_THAT(list, SizeIs(1));
    EXPECT_EQ(list[0].key, "key");
    EXPECT_EQ(list[0].path, data_path().string());
    EXPECT_EQ(list[0].bytes_present, 12 * kBlock - 1000);
    EXPECT_EQ(list[0].bytes_present, file->bytes_present());
    EXPECT_EQ(list[0].size, kSize);
    EXPECT_TRUE(list[0].is_in_use);
    EXPECT_LT(std::chrono::system_clock::now() - list[0].used, std::chrono::minutes(1));
  }
  const auto rebooted = partial_containers(directory_.path(), "another boot");
  ASSERT_THAT(rebooted, SizeIs(1));
  EXPECT_EQ(rebooted[0].bytes_present, 11 * kBlock - 1000);
  EXPECT_FALSE(rebooted[0].is_in_use);
  EXPECT_EQ(open()->bytes_present(), 12 * kBlock - 1000) << "the list has begun no boot";
  overwrite_map(0, "x");
  EXPECT_EQ(partial_containers(directory_.path()).at(0).size, 0U);
}

}  // namespace
}  // namespace pkgfs::test
