// SPDX-License-Identifier: MIT
// A package file that shrinks while it is served must cost an EIO, never the process.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/byte_source.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t zeros(std::span<const std::byte> bytes) {
  return static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), std::byte{0}));
}

int error_of(const Result<void>& result) { return result.has_value() ? 0 : result.error(); }

class MappedFileTest : public ::testing::Test {
 protected:
  std::string file(std::size_t size) { return dir_.write("file", std::string(size, 'x')); }
  test::TempDir dir_;
};

TEST_F(MappedFileTest, ShowsAndReadsTheWholeFile) {
  const std::string path = dir_.write("file", "0123456789");
  const auto mapped = MappedFile::open(path);
  EXPECT_EQ(mapped->name(), path);
  EXPECT_EQ(mapped->size(), 10U);
  EXPECT_EQ(static_cast<char>(mapped->bytes()[9]), '9');
  std::vector<std::byte> out(4);
  ASSERT_TRUE(mapped->read(3, out).has_value());
  EXPECT_EQ(static_cast<char>(out[0]), '3');
  EXPECT_TRUE(mapped->read(10, std::span(out).first(0)).has_value());
  EXPECT_FALSE(mapped->damaged());
}

TEST_F(MappedFileTest, ReadingOutsideIsRefusedWithoutOverflow) {
  const auto mapped = MappedFile::open(file(10));
  std::vector<std::byte> out(4);
  for (const std::uint64_t offset : {std::uint64_t{7}, std::uint64_t{11}, UINT64_MAX, UINT64_MAX - 3}) {
    EXPECT_EQ(error_of(mapped->read(offset, out)), EIO) << offset;
  }
  EXPECT_FALSE(mapped->damaged()) << "asking wrongly isn't damage";
}

TEST_F(MappedFileTest, EmptyFileIsNoError) {
  const auto mapped = MappedFile::open(file(0));
  EXPECT_EQ(mapped->size(), 0U);
  EXPECT_TRUE(mapped->bytes().empty());
}

TEST_F(MappedFileTest, WhatIsNoFileIsRefusedByName) {
  for (const std::string& path : {dir_.path().string(), std::string("/dev/null"), (dir_.path() / "absent").string()}) {
    try {
      static_cast<void>(MappedFile::open(path));
      FAIL() << path << " was opened";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    }
  }
}

TEST_F(MappedFileTest, FifoDoesNotHang) {
  const std::string path = (dir_.path() / "fifo").string();
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THROW(static_cast<void>(MappedFile::open(path)), Error);
}

TEST_F(MappedFileTest, LostPagesReadAsZerosAndMarkTheSource) {
  const std::string path = file(3 * kPage);
  const auto mapped = MappedFile::open(path);
  EXPECT_TRUE(mapped->is_intact());
  ASSERT_EQ(::truncate(path.c_str(), kPage), 0);
  EXPECT_FALSE(mapped->is_intact());
  EXPECT_EQ(zeros(mapped->bytes().first(kPage)), 0U);
  EXPECT_EQ(zeros(mapped->bytes().subspan(kPage)), 2 * kPage);
  EXPECT_TRUE(mapped->damaged());
  std::vector<std::byte> out(10);
  EXPECT_EQ(error_of(mapped->read(0, out)), EIO) << "another program is writing the file";
  EXPECT_EQ(error_of(mapped->read(kPage, out)), EIO);
  EXPECT_EQ(error_of(mapped->read(kPage - 5, out)), EIO) << "no short answers";
}

TEST_F(MappedFileTest, DamageStaysEvenIfTheFileGrowsBack) {
  const std::string path = file(2 * kPage);
  const auto mapped = MappedFile::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  EXPECT_EQ(zeros(mapped->bytes()), 2 * kPage);
  ASSERT_EQ(::truncate(path.c_str(), 2 * kPage), 0);
  EXPECT_TRUE(mapped->damaged());
}

TEST_F(MappedFileTest, ShrinkingInsideThePageIsSeenByRead) {
  const std::string path = file(100);
  const auto mapped = MappedFile::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 50), 0);
  std::vector<std::byte> out(100);
  EXPECT_EQ(error_of(mapped->read(0, out)), EIO);
  EXPECT_TRUE(mapped->damaged());
}

TEST_F(MappedFileTest, DamageOfOneFileDoesNotTouchAnother) {
  const std::string path = file(2 * kPage);
  const auto whole = MappedFile::open(dir_.write("other", std::string(2 * kPage, 'y')));
  const auto cut = MappedFile::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  EXPECT_EQ(zeros(cut->bytes()), 2 * kPage);
  EXPECT_FALSE(whole->damaged());
  EXPECT_EQ(zeros(whole->bytes()), 0U);
}

TEST_F(MappedFileTest, ManyFilesOpenAtOnceAndSlotsAreReused) {
  const std::string path = file(2 * kPage);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::shared_ptr<MappedFile>> all;
    for (int i = 0; i < 200; ++i) {
      all.push_back(MappedFile::open(path));
      EXPECT_FALSE(all.back()->damaged());
    }
  }
  std::vector<std::shared_ptr<MappedFile>> all;
  for (int i = 0; i < 200; ++i) {
    all.push_back(MappedFile::open(path));
  }
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  EXPECT_EQ(zeros(all[150]->bytes()), 2 * kPage);
  EXPECT_TRUE(all[150]->damaged());
}

TEST_F(MappedFileTest, IsIntactWhileOnlyItsNameOrItsAccessTimeChanges) {
  const std::string path = file(kPage);
  const auto mapped = MappedFile::open(path);
  const std::uint64_t stamp = mapped->stamp();
  ASSERT_EQ(::rename(path.c_str(), (path + "2").c_str()), 0);
  ASSERT_EQ(::chmod((path + "2").c_str(), 0400), 0);
  ASSERT_EQ(::unlink((path + "2").c_str()), 0);
  EXPECT_TRUE(mapped->is_intact());
  EXPECT_NE(mapped->stamp(), stamp);
  std::vector<std::byte> out(kPage);
  EXPECT_TRUE(mapped->read(0, out).has_value());
  EXPECT_FALSE(mapped->damaged());
}

TEST_F(MappedFileTest, OverwrittenBytesAreNeverReturned) {
  const std::string path = file(2 * kPage);
  const auto mapped = MappedFile::open(path);
  std::vector<std::byte> out(kPage);
  ASSERT_TRUE(mapped->read(0, out).has_value());
  {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), "new", 3, kPage), 3);
  }
  EXPECT_EQ(error_of(mapped->read(kPage, out)), EIO);
  EXPECT_FALSE(mapped->read_at_once({.offset = kPage, .length = out.size()}, 0, out));
  EXPECT_FALSE(mapped->is_intact());
  const std::vector<std::string> changed = read_faults::changed_files();
  EXPECT_EQ(std::ranges::count(changed, path), 1);
}

TEST_F(MappedFileTest, AFileThatMayChangeIsAlwaysIntact) {
  const std::string path = file(kPage);
  const auto mapped =
      MappedFile::adopt(UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), path, MappedFile::Changes::kAllowed);
  dir_.write("file", std::string(kPage, 'y'));
  EXPECT_TRUE(mapped->is_intact());
  std::vector<std::byte> out(1);
  ASSERT_TRUE(mapped->read(0, out).has_value());
  EXPECT_EQ(static_cast<char>(out[0]), 'y');
}

/// A file whose pages can be lost and come back: its end is cut off and written again.
class LostPagesTest : public MappedFileTest {
 protected:
  void SetUp() override {
    path_ = file(4 * kPage);
    fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    mapped_ =
        MappedFile::adopt(UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)), path_, MappedFile::Changes::kAllowed);
  }
  void lose() { ASSERT_EQ(::ftruncate(fd_.get(), kPage), 0); }
  void restore() {
    const std::string bytes(3 * kPage, 'x');
    ASSERT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), kPage), static_cast<ssize_t>(bytes.size()));
  }
  /// Reads one page of the mapping, as code that decodes it does.
  lost_pages::Outcome read_page(std::size_t page) {
    const std::uint64_t before = lost_pages::events();
    const auto part = mapped_->bytes().subspan(page * kPage, kPage);
    zeros_ = zeros(part);
    return lost_pages::check(part, before);
  }

  std::string path_;
  UniqueFd fd_;
  std::shared_ptr<MappedFile> mapped_;
  std::size_t zeros_ = 0;
};

TEST_F(LostPagesTest, AreKnownToWhatReadThemAndToNothingElse) {
  EXPECT_EQ(read_page(2), lost_pages::Outcome::kRight);
  lose();
  EXPECT_EQ(read_page(0), lost_pages::Outcome::kRight);
  EXPECT_EQ(read_page(2), lost_pages::Outcome::kLost);
  EXPECT_EQ(read_page(0), lost_pages::Outcome::kRight);
  EXPECT_EQ(zeros_, 0U);
  const std::string other(kPage, 'z');
  EXPECT_EQ(lost_pages::check(std::as_bytes(std::span(other)), 0), lost_pages::Outcome::kRight) << "no mapped file";
}

TEST_F(LostPagesTest, AreReadAgainAfterAPause) {
  lose();
  EXPECT_EQ(read_page(2), lost_pages::Outcome::kLost);
  restore();
  EXPECT_EQ(read_page(2), lost_pages::Outcome::kLost) << "tried again without a pause";
  std::this_thread::sleep_for(read_faults::kPause + std::chrono::milliseconds(50));
  EXPECT_EQ(read_page(2), lost_pages::Outcome::kAgain) << "what was read before are zeros";
  EXPECT_EQ(read_page(2), lost_pages::Outcome::kRight);
  EXPECT_EQ(zeros_, 0U);
  EXPECT_EQ(read_page(3), lost_pages::Outcome::kRight);
  EXPECT_EQ(zeros_, 0U);
}

TEST_F(LostPagesTest, CanBeLostAgainAfterThat) {
  for (int round = 0; round < 2; ++round) {
    lose();
    EXPECT_EQ(read_page(3), lost_pages::Outcome::kLost);
    restore();
    std::this_thread::sleep_for(read_faults::kPause + std::chrono::milliseconds(50));
    EXPECT_EQ(read_page(3), lost_pages::Outcome::kAgain);
    EXPECT_EQ(read_page(3), lost_pages::Outcome::kRight);
  }
}

TEST_F(LostPagesTest, NoThreadTakesZerosForBytes) {
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        const std::uint64_t before = lost_pages::events();
        const auto part = mapped_->bytes().subspan(2 * kPage, 64);
        const bool has_zeros = zeros(part) != 0;
        if (lost_pages::check(part, before) == lost_pages::Outcome::kRight) {
          wrong += has_zeros ? 1 : 0;
          ++right;
        }
      }
    });
  }
  lose();
  restore();
  std::this_thread::sleep_for(read_faults::kPause + std::chrono::milliseconds(300));
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 0);
}

TEST_F(MappedFileTest, ThreadsThatFaultTogetherAllGoOn) {
  const std::string path = file(64 * kPage);
  const auto mapped = MappedFile::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);
  std::vector<std::thread> threads;
  std::vector<std::size_t> seen(4);
  for (std::size_t& count : seen) {
    threads.emplace_back([&] { count = zeros(mapped->bytes()); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(seen, std::vector<std::size_t>(4, 64 * kPage));
}

using MappedFileDeathTest = MappedFileTest;

TEST_F(MappedFileDeathTest, FaultInAnotherMappingStillEndsTheProcess) {
  const std::string path = file(2 * kPage);
  const auto ours = MappedFile::open(dir_.write("ours", "x"));
  EXPECT_DEATH(
      {
        const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        const void* map = ::mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, fd, 0);
        const int cut = ::ftruncate(fd, 0);
        const volatile char* lost = static_cast<const char*>(map) + kPage;
        ::_exit(cut + *lost);
      },
      "");
}

TEST(MemoryBytes, ReadsInsideAndRefusesOutside) {
  const MemoryBytes memory("memory", std::vector<std::byte>(10, std::byte{7}));
  std::vector<std::byte> out(4);
  EXPECT_TRUE(memory.read(6, out).has_value());
  EXPECT_EQ(out[3], std::byte{7});
  EXPECT_EQ(error_of(memory.read(7, out)), EIO);
  EXPECT_EQ(error_of(memory.read(UINT64_MAX, out)), EIO);
}

}  // namespace
}  // namespace pkgfs
