// SPDX-License-Identifier: MIT
// Risk: bytes that were never fetched, or that a power cut took away, count as those of the package.
#include "core/lazy/sparse_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>

#include "core/base/error.h"
#include "tests/unit/lazy/child.h"
#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::streamoff kStates = 4096;  // where the map has the bytes of the blocks

class SparseFileTest : public LazyDirectory {
 protected:
  static ErrorCode code_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  }
  /// Opens the file with one line in the log that says `reason`. Nothing is present then.
  void expect_begun_anew(const std::string& reason) const {
    EXPECT_EQ(find(), nullptr) << reason;
    const CapturedLog log;
    const auto file = open();
    EXPECT_EQ(file->bytes_present(), 0U) << reason;
    EXPECT_EQ(fs::file_size(data_path()), kSize);
    const std::string text = log.text();
    EXPECT_THAT(text, HasSubstr("key.lazy\" is begun anew: " + reason));
    EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  }
  /// Makes a file whose first ten blocks are synced.
  void make_synced() const {
    const auto file = open();
    fetch(*file, {0, 10});
    file->sync();
  }
};

TEST_F(SparseFileTest, BlocksThatWereWrittenAreThere) {
  EXPECT_EQ(find(), nullptr);
  EXPECT_TRUE(fs::is_empty(dir_.path() / "temp")) << "looking creates nothing";
  const auto file = open();
  EXPECT_EQ(file->path(), data_path().string());
  EXPECT_EQ(file->blocks(), kBlocks);
  EXPECT_EQ(fs::file_size(data_path()), kSize);
  struct stat status{};
  ASSERT_EQ(::stat(data_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_LT(status.st_blocks, 128) << "the file isn't sparse";
  ASSERT_EQ(::stat(map_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_FALSE(file->has(0, 1));
  EXPECT_TRUE(file->has(5, 0));
  EXPECT_EQ(file->bytes_present(), 0U);
  EXPECT_EQ(file->missing({0, kBlocks}), (BlockRange{0, kBlocks}));

  fetch(*file, {3, 2});
  fetch(*file, {kBlocks - 1, 1});
  EXPECT_TRUE(file->has(3 * kBlock, 2 * kBlock));
  EXPECT_FALSE(file->has(3 * kBlock - 1, 2));
  EXPECT_FALSE(file->has(3 * kBlock, 2 * kBlock + 1));
  EXPECT_TRUE(file->has((kBlocks - 1) * kBlock, kBlock - 1000));
  EXPECT_FALSE(file->has({kBlocks - 1, 2})) << "there is nothing behind the end";
  EXPECT_EQ(file->missing({3, 2}), BlockRange{});
  EXPECT_EQ(file->missing({2, 10}), (BlockRange{2, 1}));
  EXPECT_EQ(file->missing({3, 1000}), (BlockRange{5, kBlocks - 6}));
  EXPECT_EQ(file->bytes_present(), 3 * kBlock - 1000);
  EXPECT_TRUE(is_right(*file, 3) && is_right(*file, 4));

  file->mark_missing({4, 1});
  EXPECT_FALSE(file->has({4, 1}));
  EXPECT_TRUE(file->has({3, 1}));
  fetch(*file, {0, kBlocks});
  EXPECT_TRUE(file->is_complete());
  EXPECT_EQ(file->bytes_present(), kSize);
}

TEST_F(SparseFileTest, RunsOfEveryLengthAndPlaceAreFound) {
  const auto file = open();
  for (std::uint64_t first = 0; first < 20; ++first) {
    for (std::uint64_t count = 1; count < 20; ++count) {
      file->mark_missing({0, kBlocks});
      file->mark_present({first, count});
      for (std::uint64_t at = 0; at < 45; ++at) {
        const bool is_before = at < first;
        const bool is_in = at >= first && at < first + count;
        const BlockRange expected = is_before ? BlockRange{at, first - at}
                                    : is_in   ? BlockRange{first + count, kBlocks - first - count}
                                              : BlockRange{at, kBlocks - at};
        ASSERT_EQ(file->missing({at, kBlocks - at}), expected) << first << ' ' << count << ' ' << at;
        ASSERT_EQ(file->has({at, 1}), is_in);
      }
      ASSERT_EQ(file->bytes_present(), count * kBlock);
    }
  }
}

TEST_F(SparseFileTest, PresentBlocksStayUntilARebootAndSyncedOnesLonger) {
  {
    const auto file = open();
    fetch(*file, {0, 5});
    file->sync();
    fetch(*file, {5, 5});
  }
  EXPECT_EQ(open()->bytes_present(), 10 * kBlock);
  EXPECT_EQ(find()->version(), version());
  {
    const auto file = open("another boot");
    EXPECT_EQ(file->missing({0, kBlocks}), (BlockRange{5, kBlocks - 5}));
    EXPECT_TRUE(is_right(*file, 4));
    fetch(*file, {50, 1});
    EXPECT_TRUE(open("another boot")->has({50, 1})) << "a second user doesn't begin the boot again";
  }
  EXPECT_EQ(open("another boot")->bytes_present(), 6 * kBlock);
  EXPECT_EQ(find("a third boot")->bytes_present(), 5 * kBlock);
  EXPECT_EQ(open("")->bytes_present(), 5 * kBlock) << "without an id each boot is another one";
}

TEST_F(SparseFileTest, AnUnknownBootIsAlwaysAnotherOne) {
  fetch(*open(""), {0, 1});
  EXPECT_EQ(open("")->bytes_present(), 0U);
}

TEST_F(SparseFileTest, AnotherMachineDoesNotShareAFileThatIsUsed) {
  const auto file = open("boot of one machine");  // on a file system that both have mounted
  EXPECT_EQ(code_of([&] { static_cast<void>(open("boot of the other one")); }), ErrorCode::kBusy);
  EXPECT_EQ(find("boot of the other one"), nullptr);
}

TEST_F(SparseFileTest, AForgottenBlockIsNoLongerSynced) {
  {
    const auto file = open();
    fetch(*file, {0, 5});
    file->sync();
    file->mark_missing({2, 1});
    fetch(*file, {2, 1});
  }
  EXPECT_EQ(open("another boot")->missing({0, 5}), (BlockRange{2, 1}));
}

TEST_F(SparseFileTest, ARebootIsBegunOnce) {
  make_synced();
  for (int i = 0; i < 10; ++i) {
    const std::string boot = "boot " + std::to_string(i);
    Signal go;
    const auto race = [&] {
      static_cast<void>(go.wait());
      const auto file = open(boot);
      const bool right = file->has({0, 10});
      fetch(*file, {static_cast<std::uint64_t>(20 + ::getpid() % 50), 1});
      return right && open(boot)->has({static_cast<std::uint64_t>(20 + ::getpid() % 50), 1});
    };
    Child one(race);
    Child two(race);
    Child three(race);
    go.say();
    go.say();
    go.say();
    EXPECT_TRUE(one.wait());
    EXPECT_TRUE(two.wait());
    EXPECT_TRUE(three.wait());
  }
}

TEST_F(SparseFileTest, ADamagedMapIsBegunAnew) {
  for (const auto& [at, bytes] : std::vector<std::pair<std::streamoff, std::string>>{
           {0, "x"}, {8, "\x02"}, {20, "x"}, {100, "x"}, {kStates + 3, "\x03"}, {kStates + 99, "\xff"}}) {
    make_synced();
    overwrite_map(at, bytes);
    expect_begun_anew("its map is damaged");
  }
  for (const std::uintmax_t length : {1U, 1000U, 4096U, 4195U, 4197U, 100'000U}) {
    make_synced();
    fs::resize_file(map_path(), length);
    expect_begun_anew("its map is damaged");
  }
  make_synced();
  fs::resize_file(map_path(), 0);  // as if the process that made it had been killed
  EXPECT_EQ(find(), nullptr);
  EXPECT_EQ(open()->bytes_present(), 0U);
}

TEST_F(SparseFileTest, AFileWithBlocksOfAnotherSizeIsBegunAnew) {
  // As pkgfs made it when a block had 64 KiB: all blocks are synced.
  constexpr std::uint64_t kFormerBlock = 64U << 10U;
  make_synced();
  const MapHeader header{
      .validator = version().validator, .size = kSize, .block_size = kFormerBlock, .boot = SparseFile::this_boot()};
  const std::vector<std::byte> bytes = header.encode();
  fs::resize_file(map_path(), kStates + BlockMap::blocks_of(kSize, kFormerBlock));
  overwrite_map(0, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  overwrite_map(kStates, std::string(BlockMap::blocks_of(kSize, kFormerBlock), '\2'));
  expect_begun_anew("another version of pkgfs has made it, with blocks of another size");
}

TEST_F(SparseFileTest, AFileOfAnotherSizeIsBegunAnew) {
  for (const std::uintmax_t length : {std::uint64_t{0}, kSize - 1, kSize + 1}) {
    make_synced();
    fs::resize_file(data_path(), length);
    expect_begun_anew("it doesn't have the size that its map says");
  }
  make_synced();
  fs::remove(data_path());
  expect_begun_anew("it is gone, but its map is there");
  make_synced();
  fs::remove(map_path());
  EXPECT_EQ(find(), nullptr);
  EXPECT_EQ(open()->bytes_present(), 0U);
}

TEST_F(SparseFileTest, FilesOfOtherUsersAndLinksAreNotUsed) {
  make_synced();
  fs::copy_file(map_path(), dir_.path() / "other");
  fs::remove(map_path());
  fs::create_symlink(dir_.path() / "other", map_path());
  EXPECT_EQ(find(), nullptr);
  EXPECT_EQ(open()->bytes_present(), 0U);
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(map_path())));
  if (::geteuid() == 0) {
    make_synced();
    ASSERT_EQ(::chown(map_path().c_str(), 65534, 65534), 0);
    EXPECT_EQ(find(), nullptr);
    EXPECT_EQ(open()->bytes_present(), 0U);
    make_synced();
    ASSERT_EQ(::chown(data_path().c_str(), 65534, 65534), 0);
    EXPECT_EQ(find(), nullptr);
    EXPECT_EQ(open()->bytes_present(), 0U);
  }
}

TEST_F(SparseFileTest, AFileThatCannotBeOpenedNowIsKept) {
  make_synced();
  const auto fails = [](const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.is_of_machine();
    }
    return false;
  };
  EXPECT_TRUE(Child([&] {
                const int next = ::dup(0);
                ::close(next);
                const rlimit few{.rlim_cur = static_cast<rlim_t>(next) + 1, .rlim_max = 1024};  // enough for the map
                ::setrlimit(RLIMIT_NOFILE, &few);
                return fails([&] { static_cast<void>(open()); }) && fails([&] { static_cast<void>(find()); });
              }).wait());
  EXPECT_EQ(open()->bytes_present(), 10 * kBlock);
}

TEST_F(SparseFileTest, AMapThatIsTruncatedWhileItIsUsedLosesBlocksOnly) {
  const auto file = open();
  fetch(*file, {0, kBlocks});
  fs::resize_file(map_path(), 0);
  EXPECT_FALSE(file->has({0, 1}));
  EXPECT_EQ(file->bytes_present(), 0U);
  fetch(*file, {7, 1});
  EXPECT_TRUE(file->has({7, 1})) << "the page is back";
  EXPECT_FALSE(file->has({8, 1}));
}

TEST_F(SparseFileTest, AnotherVersionReplacesAFileThatIsNotUsed) {
  make_synced();
  const auto next = SparseFile::open(directory_, "key", {.validator = "\"next\"", .size = kSize});
  EXPECT_EQ(next->bytes_present(), 0U);
  EXPECT_EQ(code_of([&] { static_cast<void>(open()); }), ErrorCode::kBusy);
  EXPECT_EQ(find()->version().validator, "\"next\"");
  Signal opened;
  Signal end;
  Child other([&] {
    const auto file = SparseFile::open(directory_, "other", version());
    opened.say();
    return end.wait();
  });
  ASSERT_TRUE(opened.wait());
  const auto longer = [&] {
    return SparseFile::open(directory_, "other", {.validator = "\"etag\"", .size = kSize + 1});
  };
  EXPECT_EQ(code_of([&] { static_cast<void>(longer()); }), ErrorCode::kBusy);
  other.kill();
  EXPECT_EQ(longer()->size(), kSize + 1);
}

TEST_F(SparseFileTest, AVersionBeyondTheLimitsIsRefused) {
  for (const SparseFile::Version& wrong :
       {SparseFile::Version{"\"etag\"", 0}, SparseFile::Version{"\"etag\"", SparseFile::kMostBytes + 1},
        SparseFile::Version{std::string(SparseFile::kMostValidator + 1, 'x'), 1}}) {
    EXPECT_EQ(code_of([&] { static_cast<void>(SparseFile::open(directory_, "key", wrong)); }), ErrorCode::kUnsupported);
  }
  EXPECT_TRUE(fs::is_empty(dir_.path() / "temp"));
  const std::string longest(SparseFile::kMostValidator, 'x');
  EXPECT_EQ(SparseFile::open(directory_, "key", {longest, 1})->blocks(), 1U);
  EXPECT_EQ(find()->version().validator, longest);
  const auto file = open();
  EXPECT_EQ(code_of([&] { file->write(kSize - 1, content(0)); }), ErrorCode::kInternal);
}

TEST_F(SparseFileTest, RemovalsLeaveWhatIsOpen) {
  const auto file = open();
  fetch(*file, {0, kBlocks});
  fs::rename(data_path(), dir_.path() / "whole");
  file->remove_map();
  EXPECT_FALSE(fs::exists(map_path()));
  EXPECT_TRUE(is_right(*file, 9));
  const auto next = open();
  EXPECT_EQ(next->bytes_present(), 0U);
  file->remove();
  EXPECT_TRUE(fs::exists(data_path()) && fs::exists(map_path())) << "those are of the next file";
  EXPECT_TRUE(fs::exists(dir_.path() / "whole"));
  next->remove();
  EXPECT_TRUE(fs::is_empty(dir_.path() / "temp"));
  fetch(*next, {1, 1});
  next->sync();
  EXPECT_TRUE(next->has({1, 1}));
}

/// Runs `call` in a child of its own mount namespace, with a tmpfs of 256 KiB at `path`.
bool on_small_disk(const std::string& path, const std::function<bool()>& call) {
  return Child([&] {
           return ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                  ::mount("none", path.c_str(), "tmpfs", 0, "size=256k") == 0 && call();
         })
      .wait();
}

TEST_F(SparseFileTest, NoProcessForgetsBlocksOfAFileThatIsKept) {
  const auto file = open();
  const auto other = open();
  fetch(*file, {0, kBlocks - 1});
  EXPECT_FALSE(file->keep_complete(file->generation(), [] { ADD_FAILURE() << "a block is missing"; }));
  fetch(*file, {kBlocks - 1, 1});
  EXPECT_TRUE(file->keep_complete(file->generation(), [&] { file->remove_map(); }));
  const std::uint64_t generation = other->generation();
  other->mark_missing({3, 2});
  EXPECT_TRUE(other->is_complete()) << "else other bytes would be written into an entry of the cache";
  EXPECT_EQ(other->generation(), generation);
}

TEST_F(SparseFileTest, AFullDiskIsAnErrorOfItsOwn) {
  const std::string place = dir_.path() / "disk";
  fs::create_directory(place);
  if (!on_small_disk(place, [] { return true; })) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  EXPECT_TRUE(on_small_disk(place, [&] {
    const PrivateDirectory disk = PrivateDirectory::make(place + "/temp");
    const auto file = SparseFile::open(disk, "key", version());
    const ErrorCode code = code_of([&] { fetch(*file, {0, kBlocks}); });
    if (code != ErrorCode::kFull || file->bytes_present() != 0) {
      return false;
    }
    file->write(0, content(0));
    file->mark_present({0, 1});  // the disk is still full; the map has its room
    file->sync();
    return file->bytes_present() == kBlock;
  }));
  EXPECT_TRUE(on_small_disk(place, [&] {
    const PrivateDirectory disk = PrivateDirectory::make(place + "/temp");
    const ErrorCode code = code_of(
        [&] { static_cast<void>(SparseFile::open(disk, "key", {.validator = "x", .size = SparseFile::kMostBytes})); });
    return code == ErrorCode::kFull && fs::is_empty(place + "/temp");
  }));
}

TEST_F(SparseFileTest, ALimitForFilesCountsAsAFullDisk) {
  EXPECT_TRUE(Child([&] {
                ::signal(SIGXFSZ, SIG_IGN);
                const auto file = open();
                const rlimit limit{.rlim_cur = 2 * kBlock, .rlim_max = 2 * kBlock};  // enough for the map
                ::setrlimit(RLIMIT_FSIZE, &limit);
                fetch(*file, {0, 2});
                return code_of([&] { fetch(*file, {2, 1}); }) == ErrorCode::kFull &&
                       code_of([&] { static_cast<void>(SparseFile::open(directory_, "next", version())); }) ==
                           ErrorCode::kFull &&
                       file->bytes_present() == 2 * kBlock;
              }).wait());
}

}  // namespace
}  // namespace pkgfs::test
