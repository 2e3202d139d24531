// SPDX-License-Identifier: MIT
// Risk: a change on the host isn't reported, or is reported of the wrong directory, or of one that is gone.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "core/base/limits.h"
#include "core/base/unique_fd.h"
#include "core/vfs/host_watcher.h"
#include "tests/support/fixtures.h"

namespace pkgfs::vfs {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::Each;
using testing::IsEmpty;
using testing::Not;

UniqueFd directory(const fs::path& path) { return UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); }

/// "WATCH KIND NAME" of each change since the last call.
std::vector<std::string> changes(HostWatcher& watcher) {
  std::vector<std::string> list;
  do {
    watcher.collect([&list](const HostChange& change) {
      constexpr std::array kKinds{"content", "entry", "unwatched", "all", "replaced", "suspected"};
      list.push_back(std::to_string(change.watch) + " " + kKinds.at(static_cast<std::size_t>(change.kind)) + " " +
                     std::string(change.name));
    });
  } while (watcher.is_behind());
  return list;
}

TEST(HostWatcher, ReportsEachKindOfChangeAsSoonAsItIsMade) {
  const test::TempDir dir;
  dir.write("f", "1");
  HostWatcher watcher;
  ASSERT_EQ(watcher.error(), 0);
  ASSERT_EQ(watcher.add(directory(dir.path()).get(), 7), HostWatcher::Added::kYes);
  EXPECT_THAT(changes(watcher), IsEmpty());
  dir.write("f", "22");
  EXPECT_THAT(changes(watcher), Contains("7 content f"));
  ASSERT_EQ(::chmod((dir.path() / "f").c_str(), 0600), 0);
  EXPECT_THAT(changes(watcher), Contains("7 content f"));
  dir.write("new", "1");
  EXPECT_THAT(changes(watcher), Contains("7 entry new"));
  fs::rename(dir.path() / "new", dir.path() / "f");
  const auto moved = changes(watcher);
  EXPECT_THAT(moved, Contains("7 entry new"));
  EXPECT_THAT(moved, Contains("7 entry f"));
  fs::remove(dir.path() / "f");
  EXPECT_THAT(changes(watcher), Contains("7 entry f"));
  ASSERT_EQ(::chmod(dir.path().c_str(), 0700), 0);
  EXPECT_THAT(changes(watcher), Contains("7 content "));
  EXPECT_THAT(changes(watcher), IsEmpty());
}

class Listener final : public NameListener {
 public:
  void suspect() noexcept override { ++suspected; }
  void look() noexcept override { ++looked; }
  int suspected = 0;
  int looked = 0;
};

TEST(HostWatcher, AListenerIsToldOfItsNameAlone) {
  const test::TempDir dir;
  fs::create_directories(dir.path() / "d/name");
  HostWatcher watcher;
  const auto listener = std::make_shared<Listener>();
  const auto told = [&] {
    listener->suspected = listener->looked = 0;
    EXPECT_THAT(changes(watcher), Each("0 suspected "));
    EXPECT_EQ(watcher.has_suspects(), listener->suspected > 0);
    watcher.ask_listeners();
    EXPECT_EQ(listener->looked, listener->suspected > 0 ? 1 : 0);
    return listener->suspected > 0;
  };
  ASSERT_EQ(watcher.add_name(directory(dir.path() / "d").get(), "name", 3, listener), HostWatcher::Added::kYes);
  EXPECT_EQ(watcher.counts().watched, 0U) << "its entries aren't reported";
  EXPECT_FALSE(told());
  dir.write("d/other", "1");
  EXPECT_FALSE(told());
  fs::rename(dir.path() / "d/name", dir.path() / "d/name.old");
  EXPECT_TRUE(told());
  dir.write("d/name", "1");
  EXPECT_TRUE(told());
  fs::rename(dir.path() / "d", dir.path() / "e");
  EXPECT_TRUE(told()) << "the directory itself";
  ASSERT_EQ(watcher.add(directory(dir.path() / "e").get(), 4), HostWatcher::Added::kYes);
  dir.write("e/name", "2");
  EXPECT_THAT(changes(watcher), Contains("4 content name"));
  EXPECT_TRUE(watcher.has_suspects());
  watcher.remove(3);
  dir.write("e/name", "33");
  listener->suspected = 0;
  EXPECT_THAT(changes(watcher), Contains("4 content name")) << "the other watch stays";
  EXPECT_EQ(listener->suspected, 0);
  watcher.replaced();
  EXPECT_THAT(changes(watcher), Contains("0 replaced "));
  EXPECT_THAT(changes(watcher), IsEmpty());
}

TEST(HostWatcher, OneDirectoryMayStandForSeveralWatchesAndOneWatchForSeveralDirectories) {
  const test::TempDir dir;
  fs::create_directories(dir.path() / "a");
  fs::create_directories(dir.path() / "b");
  HostWatcher watcher;
  ASSERT_EQ(watcher.add(directory(dir.path() / "a").get(), 1), HostWatcher::Added::kYes);
  ASSERT_EQ(watcher.add(directory(dir.path() / "a").get(), 2), HostWatcher::Added::kYes);
  ASSERT_EQ(watcher.add(directory(dir.path() / "b").get(), 1), HostWatcher::Added::kYes);
  EXPECT_EQ(watcher.counts().watched, 2U);
  dir.write("a/x", "");
  const auto both = changes(watcher);
  EXPECT_THAT(both, Contains("1 entry x"));
  EXPECT_THAT(both, Contains("2 entry x"));
  dir.write("b/y", "");
  watcher.remove(1);
  EXPECT_THAT(changes(watcher), IsEmpty()) << "nothing is reported of what was removed, not even what is queued";
  EXPECT_EQ(watcher.counts().watched, 1U);
  dir.write("a/z", "");
  const auto rest = changes(watcher);
  EXPECT_THAT(rest, Contains("2 entry z"));
  EXPECT_THAT(rest, Not(Contains("1 entry z")));
}

TEST(HostWatcher, ADirectoryThatIsRemovedIsWatchedNoLonger) {
  const test::TempDir dir;
  fs::create_directories(dir.path() / "a");
  HostWatcher watcher;
  ASSERT_EQ(watcher.add(directory(dir.path() / "a").get(), 1), HostWatcher::Added::kYes);
  fs::remove(dir.path() / "a");
  EXPECT_THAT(changes(watcher), Contains("1 unwatched "));
  EXPECT_EQ(watcher.counts().watched, 0U);
  watcher.remove(1);
}

TEST(HostWatcher, TheLimitIsKeptAndCounted) {
  const test::TempDir dir;
  fs::create_directories(dir.path() / "a");
  fs::create_directories(dir.path() / "b");
  HostWatcher watcher(1);
  EXPECT_EQ(watcher.add(directory(dir.path() / "a").get(), 1), HostWatcher::Added::kYes);
  EXPECT_EQ(watcher.add(directory(dir.path() / "b").get(), 2), HostWatcher::Added::kLimit);
  EXPECT_EQ(watcher.counts().limited, 1U);
  watcher.remove(1);
  EXPECT_EQ(watcher.add(directory(dir.path() / "b").get(), 2), HostWatcher::Added::kYes) << "there is room again";
}

TEST(HostWatcher, FileSystemsThatChangeUnnoticedAreRefused) {
  HostWatcher watcher;
  EXPECT_EQ(watcher.add(directory("/proc").get(), 1), HostWatcher::Added::kUnsupported);
  EXPECT_EQ(watcher.counts().unsupported, 1U);
}

TEST(HostWatcher, ProgramsThatChangeFilesAllTheTimeDoNotHoldTheCaller) {
  constexpr std::size_t kAll = 4 * limits::kHostChanges;
  const test::TempDir dir;
  dir.write("f", "");
  dir.write("g", "");
  HostWatcher watcher;
  ASSERT_EQ(watcher.add(directory(dir.path()).get(), 1), HostWatcher::Added::kYes);
  for (std::size_t i = 0; i < kAll; ++i) {
    ASSERT_EQ(::chmod((dir.path() / (i % 2 == 0 ? "f" : "g")).c_str(), 0644), 0);
  }
  std::size_t count = 0;
  watcher.collect([&count](const HostChange& /*change*/) { ++count; });
  EXPECT_GE(count, limits::kHostChanges);
  EXPECT_LE(count, 2 * limits::kHostChanges);
  EXPECT_TRUE(watcher.is_behind());
  EXPECT_EQ(count + changes(watcher).size(), kAll);
  EXPECT_FALSE(watcher.is_behind());
}

TEST(HostWatcher, LostChangesAreReported) {
  std::size_t most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  if (most == 0 || most > 100'000) {
    GTEST_SKIP() << "the queue is too long to be filled: " << most;
  }
  const test::TempDir dir;
  dir.write("f", "");
  dir.write("g", "");
  HostWatcher watcher;
  ASSERT_EQ(watcher.add(directory(dir.path()).get(), 1), HostWatcher::Added::kYes);
  for (std::size_t i = 0; i <= most; ++i) {  // by turns, because equal changes in a row are one
    ASSERT_EQ(::chmod((dir.path() / (i % 2 == 0 ? "f" : "g")).c_str(), 0644), 0);
  }
  EXPECT_THAT(changes(watcher), Contains("0 all "));
}

}  // namespace
}  // namespace pkgfs::vfs
