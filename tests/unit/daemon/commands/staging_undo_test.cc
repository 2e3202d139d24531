// SPDX-License-Identifier: MIT
// Risk: what was replaced is lost when a merge fails, is killed, or meets another file system.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <functional>
#include <thread>

#include "core/base/error.h"
#include "daemon/commands/remove_contents.h"
#include "daemon/commands/tree_mover.h"
#include "daemon/packages/interrupt.h"
#include "tests/unit/daemon/commands/staged_target.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using StagingUndo = StagingTest;

/// Runs a part of a test in a process of its own, which may be killed. Returns how it ended; 0 if nothing failed.
int in_child(const std::function<void()>& part) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    part();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

/// Mounts, in this process alone, what a child process shall see: a tmpfs, or without options the directory itself once
/// more. False without the rights for that.
bool mount_here(const fs::path& path, const char* options) {
  const bool is_bind = options == nullptr;
  return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount(is_bind ? path.c_str() : "none", path.c_str(), "tmpfs", is_bind ? MS_BIND : 0, options) == 0;
}
bool may_mount() {
  return in_child([] { EXPECT_TRUE(mount_here(fs::temp_directory_path(), "")); }) == 0;
}

TEST_F(StagingUndo, AFileSystemBelowTheTargetGetsItsPart) {
  if (!may_mount()) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  const auto merge = [&](const char* options, bool fits) {
    ASSERT_TRUE(mount_here(fs::path(out()) / "sub", options));
    dir_.write("out/sub/file", "old below");
    dir_.write("out/sub/kept", "mine");
    fs::create_directory(fs::path(out()) / "sub/deep");
    const auto before = listing(out());
    try {
      Staging staging(out(), true);
      const fs::path tree = fill(staging);
      fs::permissions(tree / "sub", fs::perms(0755));
      write(tree / "sub/deep/large", std::string(100'000, 'x'));
      write(tree / "sub/new/large", std::string(100'000, 'x'));
      fs::create_symlink("deep/large", tree / "sub/link");
      set_time(tree / "sub", 2'000'000);
      staging.publish(cancel_);
      EXPECT_TRUE(fits);
    } catch (const Error& error) {
      EXPECT_FALSE(fits) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("out/sub/"));
      EXPECT_EQ(error.code(), ErrorCode::kFull);
      EXPECT_EQ(listing(out()), before) << "everything or nothing, and nothing hidden stays";
      return;
    }
    const fs::path target = out();
    EXPECT_EQ(read_text(target / "file"), "new");
    EXPECT_EQ(read_text(target / "sub/file"), "new below");
    EXPECT_EQ(read_text(target / "sub/kept"), "mine");
    EXPECT_EQ(read_text(target / "sub/deep/more"), "new deep below");
    EXPECT_EQ(read_text(target / "sub/new/large").size(), 100'000U);
    EXPECT_EQ(fs::read_symlink(target / "sub/link"), "deep/large");
    EXPECT_EQ(fs::status(target / "sub/deep").permissions(), fs::perms(0500));
    const auto all = listing(target);
    EXPECT_EQ(all.size(), 16U) << "nothing hidden stays";
    EXPECT_THAT(all.at("/sub"), HasSubstr(" 2000000.0"));
    EXPECT_THAT(all.at(""), HasSubstr(" 3000000.0"));
  };
  EXPECT_EQ(in_child([&] { merge("size=1m", true); }), 0);
  EXPECT_EQ(in_child([&] { merge("size=128k", false); }), 0);
  EXPECT_EQ(in_child([&] { merge(nullptr, true); }), 0) << "a bind mount is no other device";
}

TEST_F(StagingUndo, AKilledProcessLeavesWhatItReplacedUnderItsNames) {
  const int status = in_child([&] {
    const UniqueFd place(::open(out().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    StagingArea area(place.get(), "", "");
    area.prepare("");
    const fs::path tree = fs::path(out()) / area.name() / "new";
    write(tree / "file", "new");
    write(tree / "sub/deep/file", "new deep below");
    TreeMover mover(area, place.get(), out(), cancel_);
    mover.run();
    ::raise(SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  const std::string left = out() + "/" + hidden();
  EXPECT_EQ(read_text(out() + "/sub/deep/file"), "new deep below");
  EXPECT_EQ(read_text(left + "/replaced/file"), "old");
  EXPECT_EQ(read_text(left + "/replaced/sub/deep/file"), "old deep below");

  const CapturedLog log;
  {
    const Staging staging(out(), true);
    EXPECT_THAT(log.text(), HasSubstr("are in \"" + left + "/replaced\", under their own paths"));
    const std::string told = log.text();
    const Staging other(out(), true);
    EXPECT_EQ(log.text(), told + told) << "the first one is in use, and was not left by a killed process";
  }
  EXPECT_TRUE(fs::exists(left)) << "a user decides about it";
}

TEST_F(StagingUndo, WhatCantBePutBackIsNamed) {
  const UniqueFd place(::open(out().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::string kept;
  {
    StagingArea area(place.get(), "", "");
    area.prepare("");
    kept = out() + "/" + area.name();
    write(fs::path(kept) / "new/file", "new");
    write(fs::path(kept) / "new/sub/file", "new below");
    write(fs::path(kept) / "new/sub/added", "new below");
    TreeMover mover(area, place.get(), out(), cancel_);
    mover.run();
    fs::remove(fs::path(kept) / "undone");
    fs::remove(out() + "/sub/file");
    fs::create_directory(out() + "/sub/file");  // in the way
    EXPECT_THAT(mover.undo(),
                ::testing::UnorderedElementsAre(
                    HasSubstr("\"" + out() + "/sub/added\" is new and can't be taken away: No such file"),
                    HasSubstr("\"" + out() + "/sub/file\" can't be put back (Is a directory): it is in \"" + kept +
                              "/replaced/sub/file\"")));
    EXPECT_EQ(read_text(out() + "/file"), "old") << "the others are back";
  }
  EXPECT_EQ(read_text(kept + "/replaced/sub/file"), "old below");
}

TEST_F(StagingUndo, AnInterruptedMergeHasTimeToCleanUp) {
  const int status = in_child([&] {
    CancelFlag cancel;
    Staging staging(out(), true);
    (void)fill(staging);
    const InterruptGuard guard(cancel);
    ::raise(SIGINT);
    EXPECT_THROW(staging.publish(cancel), Error);
    std::this_thread::sleep_for(std::chrono::milliseconds(2'500));  // as long as a large tree may take
  });
  EXPECT_EQ(status, 0) << "the signal's time limit of two seconds ended it";
  const int twice = in_child([&] {
    CancelFlag cancel;
    const InterruptGuard guard(cancel);
    ::raise(SIGINT);
    InterruptGuard::give_time();
    ::raise(SIGINT);
  });
  EXPECT_TRUE(WIFSIGNALED(twice)) << "a second signal ends it at once";
}

TEST_F(StagingUndo, DeepTreesTakeTimeInProportion) {
  constexpr int kDepth = 6'000;
  const auto make_deep = [](const fs::path& top) {
    UniqueFd here(::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int i = 0; i < kDepth; ++i) {
      ASSERT_EQ(::mkdirat(here.get(), "d", 0755), 0);
      here = UniqueFd(::openat(here.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    ASSERT_EQ(::mkdirat(here.get(), "leaf", 0755), 0);
  };
  const fs::path path = "/dev/shm/pkgfs-test-" + std::to_string(::getpid());  // other file systems take a minute
  std::error_code failed;
  if (!fs::create_directory(path, failed)) {
    GTEST_SKIP() << "no shared memory";
  }
  make_deep(path);
  {
    Staging staging(path.string(), true);
    make_deep(tree_of(staging));
    const std::clock_t begin = std::clock();
    staging.publish(cancel_);
    EXPECT_LT(std::clock() - begin, 10 * CLOCKS_PER_SEC);
  }
  const UniqueFd all(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  remove_contents(all.get());  // std::filesystem would open all levels at a time
  EXPECT_TRUE(fs::remove(path));
}

}  // namespace
}  // namespace pkgfs::test
