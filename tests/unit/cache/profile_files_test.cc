// SPDX-License-Identifier: MIT
// Risk: profiles fill the cache, one is used that another user has put there, or a reader sees half of one.
#include "core/cache/profile_files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

Sha256 hash_number(unsigned number) { return sha256(std::to_string(number)); }

class ProfileFilesTest : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path path_of(const Sha256& hash) const { return dir_.path() / (to_hex(hash) + ".profile"); }
  [[nodiscard]] std::string directory() const { return dir_.path(); }
  TempDir dir_;
};

TEST_F(ProfileFilesTest, AreWrittenReplacedReadAndRemoved) {
  EXPECT_THAT(profile_files::list(directory() + "/none"), ::testing::IsEmpty());
  EXPECT_EQ(profile_files::read(directory() + "/none", hash_number(1), 100), std::nullopt);
  profile_files::write(directory(), hash_number(1), "first");
  profile_files::write(directory(), hash_number(1), "second");
  profile_files::write(directory(), hash_number(2), "other");
  std::ofstream(dir_.path() / "x.profile") << "no hash";
  EXPECT_EQ(profile_files::read(directory(), hash_number(1), 100), "second");
  EXPECT_EQ(profile_files::read(directory(), hash_number(1), 5), std::nullopt) << "too long";
  EXPECT_EQ(profile_files::read(directory(), hash_number(3), 100), std::nullopt);
  const auto files = profile_files::list(directory());
  ASSERT_EQ(files.size(), 2U);
  EXPECT_TRUE(fs::is_empty(dir_.path() / "__temp__"));
  for (const auto& file : files) {
    profile_files::remove(file);
    profile_files::remove(file);
  }
  EXPECT_THAT(profile_files::list(directory()), ::testing::IsEmpty());
}

TEST_F(ProfileFilesTest, TheLongestUnusedOnesMakeRoom) {
  for (unsigned i = 0; i < 3; ++i) {
    profile_files::write(directory(), hash_number(i), "text", 3);
    const timespec old{.tv_sec = 1'000'000'000 + i, .tv_nsec = 0};
    const timespec times[] = {old, old};
    ASSERT_EQ(::utimensat(AT_FDCWD, path_of(hash_number(i)).c_str(), times, 0), 0);
  }
  ASSERT_TRUE(profile_files::read(directory(), hash_number(0), 100));  // now the one most recently used
  profile_files::write(directory(), hash_number(9), "text", 3);
  EXPECT_TRUE(fs::exists(path_of(hash_number(0))));
  EXPECT_FALSE(fs::exists(path_of(hash_number(1))));
  EXPECT_TRUE(fs::exists(path_of(hash_number(2))));
  EXPECT_TRUE(fs::exists(path_of(hash_number(9))));
}

TEST_F(ProfileFilesTest, LinksAndOtherFilesAreNotRead) {
  std::ofstream(dir_.path() / "target") << "text";
  fs::create_symlink(dir_.path() / "target", path_of(hash_number(1)));
  EXPECT_EQ(profile_files::read(directory(), hash_number(1), 100), std::nullopt);
  ASSERT_EQ(::mkfifo(path_of(hash_number(2)).c_str(), 0600), 0);
  EXPECT_EQ(profile_files::read(directory(), hash_number(2), 100), std::nullopt);
  profile_files::write(directory(), hash_number(1), "mine");
  EXPECT_EQ(read_text(dir_.path() / "target"), "text");
  EXPECT_EQ(profile_files::read(directory(), hash_number(1), 100), "mine");
}

}  // namespace
}  // namespace pkgfs::test
