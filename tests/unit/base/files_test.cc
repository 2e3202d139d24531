// SPDX-License-Identifier: MIT
#include "core/base/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>

#include "core/base/error.h"
#include "core/base/file_lock.h"
#include "core/base/parallel.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

TEST(Files, PrivateDirectoriesAreMadeWithParents) {
  const TempDir dir;
  const fs::path deep = dir.path() / "a/b/c";
  make_private_directory(deep);
  EXPECT_EQ(fs::status(dir.path() / "a/b").permissions(), fs::perms::owner_all);
  make_private_directory(deep);
  dir.write("file", "");
  EXPECT_THROW(make_private_directory(dir.path() / "file"), Error);
  try {
    make_private_directory(dir.path() / "file/below");
    ADD_FAILURE() << "a directory in a file";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo) << "and not that something isn't there";
  }
}

TEST(Files, WrittenFilesAreCompleteOrAbsent) {
  const TempDir dir;
  const fs::path path = dir.path() / "x";
  write_file_atomically(path, "one", Durability::kUnsynced);
  write_file_atomically(path, "two", Durability::kSynced);
  EXPECT_EQ(read_text(path), "two");
  EXPECT_THROW(write_file_atomically(dir.path() / "none/x", "y", Durability::kSynced), Error);
  fs::create_directory(dir.path() / "taken");
  EXPECT_THROW(write_file_atomically(dir.path() / "taken", "y", Durability::kSynced), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 2) << "no temporary file";
}

TEST(Files, NewFilesHaveTheirModeAndOldOnesKeepTheirs) {
  const TempDir dir;
  const ::mode_t before = ::umask(022);
  write_file_atomically(dir.path() / "own", "x", Durability::kUnsynced);
  write_file_atomically(dir.path() / "shared", "x", Durability::kUnsynced, 0666);
  ::umask(before);
  const auto mode = [&](const char* name) {
    return static_cast<unsigned>(fs::status(dir.path() / name).permissions());
  };
  EXPECT_EQ(mode("own"), 0600U);
  EXPECT_EQ(mode("shared"), 0644U);
  fs::permissions(dir.path() / "shared", fs::perms(0640));
  write_file_atomically(dir.path() / "shared", "y", Durability::kUnsynced, 0666);
  EXPECT_EQ(mode("shared"), 0640U);
}

TEST(Files, WhatAUserNamesIsNotReplacedByAFile) {
  const TempDir dir;
  const fs::path fifo = dir.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  write_named_file(fifo, "through");
  std::array<char, 16> got{};
  EXPECT_EQ(::read(reader.get(), got.data(), got.size()), 7);
  EXPECT_TRUE(fs::is_fifo(fifo));
  dir.write("file", "old");
  fs::create_symlink("file", dir.path() / "link");
  write_named_file(dir.path() / "link", "new");
  EXPECT_TRUE(fs::is_symlink(dir.path() / "link"));
  EXPECT_EQ(read_text(dir.path() / "file"), "new");
  fs::create_symlink("later", dir.path() / "dangling");
  write_named_file(dir.path() / "dangling", "made");
  EXPECT_EQ(read_text(dir.path() / "later"), "made");
  EXPECT_THROW(write_named_file(dir.path() / "none/x", "y"), Error);
  EXPECT_THROW(write_named_file(dir.path(), "y"), Error);
}

TEST(Files, SmallFilesAreReadWithinTheirLimit) {
  const TempDir dir;
  EXPECT_EQ(read_small_file(dir.path() / "none", 10), std::nullopt);
  EXPECT_EQ(read_small_file(dir.write("ten", "0123456789"), 10), "0123456789");
  EXPECT_THROW(static_cast<void>(read_small_file(dir.write("more", "0123456789x"), 10)), Error);
  EXPECT_THROW(static_cast<void>(read_small_file(dir.path(), 10)), Error);
  ASSERT_EQ(::mkfifo((dir.path() / "fifo").c_str(), 0600), 0);
  EXPECT_THROW(static_cast<void>(read_small_file(dir.path() / "fifo", 10)), Error) << "and doesn't wait for a writer";
}

TEST(FileLock, OneAtATimeAndNothingStays) {
  const TempDir dir;
  const std::string path = dir.path() / "lock";
  const CancelFlag never;
  std::atomic<int> inside = 0;
  std::atomic<int> worst = 0;
  {
    std::vector<std::jthread> crew;
    for (int i = 0; i < 8; ++i) {
      crew.emplace_back([&] {
        const FileLock lock(PrivateDirectory::make(dir.path()), "lock", never);
        worst = std::max<int>(worst, ++inside);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        --inside;
      });
    }
  }
  EXPECT_EQ(worst, 1);
  EXPECT_FALSE(fs::exists(path));
}

TEST(FileLock, WaitingCanBeInterrupted) {
  const TempDir dir;
  const std::string path = dir.path() / "lock";
  CancelFlag flag;
  const FileLock held(PrivateDirectory::make(dir.path()), "lock", flag);
  flag.cancel();
  EXPECT_THROW(FileLock(PrivateDirectory::make(dir.path()), "lock", flag), Error);
}

TEST(FileLock, WaitingIsToldAndEnds) {
  const TempDir dir;
  const std::string path = dir.path() / "lock";
  const CancelFlag never;
  const FileLock held(PrivateDirectory::make(dir.path()), "lock", never);
  const CapturedLog log;
  const auto wait = [&](std::chrono::milliseconds longest) {
    try {
      const FileLock lock(PrivateDirectory::make(dir.path()), "lock", never, longest);
      return std::string("taken");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBusy);
      return std::string(error.what());
    }
  };
  EXPECT_NE(wait(std::chrono::milliseconds(100)).find(path), std::string::npos);
  EXPECT_EQ(log.text(), "") << "only a long wait is worth a line";
  EXPECT_NE(wait(std::chrono::milliseconds(2100)).find("waited 2 seconds for another process"), std::string::npos);
  const std::string told = "waiting for the lock \"" + path + "\", at most 2 seconds";
  EXPECT_NE(log.text().find(told), std::string::npos) << log.text();
  EXPECT_EQ(log.text().find(told), log.text().rfind(told)) << "once";
  EXPECT_TRUE(fs::exists(path)) << "it is still held";
}

TEST(FileLock, TheWaitBeginsAnewWithEachProgress) {
  const TempDir dir;
  const CancelFlag never;
  const FileLock held(PrivateDirectory::make(dir.path()), "lock", never);
  int asked = 0;
  const auto begun = std::chrono::steady_clock::now();
  try {
    const FileLock lock(PrivateDirectory::make(dir.path()), "lock", never, std::chrono::milliseconds(120),
                        [&asked] { return static_cast<std::uint64_t>(std::min(++asked, 6)); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(", and made no progress for "), std::string::npos) << error.what();
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(320)) << "four steps more";
}

TEST(FileLock, FreeOneIsTakenAtOnce) {
  const TempDir dir;
  const PrivateDirectory here = PrivateDirectory::make(dir.path());
  EXPECT_FALSE(FileLock::is_held(here, "lock"));
  EXPECT_TRUE(fs::is_empty(dir.path())) << "asking makes nothing";
  {
    const auto lock = FileLock::take_if_free(PrivateDirectory::make(dir.path()), "lock");
    ASSERT_TRUE(lock);
    EXPECT_TRUE(FileLock::is_held(here, "lock"));
    EXPECT_FALSE(FileLock::take_if_free(PrivateDirectory::make(dir.path()), "lock"));
    EXPECT_TRUE(fs::exists(dir.path() / "lock")) << "it is still held";
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(FileLock, OneThatIsAlwaysRemovedIsNoBusyLoop) {
  const TempDir dir;
  const CancelFlag never;
  const UniqueFd events(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  // The removals between them keep the kernel from merging equal events.
  ASSERT_GE(::inotify_add_watch(events.get(), dir.path().c_str(), IN_CREATE | IN_DELETE), 0);
  const auto created = [&] {  // since the last call
    std::size_t count = 0;
    alignas(inotify_event) std::array<char, 65536> buffer{};
    for (ssize_t got = 0; (got = ::read(events.get(), buffer.data(), buffer.size())) > 0;) {
      for (ssize_t at = 0; at < got;) {
        inotify_event event{};
        std::memcpy(&event, &buffer.at(static_cast<std::size_t>(at)), sizeof event);
        at += static_cast<ssize_t>(sizeof event + event.len);
        count += (event.mask & IN_CREATE) != 0 ? 1 : 0;
      }
    }
    return count;
  };
  const std::string path = dir.path() / "lock";
  const std::jthread remover([&path](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      ::unlink(path.c_str());
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  while (std::chrono::steady_clock::now() < end) {
    const auto begun = std::chrono::steady_clock::now();
    try {
      const FileLock lock(PrivateDirectory::make(dir.path()), "lock", never, std::chrono::milliseconds(500));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBusy) << error.what();  // the remover was faster each time
    }
    const auto took = std::chrono::steady_clock::now() - begun;
    EXPECT_LE(created(), 2U + static_cast<std::size_t>(took / std::chrono::milliseconds(50)));
  }
}

TEST(Parallel, DoesEverythingOnce) {
  const CancelFlag never;
  std::vector<std::atomic<int>> done(1000);
  for_each_in_parallel(done.size(), 32, never, [&](std::size_t i, const CancelFlag&) { ++done[i]; });
  for (const auto& count : done) {
    EXPECT_EQ(count, 1);
  }
  for_each_in_parallel(0, 32, never, [&](std::size_t, const CancelFlag&) { FAIL(); });
}

TEST(Parallel, FirstFailureStopsTheOthers) {
  const CancelFlag never;
  std::atomic<int> begun = 0;
  const auto work = [&](std::size_t i, const CancelFlag& cancel) {
    ++begun;
    if (i == 3) {
      throw Error(ErrorCode::kCorrupt, "three");
    }
    if (cancel.wait_for(std::chrono::seconds(20))) {
      throw Error(ErrorCode::kInterrupted, "interrupted");
    }
  };
  try {
    for_each_in_parallel(1000, 4, never, work);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "three");
  }
  EXPECT_LE(begun, 8);
}

TEST(Parallel, TheOthersLearnThatTheDiskIsFull) {
  const CancelFlag outer;
  std::atomic<int> waiting = 0;
  std::atomic<int> told = 0;
  try {
    for_each_in_parallel(3, 3, outer, [&](std::size_t i, const CancelFlag& cancel) {
      if (i == 0) {
        while (waiting < 2) {
          std::this_thread::yield();
        }
        throw system_error("write", ENOSPC);
      }
      ++waiting;
      if (cancel.wait_for(std::chrono::seconds(10)) && cancel.is_for_room()) {
        ++told;
      }
      throw Error(ErrorCode::kInterrupted, "stopped");
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFull) << error.what();
  }
  EXPECT_EQ(told, 2);
  EXPECT_FALSE(outer.is_cancelled());
}

TEST(Parallel, AnyOtherFailureIsNotForRoom) {
  const CancelFlag outer;
  std::atomic<bool> waiting = false;
  std::atomic<bool> for_room = true;
  const auto work = [&](std::size_t i, const CancelFlag& cancel) {
    if (i == 1) {
      waiting = true;
      EXPECT_TRUE(cancel.wait_for(std::chrono::seconds(10)));
      for_room = cancel.is_for_room();
      return;
    }
    while (!waiting) {
      std::this_thread::yield();
    }
    throw Error(ErrorCode::kNetwork, "gone");
  };
  EXPECT_THROW(for_each_in_parallel(2, 2, outer, work), Error);
  EXPECT_FALSE(for_room);
}

}  // namespace
}  // namespace pkgfs::test
