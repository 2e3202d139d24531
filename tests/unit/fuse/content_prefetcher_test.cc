// SPDX-License-Identifier: MIT
// Risk: memory and a CPU for files that no reader wants, or a reader's next files that aren't prefetched.
#include "fuse/content_prefetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/vfs/walk.h"
#include "tests/unit/fuse/fake_kernel_cache.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::fuse {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

std::string number(int n) { return (n < 10 ? "0" : "") + std::to_string(n); }

/// "d/f00" and so on.
std::vector<std::string> names(const std::string& directory, int first, int last) {
  std::vector<std::string> all;
  for (int i = first; i <= last; ++i) {
    all.push_back(directory + "/f" + number(i));
  }
  return all;
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class ContentPrefetcherTest : public testing::Test {
 protected:
  ~ContentPrefetcherTest() override { kernel_.gate.open(); }

  /// `count` files of `size` bytes in each of `directories`, and what is in `more`.
  void start(const std::vector<std::string>& directories, int count, std::size_t size,
             const std::map<std::string, std::size_t>& more = {}) {
    std::map<std::string, std::string> files;
    for (const std::string& directory : directories) {
      for (const std::string& name : names(directory, 0, count - 1)) {
        files["/" + name] = name + std::string(size - name.size(), '.');
      }
    }
    for (const auto& [name, bytes] : more) {
      files["/" + name] = std::string(bytes, '.');
    }
    std::vector<vfs::Mount> mounts;
    mounts.push_back(test::mount_of("p", "/", files));
    start(vfs::make_union_file_system(std::move(mounts), {}));
  }
  void start(std::unique_ptr<vfs::FileSystem> tree) {
    tree_ = std::move(tree);
    for (vfs::TreeWalk walk(*tree_, tree_->root()); walk.next();) {
      if (!walk.step().leaving) {
        const std::string path(walk.step().path.substr(1));
        inodes_[path] = walk.step().inode;
        paths_[walk.step().inode] = path;
      }
    }
    prefetcher_.emplace(*tree_, statistics_, page_cache_);
    prefetcher_->start(std::make_unique<FakeCache>(kernel_));
  }

  void post_read(const std::string& path) {
    prefetcher_->file_was_read(inodes_.at(path), tree_->metadata(inodes_.at(path))->size);
  }
  void read(const std::string& path) {
    post_read(path);
    settle();
  }
  void list(const std::string& path) {
    prefetcher_->directory_was_listed(inodes_.at(path));
    settle();
  }
  /// Waits until the prefetcher has nothing more to do.
  void settle() {
    for (int quiet = 0; quiet < 10; ++quiet) {
      quiet = prefetcher_->is_busy() ? 0 : quiet;
      std::this_thread::sleep_for(1ms);
    }
  }
  std::vector<std::string> stored() {
    const MutexLock lock(kernel_.mutex);
    std::vector<std::string> paths;
    for (const auto& [inode, content] : kernel_.stored) {
      paths.push_back(paths_.at(inode));
    }
    return paths;
  }
  std::vector<std::pair<std::string, std::uint64_t>> listed() {
    const MutexLock lock(kernel_.mutex);
    return kernel_.listed;
  }
  void forget_all_files() {
    const MutexLock lock(kernel_.mutex);
    for (const auto& [inode, path] : paths_) {
      kernel_.unknown.insert(inode);
    }
  }

  Kernel kernel_;
  Statistics statistics_;
  std::uint64_t page_cache_ = std::numeric_limits<std::uint64_t>::max();
  std::unique_ptr<vfs::FileSystem> tree_;
  std::map<std::string, vfs::Inode> inodes_;
  std::map<vfs::Inode, std::string> paths_;
  std::optional<ContentPrefetcher> prefetcher_;
};

constexpr std::size_t kEightKiB = 8U << 10U;  // 16 of them fill the first window

TEST_F(ContentPrefetcherTest, TheFirstReadBringsAWindowOfTheFilesBehindIt) {
  start({"d"}, 40, kEightKiB);
  read("d/f03");
  EXPECT_EQ(stored(), names("d", 4, 19));
  EXPECT_EQ(statistics_.snapshot().files_pushed, 16U);
  EXPECT_EQ(statistics_.snapshot().bytes_pushed, 16 * kEightKiB);
  const MutexLock lock(kernel_.mutex);
  for (const auto& [inode, content] : kernel_.stored) {
    EXPECT_EQ(content, test::content_of(*tree_, inode) + content.substr(4096));
    EXPECT_TRUE(content.starts_with(paths_.at(inode)));
  }
}

TEST_F(ContentPrefetcherTest, EachReadBehindTheWindowDoublesItUpToAMebibyte) {
  start({"d"}, 99, 32U << 10U);
  std::vector<int> windows;
  int next = 0;
  for (int i = 0; i < 5; ++i) {
    const std::size_t before = stored().size();
    read("d/f" + number(next));
    windows.push_back(static_cast<int>(stored().size() - before));
    next += 1 + windows.back();
  }
  EXPECT_THAT(windows, ElementsAre(4, 8, 16, 32, 32));
}

TEST_F(ContentPrefetcherTest, NoMorePagesAreFilledThanTheControlGroupHasRoomFor) {
  page_cache_ = 10 * 4096;
  start({"d", "e", "f"}, 40, 5000);  // two pages each
  read("d/f03");
  EXPECT_EQ(stored(), names("d", 4, 8));
  read("d/f09");
  EXPECT_EQ(stored(), names("d", 4, 8) + names("d", 10, 14));
}

TEST_F(ContentPrefetcherTest, ReadsInRandomOrderEndIt) {
  start({"d"}, 99, kEightKiB);
  for (const int at : {0, 50, 20, 80}) {
    read("d/f" + number(at));
  }
  EXPECT_EQ(stored(), names("d", 1, 16) + names("d", 51, 66) + names("d", 21, 36) + names("d", 81, 96));
  read("d/f40");
  read("d/f70");
  EXPECT_THAT(stored(), SizeIs(64));
  read("d/f71");  // in order again
  EXPECT_THAT(stored(), SizeIs(80));
}

TEST_F(ContentPrefetcherTest, LargeAndEmptyFilesAreLeftOut) {
  constexpr std::size_t kMost = PageCacheWriter::kMostOfFile;
  start({}, 0, 0, {{"d/a", 10}, {"d/b", kMost + 1}, {"d/c", 0}, {"d/d", kMost}, {"d/e", kMost + 1}, {"d/f", 10}});
  read("d/e");
  EXPECT_THAT(stored(), IsEmpty()) << "after a large file";
  read("d/a");
  EXPECT_THAT(stored(), ElementsAre("d/d", "d/f"));
}

TEST_F(ContentPrefetcherTest, FilesThatTheKernelDoesNotKnowCostOneQuestion) {
  start({"d"}, 40, kEightKiB);
  forget_all_files();
  read("d/f00");
  EXPECT_EQ(kernel_.asked, 1);
  EXPECT_THAT(stored(), IsEmpty());
  EXPECT_THAT(listed(), IsEmpty()) << "one file isn't reason enough";
}

TEST_F(ContentPrefetcherTest, AReaderThatGoesOnByNameHasThemListed) {
  start({"d"}, 40, kEightKiB);
  forget_all_files();
  read("d/f00");
  read("d/f01");
  EXPECT_THAT(listed(), ElementsAre(Pair("d", 2)));
  EXPECT_EQ(stored().front(), "d/f02");
  EXPECT_GE(stored().size(), 16U);
  const MutexLock lock(kernel_.mutex);
  EXPECT_FALSE(kernel_.in_use) << "the mount is let go of";
}

TEST_F(ContentPrefetcherTest, WhereListingIsNotAllowedItIsTriedOnce) {
  start({"d", "e"}, 40, kEightKiB);
  forget_all_files();
  kernel_.list_error = EPERM;
  for (const std::string directory : {"d", "e"}) {
    for (int i = 0; i < 3; ++i) {
      read(directory + "/f" + number(i));
    }
  }
  EXPECT_THAT(listed(), SizeIs(1));
  EXPECT_THAT(stored(), IsEmpty());
}

TEST_F(ContentPrefetcherTest, AfterManyFilesInVainReadsAreIgnoredForAWhile) {
  start({"a", "b", "c", "d", "e", "f", "g", "h"}, 3, kEightKiB);
  forget_all_files();
  for (const std::string directory : {"h", "f", "d", "b", "g"}) {  // in no order that a walk has
    read(directory + "/f00");
  }
  const int asked = kernel_.asked;
  EXPECT_EQ(asked, 5);
  for (int i = 0; i < 5; ++i) {
    read("a/f00");
  }
  EXPECT_EQ(kernel_.asked, asked);
  read("a/f00");
  EXPECT_GT(kernel_.asked, asked);
}

TEST_F(ContentPrefetcherTest, AWalkBringsTwiceAsManyDirectoriesEachTimeButForOneFile) {
  start({"a", "b", "c", "d", "e", "f", "g", "h", "i"}, 4, 1000);
  read("a/f00");
  EXPECT_EQ(stored(), names("a", 1, 3)) << "one directory is no walk";
  read("b/f00");
  std::vector<std::string> expected = names("a", 1, 3) + names("b", 1, 3) + names("c", 0, 3) + names("d", 1, 3);
  EXPECT_EQ(stored(), expected);
  read("d/f00");  // the file that was left out: the walk goes on
  expected = expected + names("e", 0, 3) + names("f", 0, 3) + names("g", 0, 3) + names("h", 1, 3);
  EXPECT_EQ(stored(), expected);
}

TEST_F(ContentPrefetcherTest, DirectoriesReadInAnotherOrderAreNoWalk) {
  start({"a", "b", "c", "d", "e", "f"}, 4, 1000);
  read("e/f00");
  read("c/f00");
  read("a/f00");
  EXPECT_EQ(stored(), names("e", 1, 3) + names("c", 1, 3) + names("a", 1, 3));
}

TEST_F(ContentPrefetcherTest, ListingAloneBringsNothing) {
  start({"a", "b"}, 4, 1000);
  list("a");
  list("b");
  EXPECT_EQ(kernel_.asked, 0);
}

TEST_F(ContentPrefetcherTest, OnceReadTheNextListedDirectoriesAreBroughtAtOnce) {
  start({"a", "b", "c", "d", "e"}, 4, 1000);
  list("a");
  read("a/f00");
  list("e");
  list("c");
  EXPECT_EQ(stored(), names("a", 1, 3) + names("e", 0, 3) + names("c", 0, 3));
  list("d");
  EXPECT_THAT(stored(), SizeIs(11)) << "none of those was read";
}

TEST_F(ContentPrefetcherTest, ShortMemoryEndsItForASecond) {
  start({"d"}, 99, 64U << 10U);
  kernel_.memory_short = true;
  const auto read_on = [this] {
    const std::vector<std::string> now = stored();
    const int next = now.empty() ? 0 : std::stoi(now.back().substr(3)) + 1;
    read("d/f" + number(std::min(next, 98)));
  };
  for (int i = 0; i < 9; ++i) {
    read_on();
  }
  EXPECT_EQ(kernel_.memory_checks, 1);
  EXPECT_THAT(stored(), SizeIs(64)) << "four mebibytes";
  kernel_.memory_short = false;
  read_on();
  EXPECT_THAT(stored(), SizeIs(64));
  std::this_thread::sleep_for(1100ms);
  read_on();
  EXPECT_GT(stored().size(), 64U);
}

TEST_F(ContentPrefetcherTest, ReadersAreNotPursued) {
  start({"d"}, 99, kEightKiB);
  kernel_.gate.close();
  post_read("d/f00");
  ASSERT_TRUE(kernel_.gate.holds(1));
  for (int i = 1; i <= 10; ++i) {
    post_read("d/f" + number(i));  // faster than the prefetch
  }
  kernel_.gate.open();
  settle();
  for (const std::string& name : names("d", 2, 10)) {
    EXPECT_THAT(stored(), testing::Not(testing::Contains(name)));
  }
  EXPECT_THAT(stored(), testing::Contains("d/f11"));
}

TEST_F(ContentPrefetcherTest, WithoutPlacesNothingIsBrought) {
  start(test::files({{"/d/a", "1"}, {"/d/b", "2"}}));
  read("d/a");
  EXPECT_EQ(kernel_.asked, 0);
}

TEST_F(ContentPrefetcherTest, StopWaitsForTheKernelAsLongAsItIsAllowed) {
  start({"d"}, 4, 1000);
  kernel_.gate.close();
  post_read("d/f00");
  ASSERT_TRUE(kernel_.gate.holds(1));
  EXPECT_TRUE(prefetcher_->is_busy());
  EXPECT_FALSE(prefetcher_->stop(20ms));
  kernel_.gate.open();
  EXPECT_TRUE(prefetcher_->stop(10s));
  EXPECT_FALSE(prefetcher_->is_busy());
  EXPECT_THAT(stored(), SizeIs(1)) << "nothing after the one that was on its way";
  post_read("d/f00");  // no effect
  EXPECT_FALSE(prefetcher_->is_busy());
  const MutexLock lock(kernel_.mutex);
  EXPECT_TRUE(kernel_.destroyed);
}

TEST_F(ContentPrefetcherTest, AnIdleOneSleeps) {
  start({"d"}, 4, 1000);
  read("d/f00");
  rusage before{};
  rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  std::this_thread::sleep_for(300ms);
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_nvcsw - before.ru_nvcsw, 10);  // the sanitizers have threads of their own
}

}  // namespace
}  // namespace pkgfs::fuse
