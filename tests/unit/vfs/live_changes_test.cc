// SPDX-License-Identifier: MIT
// Risk: the kernel keeps what has changed, because no notice comes, or one that comes too early.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/base/limits.h"
#include "core/vfs/host_file_system.h"
#include "core/vfs/live_changes.h"
#include "core/vfs/union_file_system.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/no_memory.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;

class Changes : public testing::Test {
 protected:
  Changes() {
    dir_.write("d/f", "one");
    dir_.write("d/other", "x");
    make_old(dir_.path());
  }

  /// As if the last change was long ago; the change of the time itself is a moment ago, so that this waits.
  static void make_old(const fs::path& path) {
    struct statx status{};
    ::statx(AT_FDCWD, path.c_str(), 0, STATX_CTIME, &status);
    while (true) {
      timespec now{};
      ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
      if (now.tv_sec > status.stx_ctime.tv_sec + 3) {
        return;
      }
      ::usleep(50'000);
    }
  }

  void begin(std::size_t most_watches = 100) {
    std::vector<Mount> mounts;
    Mount mount;
    mount.fs = std::make_unique<HostFileSystem>(UniqueFd(::open(dir_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                                "host");
    mount.mount_path = "/";
    mount.package = "live";
    mount.volume = "host";
    mount.live = true;
    mounts.push_back(std::move(mount));
    mounts.push_back(test::mount_of("dep", "/d", {{"/packaged", "p"}}));
    tree_ = make_union_file_system(std::move(mounts), {});
    changes_ = tree_->changes();
    ASSERT_NE(changes_, nullptr);
    changes_->start(std::make_unique<HostWatcher>(most_watches), [] {});
  }

  /// A look-up as the adapter makes it.
  Entry look(Inode dir, const std::string& name) {
    const auto mark = changes_->begin(dir);
    const Result<Entry> found = tree_->lookup(dir, name);
    EXPECT_TRUE(found) << name;
    trust_ = changes_->told_entry(dir, *found);
    changes_->replied(mark, dir, "", found->inode);
    return *found;
  }

  /// What is delivered, as "INODE NAME".
  std::vector<std::string> notices() {
    std::vector<std::string> list;
    do {
      changes_->collect();
    } while (changes_->watcher()->is_behind());
    changes_->deliver([&](const Notice& notice) {
      list.push_back(of(notice.inode, notice.name) + (notice.expire ? " expires" : ""));
    });
    return list;
  }
  /// The notifier is faster than the reply of this thread.
  void notify_elsewhere() {
    std::thread([this] { (void)notices(); }).join();
  }
  /// Makes changes, but none that concerns a name.
  void change_modes(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {  // by turns, because equal changes in a row are one
      ASSERT_EQ(::chmod((dir_.path() / (i % 2 == 0 ? "d" : "d/other")).c_str(), 0755), 0);
    }
  }
  static std::string of(Inode inode, const std::string& name = "") { return std::to_string(inode) + " " + name; }
  Attributes now(Inode inode) { return tree_->metadata(inode).value_or(Attributes{}); }

  test::TempDir dir_;
  std::unique_ptr<FileSystem> tree_;
  LiveChanges* changes_ = nullptr;
  LiveChanges::EntryTrust trust_;
};

TEST_F(Changes, WhatIsQuietIsKeptUntilANoticeComes) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  EXPECT_EQ(trust_.entry, Trust::kWatched);
  EXPECT_EQ(trust_.attributes, Trust::kWatched);
  EXPECT_TRUE(changes_->may_keep(f.inode, now(f.inode)));
  EXPECT_TRUE(changes_->is_as_told(f.inode, now(f.inode)));
  EXPECT_THAT(notices(), IsEmpty());

  dir_.write("d/f", "three");
  changes_->collect();
  EXPECT_FALSE(changes_->may_keep(f.inode, now(f.inode))) << "before the notice is delivered";
  EXPECT_FALSE(changes_->is_as_told(f.inode, now(f.inode)));
  EXPECT_THAT(notices(), Contains(of(f.inode)));
  (void)look(d.inode, "f");
  EXPECT_EQ(trust_.attributes, Trust::kNone) << "it changed a moment ago";
  EXPECT_EQ(trust_.entry, Trust::kNone);
  EXPECT_TRUE(changes_->is_as_told(f.inode, now(f.inode)));
}

TEST_F(Changes, WhatTheKernelHasDroppedIsNotToldAgain) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  dir_.write("d/f", "2");
  EXPECT_THAT(notices(), Contains(of(f.inode)));
  dir_.write("d/f", "33");
  EXPECT_THAT(notices(), Not(Contains(of(f.inode))));
  changes_->reading(f.inode);
  dir_.write("d/f", "444");
  EXPECT_THAT(notices(), Contains(of(f.inode))) << "the kernel has pages again";
}

TEST_F(Changes, AnAbsentNameIsKeptUntilItAppears) {
  begin();
  const Entry d = look(tree_->root(), "d");
  (void)changes_->begin(d.inode);
  EXPECT_EQ(changes_->told_absent(d.inode, now(d.inode), "new"), Trust::kWatched);
  dir_.write("d/new", "1");
  EXPECT_THAT(notices(), Contains(of(d.inode, "new")));
  EXPECT_EQ(changes_->told_absent(d.inode, now(d.inode), "new2"), Trust::kNone) << "more may follow";
}

TEST_F(Changes, AReplacedFileIsNotWhatWasTold) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  dir_.write("d/t", "one");
  fs::rename(dir_.path() / "d/t", dir_.path() / "d/f");
  changes_->collect();
  EXPECT_FALSE(changes_->is_as_told(f.inode, now(f.inode)));
  EXPECT_TRUE(changes_->was_replaced(f.inode, now(f.inode)));
  const Entry fresh = look(d.inode, "f");
  EXPECT_NE(fresh.inode, f.inode);
  EXPECT_TRUE(changes_->is_as_told(fresh.inode, now(fresh.inode)));
}

TEST_F(Changes, AChangeDuringAReplyIsToldAfterIt) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const auto mark = changes_->begin(d.inode);
  const Result<Entry> f = tree_->lookup(d.inode, "f");
  ASSERT_TRUE(f);
  dir_.write("d/f", "changed before the reply");
  (void)notices();  // the notifier was faster than the reply
  (void)changes_->told_entry(d.inode, *f);
  changes_->replied(mark, d.inode, "", f->inode);
  EXPECT_THAT(notices(), Contains(of(f->inode)));
}

TEST_F(Changes, AListingThatMissedAChangeIsNotKept) {
  begin();
  const Entry d = look(tree_->root(), "d");
  (void)changes_->begin(d.inode);
  EXPECT_TRUE(changes_->is_watched(d.inode));
  EXPECT_TRUE(changes_->may_keep(d.inode, now(d.inode)));
  const auto mark = changes_->begin_listing(d.inode);
  dir_.write("d/new", "1");
  (void)notices();
  changes_->listed(mark, d.inode);
  Attributes quiet = now(d.inode);
  quiet.recent = false;
  EXPECT_FALSE(changes_->may_keep(d.inode, quiet));
  EXPECT_THAT(notices(), Contains(of(d.inode)));
  EXPECT_TRUE(changes_->may_keep(d.inode, quiet));
}

TEST_F(Changes, HardLinksAndUnwatchedDirectoriesHaveTimeouts) {
  fs::create_hard_link(dir_.path() / "d/f", dir_.path() / "d/link");
  make_old(dir_.path() / "d");
  begin(1);
  const Entry d = look(tree_->root(), "d");  // the root has the only watch
  (void)look(d.inode, "other");
  EXPECT_EQ(trust_.entry, Trust::kShort);
  EXPECT_EQ(trust_.attributes, Trust::kShort);
  EXPECT_EQ(changes_->watcher()->counts().limited, 1U);
  EXPECT_FALSE(changes_->is_watched(d.inode));
  Attributes quiet = now(d.inode);
  EXPECT_EQ(changes_->told_absent(d.inode, quiet, "no"), Trust::kShort);
  quiet.recent = true;
  EXPECT_EQ(changes_->told_absent(d.inode, quiet, "no"), Trust::kNone);

  begin(100);
  const Entry again = look(tree_->root(), "d");
  const Entry f = look(again.inode, "f");
  EXPECT_EQ(trust_.attributes, Trust::kShort) << "it may be written through a name in another directory";
  EXPECT_FALSE(changes_->may_keep(f.inode, now(f.inode)));
}

TEST_F(Changes, AForgottenDirectoryIsWatchedNoLonger) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  EXPECT_EQ(changes_->watcher()->counts().watched, 2U);
  tree_->forget(f.inode, 1);
  tree_->forget(d.inode, 1);
  EXPECT_EQ(changes_->watcher()->counts().watched, 1U);
  dir_.write("d/f", "2");
  EXPECT_THAT(notices(), IsEmpty());
}

TEST_F(Changes, WhileChangesAreUnreadNothingIsKept) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  (void)changes_->begin(d.inode);
  ASSERT_TRUE(changes_->is_watched(d.inode));
  change_modes(4 * limits::kHostChanges);
  (void)look(d.inode, "f");
  EXPECT_EQ(trust_.entry, Trust::kNone);
  EXPECT_EQ(trust_.attributes, Trust::kNone);
  EXPECT_EQ(changes_->told_attributes(f.inode, now(f.inode)), Trust::kNone);
  Attributes quiet = now(d.inode);
  quiet.recent = false;
  EXPECT_EQ(changes_->told_absent(d.inode, quiet, "no"), Trust::kNone);
  EXPECT_FALSE(changes_->is_watched(d.inode));
  EXPECT_FALSE(changes_->may_keep(f.inode, now(f.inode)));
  (void)notices();
  (void)look(d.inode, "f");
  EXPECT_EQ(trust_.attributes, Trust::kWatched);
}

TEST_F(Changes, MoreNamesThanTheQueueHoldsAreToldAsEverything) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  (void)look(d.inode, "other");
  ASSERT_EQ(changes_->told_absent(d.inode, now(d.inode), "new"), Trust::kWatched);
  const std::string one = (dir_.path() / "d/other").string();
  const std::string two = (dir_.path() / "d/renamed").string();
  for (std::size_t i = 0; i < limits::kLiveNotices; ++i) {  // two names each time
    ASSERT_EQ(i % 2 == 0 ? std::rename(one.c_str(), two.c_str()) : std::rename(two.c_str(), one.c_str()), 0);
    if (i % 100 == 0) {
      changes_->collect();
    }
  }
  dir_.write("d/new", "1");
  changes_->collect();
  EXPECT_FALSE(changes_->is_watched(d.inode)) << "not all is known until everything is told";
  const auto told = notices();
  EXPECT_LT(told.size(), limits::kLiveNotices + 100);
  EXPECT_THAT(told, Contains(of(d.inode, "new")));
  EXPECT_THAT(told, Contains(of(f.inode)));
  (void)changes_->begin(d.inode);
  (void)look(tree_->root(), "d");
  EXPECT_TRUE(changes_->is_watched(d.inode));
}

TEST_F(Changes, WithoutMemoryAChangeDuringAReplyIsToldAfterIt) {
  begin();
  const Entry d = look(tree_->root(), "d");
  (void)look(d.inode, "f");
  const std::string name(limits::kNameBytes, 'n');
  auto mark = changes_->begin(d.inode);
  dir_.write("d/f", "changed before the reply");
  notify_elsewhere();
  {
    const test::NoMemory none;
    changes_->replied(mark, d.inode, name, 0);
  }
  EXPECT_THAT(notices(), Contains(of(d.inode, name)));
  mark = changes_->begin_listing(d.inode);
  dir_.write("d/f", "and again");
  notify_elsewhere();
  {
    const test::NoMemory none;
    changes_->listed(mark, d.inode);
  }
  EXPECT_THAT(notices(), Contains(of(d.inode)));
}

TEST_F(Changes, WithoutMemoryForAChangeEverythingIsToldLater) {
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  const Entry other = look(d.inode, "other");
  ASSERT_EQ(changes_->told_absent(d.inode, now(d.inode), "new"), Trust::kWatched);
  changes_->collect();
  dir_.write("d/new", "1");
  dir_.write("d/f", "2");
  bool new_is_told = false;
  bool all_told = true;
  {
    const test::NoMemory none;
    changes_->collect();
    all_told = changes_->deliver([&](const Notice& notice) { new_is_told |= notice.name == "new"; });
  }
  EXPECT_FALSE(all_told);
  EXPECT_FALSE(changes_->is_watched(d.inode));
  EXPECT_FALSE(changes_->may_keep(other.inode, now(other.inode)));
  const auto told = notices();
  EXPECT_TRUE(new_is_told || std::ranges::find(told, of(d.inode, "new")) != told.end());
  EXPECT_THAT(told, Contains(of(f.inode)));
  EXPECT_THAT(told, Contains(of(other.inode)));
}

TEST_F(Changes, WhatIsInADirectoryThatLostItsNameIsNotWatched) {
  dir_.write("e/sub/f", "1");
  begin();
  const Entry e = look(tree_->root(), "e");
  const Entry sub = look(e.inode, "sub");
  (void)look(sub.inode, "f");
  ASSERT_TRUE(changes_->is_watched(sub.inode));
  fs::rename(dir_.path() / "e", dir_.path() / "moved");
  dir_.write("e/sub/f", "1");
  ASSERT_TRUE(tree_->lookup(tree_->root(), "e")) << "before the change is collected";
  (void)notices();
  EXPECT_FALSE(changes_->is_watched(sub.inode));
}

TEST_F(Changes, AfterLostChangesEverythingIsTold) {
  std::size_t most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  if (most == 0 || most > 100'000) {
    GTEST_SKIP() << "the queue is too long to be filled: " << most;
  }
  begin();
  const Entry d = look(tree_->root(), "d");
  const Entry f = look(d.inode, "f");
  EXPECT_EQ(changes_->told_absent(d.inode, now(d.inode), "new"), Trust::kWatched);
  (void)changes_->begin(d.inode);
  EXPECT_TRUE(changes_->may_keep(d.inode, now(d.inode)));
  for (int i = 0; i < 2; ++i) {  // the notifier is stuck meanwhile
    change_modes(most + 1);
    dir_.write("d/f", "lost");
    do {
      (void)look(tree_->root(), "d");
      (void)changes_->begin(d.inode);
    } while (changes_->watcher()->is_behind());
  }
  (void)look(tree_->root(), "d");
  (void)changes_->begin(d.inode);
  Attributes quiet = now(d.inode);
  quiet.recent = false;
  EXPECT_FALSE(changes_->is_watched(d.inode)) << "not all is known until everything is told";
  EXPECT_FALSE(changes_->may_keep(d.inode, quiet)) << "the kernel still has the old listing";
  const auto told = notices();
  const std::string expired = of(tree_->root(), "d") + " expires";
  EXPECT_EQ(std::ranges::count(told, expired), 1) << "what is mounted below it stays, and losses don't add up";
  EXPECT_THAT(told, Not(Contains(of(tree_->root(), "d"))));
  EXPECT_THAT(told, Contains(of(d.inode, "f") + " expires")) << "it may have been replaced";
  EXPECT_THAT(told, Contains(of(f.inode)));
  EXPECT_THAT(told, Contains(of(d.inode)));
  EXPECT_THAT(told, Contains(of(d.inode, "new")));
  (void)look(tree_->root(), "d");
  (void)changes_->begin(d.inode);
  EXPECT_TRUE(changes_->is_watched(d.inode)) << "it is watched anew";
  EXPECT_TRUE(changes_->may_keep(d.inode, quiet));
}

}  // namespace
}  // namespace pkgfs::vfs
