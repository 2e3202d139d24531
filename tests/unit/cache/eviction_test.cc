// SPDX-License-Identifier: MIT
// Risk: a full disk removes packages that are in use, more than the user allowed, or the ones that were used last.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "core/base/file_lock.h"
#include "core/base/hash.h"
#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/cache/eviction.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Eviction : public ::testing::Test {
 protected:
  /// Six files of 1,000 bytes; the first one was unused for longest: an entry of each cache, a container fetched in
  /// parts, and the same again.
  void SetUp() override {
    for (int i = 0; i < 6; ++i) {
      const std::string text = std::string(999, 'x') + static_cast<char>('0' + i);
      const std::string hash = to_hex(sha256(text));
      const std::string names[3]{"checkouts/" + hash + ".bin", "downloads/" + to_upper_hex(sha256(text)),
                                 "checkouts/__temp__/" + hash + ".lazy"};
      paths_[i] = dir_.write(names[i % 3], text);
      set_used(paths_[i], i);
      if (i % 3 == 2) {
        set_used(dir_.write("checkouts/__temp__/" + hash + ".lazy-map", ""), i);
      }
    }
    dir_.write("downloads/" + paths_[1].filename().string() + ".etag", "\"1\"");
  }
  static void set_used(const fs::path& path, int order) {
    const timespec used{.tv_sec = 1'000'000 + order, .tv_nsec = 0};
    const timespec times[2]{used, used};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  [[nodiscard]] std::string left() const {
    std::string numbers;
    for (int i = 0; i < 6; ++i) {
      numbers += fs::exists(paths_[i]) ? std::to_string(i) : "";
    }
    return numbers;
  }
  /// What all files count.
  [[nodiscard]] std::uint64_t size() const {
    std::uint64_t sum = 0;
    for (int i = 0; i < 6; ++i) {
      sum += size_of(i);
    }
    return sum;
  }
  [[nodiscard]] std::uint64_t size_of(int i) const {
    struct stat status{};
    EXPECT_EQ(::stat(paths_[i].c_str(), &status), 0);
    // A file that is fetched in parts counts as the blocks that it takes.
    return i % 3 == 2 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 1000;
  }
  /// Whether the file system of the test has leases.
  [[nodiscard]] bool has_leases() const {
    const UniqueFd fd(::open(paths_[0].c_str(), O_RDONLY | O_CLOEXEC));
    return ::fcntl(fd.get(), F_SETLEASE, F_WRLCK) == 0;
  }
  std::uint64_t evict_to(std::uint64_t limit) { return evict(packages_, urls_, limit); }

  TempDir dir_;
  fs::path paths_[6];
  ContainersByHash packages_{dir_.path() / "checkouts"};
  ContainersByUrl urls_{dir_.path() / "downloads"};
};

TEST_F(Eviction, RemovesTheLongestUnusedOfAllKindsUntilTheLimit) {
  if (!has_leases()) {
    GTEST_SKIP() << "this file system has no leases";
  }
  const std::uint64_t all = size();
  const std::uint64_t in_parts = size_of(2);
  EXPECT_EQ(evict_to(all), 0U);
  EXPECT_EQ(left(), "012345") << "what isn't complete stays, too";
  EXPECT_EQ(evict_to(all - 1500), 2000U);
  EXPECT_EQ(left(), "2345");
  EXPECT_TRUE(urls_.entries().size() == 1 && !fs::exists(paths_[1].string() + ".etag"));
  EXPECT_EQ(evict_to(all - 2001), in_parts);
  EXPECT_EQ(left(), "345");
  EXPECT_EQ(evict_to(0), all - 2000 - in_parts);
  EXPECT_EQ(left(), "");
  EXPECT_TRUE(fs::is_empty(dir_.path() / "checkouts/__temp__"));
  EXPECT_EQ(evict_to(0), 0U);
}

TEST_F(Eviction, WhatAProcessFillsStays) {
  if (!has_leases()) {
    GTEST_SKIP() << "this file system has no leases";
  }
  const fs::path map = paths_[2].string() + "-map";
  const UniqueFd used(::open(map.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(used.get(), LOCK_SH | LOCK_NB), 0);
  const FileLock filled(PrivateDirectory::make(urls_.temporary_directory()), paths_[1].filename().string() + ".lock",
                        CancelFlag());
  const std::uint64_t in_parts = size_of(5);
  EXPECT_EQ(evict_to(0), 3000 + in_parts);
  EXPECT_EQ(left(), "12");
}

TEST_F(Eviction, WhatIsOpenStays) {
  if (!has_leases()) {
    GTEST_SKIP() << "this file system has no leases";
  }
  const UniqueFd open(::open(paths_[0].c_str(), O_RDONLY | O_CLOEXEC));
  Process other({"sh", "-c", "exec 3< '" + paths_[1].string() + "'; echo open; sleep 30"});
  ASSERT_TRUE(eventually([&] { return other.out() == "open\n"; }));
  EXPECT_GT(evict_to(2000), 2000U);
  EXPECT_EQ(left(), "01");
}

TEST_F(Eviction, WithoutADirectoryThereIsNothing) {
  ContainersByHash no_packages(dir_.path() / "none");
  ContainersByUrl no_urls(dir_.path() / "none");
  EXPECT_EQ(evict(no_packages, no_urls, 0), 0U);
}

}  // namespace
}  // namespace pkgfs::test
