// SPDX-License-Identifier: MIT
// Risk: a full disk removes packages that are in use, more than the user allowed, or the ones that were used last.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/eviction.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Eviction : public ::testing::Test {
 protected:
  /// Entries of 1,000 bytes; the first one was unused for longest.
  void SetUp() override {
    for (int i = 0; i < 4; ++i) {
      const std::string text = std::string(999, 'x') + static_cast<char>('0' + i);
      paths_[i] = dir_.write(to_hex(sha256(text)) + ".bin", text);
      const timespec used{.tv_sec = 1'000'000 + i, .tv_nsec = 0};
      const timespec times[2]{used, used};
      ASSERT_EQ(::utimensat(AT_FDCWD, paths_[i].c_str(), times, 0), 0);
    }
  }
  [[nodiscard]] std::string left() const {
    std::string numbers;
    for (int i = 0; i < 4; ++i) {
      numbers += fs::exists(paths_[i]) ? std::to_string(i) : "";
    }
    return numbers;
  }
  /// Whether the file system of the test has leases.
  [[nodiscard]] bool has_leases() const {
    const UniqueFd fd(::open(paths_[0].c_str(), O_RDONLY | O_CLOEXEC));
    return ::fcntl(fd.get(), F_SETLEASE, F_WRLCK) == 0;
  }

  TempDir dir_;
  fs::path paths_[4];
  ContainersByHash cache_{dir_.path()};
};

TEST_F(Eviction, RemovesTheLongestUnusedUntilTheLimit) {
  if (!has_leases()) {
    GTEST_SKIP() << "this file system has no leases";
  }
  EXPECT_EQ(evict(cache_, 4000), 0U);
  EXPECT_EQ(left(), "0123");
  EXPECT_EQ(evict(cache_, 2500), 2000U);
  EXPECT_EQ(left(), "23");
  EXPECT_EQ(evict(cache_, 0), 2000U);
  EXPECT_EQ(left(), "");
  EXPECT_EQ(evict(cache_, 0), 0U);
}

TEST_F(Eviction, WhatIsOpenStays) {
  if (!has_leases()) {
    GTEST_SKIP() << "this file system has no leases";
  }
  const UniqueFd open(::open(paths_[0].c_str(), O_RDONLY | O_CLOEXEC));
  Process other({"sh", "-c", "exec 3< '" + paths_[1].string() + "'; echo open; sleep 30"});
  ASSERT_TRUE(eventually([&] { return other.out() == "open\n"; }));
  EXPECT_EQ(evict(cache_, 2000), 2000U);
  EXPECT_EQ(left(), "01");
}

TEST_F(Eviction, WithoutADirectoryThereIsNothing) {
  ContainersByHash none(dir_.path() / "none");
  EXPECT_EQ(evict(none, 0), 0U);
}

}  // namespace
}  // namespace pkgfs::test
