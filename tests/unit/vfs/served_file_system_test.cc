// SPDX-License-Identifier: MIT
// Risk: a name is searched for twice, a tree is closed while it is used, or an inode leads into another package.
#include "tests/unit/vfs/served.h"

#include <thread>

namespace pkgfs::vfs {
namespace {

TEST_F(Served, OneSearchAnswersAllThatWait) {
  EXPECT_EQ(fs_.lookup(acme_, ".x"), fail(ENOENT));
  EXPECT_EQ(fs_.lookup(acme_, "app@1"), fail(ServedFileSystem::kMustWait));
  (void)wait(acme_, "app@1");
  (void)wait(acme_, "app@1");
  EXPECT_EQ(names_.searches.size(), 1U);
  EXPECT_EQ(ready_, 0);
  names_.finish("acme/app@1", tree(7));
  EXPECT_EQ(ready_, 2);
  EXPECT_EQ(fs_.lookup(acme_, "app@1")->inode, fs_.lookup(acme_, "app@1")->inode);
  EXPECT_EQ(wait(acme_, "app@1"), 0U) << "a look-up that was late";
  EXPECT_EQ(ready_, 3);
  EXPECT_TRUE(names_.searches.empty());
}

TEST_F(Served, InodesOfTreesDiffer) {
  const Inode a = open("a@1", 1);
  const Inode b = open("b@1", 2);
  std::set<Inode> inodes{acme_, a, b};
  std::set<std::uint64_t> numbers{1, fs_.metadata(acme_)->number, fs_.metadata(a)->number, fs_.metadata(b)->number};
  for (const auto& [root, mark] : {std::pair(a, 1U), std::pair(b, 2U)}) {
    const Entry dir = *fs_.lookup(root, "dir");
    const Entry file = *fs_.lookup(dir.inode, "file");
    inodes.insert({dir.inode, file.inode});
    numbers.insert({dir.attributes.number, file.attributes.number});
    EXPECT_EQ(file.attributes.size, mark);
    EXPECT_EQ(fs_.metadata(file.inode)->size, mark);
    EXPECT_EQ(fs_.lookup(root, "none"), fail(ENOENT));
  }
  EXPECT_EQ(inodes.size(), 7U);
  EXPECT_EQ(numbers.size(), 8U);
}

TEST_F(Served, ATreeIsClosedOnlyWithoutReferencesAndOpensAgain) {
  const Inode root = open("app@1", 7);
  const Inode dir = fs_.lookup(root, "dir")->inode;
  close_idle();
  EXPECT_EQ(open_, 1) << "the kernel knows \"dir\"";
  EXPECT_TRUE(fs_.lookup(dir, "file"));
  fs_.forget(dir, 1);
  close_idle();
  EXPECT_EQ(open_, 1) << "and \"file\"";
  fs_.forget(fs_.lookup(fs_.lookup(root, "dir")->inode, "file")->inode, 2);
  fs_.forget(dir, 1);
  close_idle();
  EXPECT_EQ(open_, 0);
  EXPECT_TRUE(fs_.metadata(root)) << "the root stays known";
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(ServedFileSystem::kMustWait));
  (void)wait(root, "");
  EXPECT_NE(names_.recipes.at("acme/app@1"), nullptr) << "the same tree is wanted";
  names_.finish("acme/app@1", tree(7));
  EXPECT_EQ(ready_, 2);
  EXPECT_EQ(fs_.lookup(root, "dir")->inode, dir) << "in the same slot";
}

TEST_F(Served, AnotherTreeOfTheSameNameHasAnotherRoot) {
  const Inode root = open("app@1", 7);
  close_idle();
  (void)wait(root, "");
  names_.finish("acme/app@1", tree(8));
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(ESTALE));
  const Entry now = *fs_.lookup(acme_, "app@1");
  EXPECT_NE(now.inode, root);
  EXPECT_EQ(fs_.lookup(now.inode, "dir")->attributes.size, 8U);
}

TEST_F(Served, RequestsWaitForATreeThatIsBeingClosed) {
  const Inode root = open("app@1", 7);
  (void)fs_.idle(Clock::now(), 0ms);
  const auto idle = fs_.idle(Clock::now() + 1h, 1s);
  ASSERT_EQ(idle.size(), 1U);
  fs_.hide(idle.front().slot);
  ready_ = 0;
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(ServedFileSystem::kMustWait));
  (void)wait(root, "");
  EXPECT_TRUE(names_.searches.empty());
  fs_.give_back(idle.front().slot);
  EXPECT_EQ(ready_, 1);
  EXPECT_TRUE(fs_.lookup(root, "dir"));
}

TEST_F(Served, FailuresAreRememberedAndExplained) {
  (void)wait(acme_, "none@1");
  names_.finish("acme/none@1", {.tree = nullptr, .link = {}, .error = ENOENT, .reason = "not found"});
  EXPECT_EQ(fs_.lookup(acme_, "none@1"), fail(ENOENT));
  (void)wait(acme_, "bad@1");
  names_.finish("acme/bad@1", {.tree = nullptr, .link = {}, .error = EIO, .reason = "damaged"});
  const Entry bad = *fs_.lookup(acme_, "bad@1");
  EXPECT_EQ(fs_.lookup(bad.inode, "dir"), fail(EIO));
  EXPECT_EQ(fs_.read_dir(bad.inode, 0, [](const DirEntry&) { return true; }), fail(EIO));
  EXPECT_EQ(fs_.problem(bad.inode), "damaged");
  EXPECT_EQ(fs_.problem(acme_), "bad@1: damaged\nnone@1: not found\n");
  (void)fs_.idle(Clock::now() + 31s, 1h);
  EXPECT_EQ(fs_.lookup(acme_, "none@1"), fail(ServedFileSystem::kMustWait));
}

TEST_F(Served, ASearchEndsInTimeOrWithItsLastWaiter) {
  const std::uint64_t first = wait(acme_, "slow@1");
  const std::uint64_t second = wait(acme_, "slow@1");
  fs_.leave(first);
  EXPECT_TRUE(names_.given_up.empty());
  fs_.leave(second);
  EXPECT_TRUE(names_.given_up.contains(names_.numbers.at("acme/slow@1")));
  names_.finish("acme/slow@1", tree(1));
  EXPECT_EQ(open_, 0) << "nothing has waited for it";
  EXPECT_EQ(ready_, 0);
  (void)wait(acme_, "late@1");
  EXPECT_TRUE(fs_.idle(Clock::now() + 2s, 1h).empty());
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(fs_.lookup(fs_.lookup(acme_, "late@1")->inode, "dir"), fail(ETIMEDOUT));
}

TEST_F(Served, AnErrorOfASearchNeverMeansThatItMustWait) {
  (void)wait(acme_, "bad@1");
  names_.finish("acme/bad@1", {.tree = nullptr, .link = {}, .error = EAGAIN, .reason = "no thread"});
  const Result<Entry> bad = fs_.lookup(acme_, "bad@1");
  ASSERT_TRUE(bad);
  EXPECT_EQ(fs_.lookup(bad->inode, "dir"), fail(ENOMEM));
  const Inode root = open("app@1", 7);
  close_idle();
  (void)wait(root, "");
  names_.finish("acme/app@1", {.tree = nullptr, .link = {}, .error = EAGAIN, .reason = "no thread"});
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(ENOMEM));
  EXPECT_EQ(fs_.read_dir(root, 0, [](const DirEntry&) { return true; }), fail(ENOMEM));
}

TEST_F(Served, AnEntryOfATreeThatCantBeOpenedAgainIsNotAbsent) {
  const Inode root = open("app@1", 7);
  close_idle();
  (void)wait(root, "");
  names_.finish("acme/app@1", {.tree = nullptr, .link = {}, .error = ENOENT, .reason = "not found"});
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(EIO));
  EXPECT_EQ(fs_.problem(root), "not found");
  (void)fs_.idle(Clock::now() + 31s, 1h);
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(ServedFileSystem::kMustWait));
}

TEST_F(Served, AFailureCountsOnlyForTheStateOfItsName) {
  names_.state = "first";
  (void)wait(acme_, "locked");
  names_.finish("acme/locked", {.tree = nullptr, .link = {}, .error = EIO, .reason = "damaged"});
  EXPECT_EQ(fs_.problem(fs_.lookup(acme_, "locked")->inode), "damaged");
  names_.state = "second";
  EXPECT_EQ(fs_.lookup(acme_, "locked"), fail(ServedFileSystem::kMustWait));
  (void)wait(acme_, "locked");
  names_.finish("acme/locked", tree(3));
  EXPECT_EQ(fs_.lookup(fs_.lookup(acme_, "locked")->inode, "dir")->attributes.size, 3U);
}

TEST_F(Served, RequestsForKnownEntriesDontSeeThatATreeIsBeingClosed) {
  const Inode root = open("app@1", 7);
  const Inode dir = fs_.lookup(root, "dir")->inode;
  fs_.hide(fs_.slot_of_inode(dir));
  EXPECT_TRUE(fs_.lookup(dir, "file"));
  EXPECT_TRUE(fs_.metadata(dir));
  EXPECT_EQ(fs_.lookup(root, "dir"), fail(ServedFileSystem::kMustWait));
  EXPECT_EQ(fs_.read_dir(root, 0, [](const DirEntry&) { return true; }), fail(ServedFileSystem::kMustWait));
  fs_.detach(fs_.slot_of_inode(dir));
  EXPECT_EQ(fs_.metadata(dir), fail(ESTALE));
  fs_.give_back(fs_.slot_of_inode(dir));
  EXPECT_TRUE(fs_.lookup(root, "dir"));
}

TEST_F(Served, ADownloadThatArrivesGoesOnAfterTheTime) {
  (void)wait(acme_, "large@1");
  names_.how_far = 100;
  EXPECT_TRUE(fs_.idle(Clock::now() + 2s, 1h).empty());
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(fs_.lookup(fs_.lookup(acme_, "large@1")->inode, "dir"), fail(ETIMEDOUT));
  EXPECT_TRUE(names_.given_up.empty());
  names_.finish("acme/large@1", tree(5));
  EXPECT_EQ(fs_.lookup(fs_.lookup(acme_, "large@1")->inode, "dir")->attributes.size, 5U);
  // One of which nothing more arrives ends.
  (void)wait(acme_, "stalled@1");
  names_.how_far = 200;
  (void)fs_.idle(Clock::now() + 2s, 1h);
  EXPECT_TRUE(names_.given_up.empty());
  (void)fs_.idle(Clock::now() + 4s, 1h);
  EXPECT_TRUE(names_.given_up.contains(names_.numbers.at("acme/stalled@1")));
}

TEST_F(Served, TheTimeOfASearchBeginsWhenAThreadWorksOnIt) {
  names_.how_far = 0;
  (void)wait(acme_, "queued@1");
  (void)fs_.idle(Clock::now() + 2s, 1h);
  EXPECT_EQ(ready_, 0);
  names_.how_far = 1;
  (void)fs_.idle(Clock::now() + 2500ms, 1h);
  EXPECT_EQ(ready_, 0);
  (void)fs_.idle(Clock::now() + 3500ms, 1h);
  EXPECT_EQ(ready_, 1);
  names_.how_far = 0;
  (void)wait(acme_, "never@1");
  (void)fs_.idle(Clock::now() + 5s, 1h);
  EXPECT_EQ(ready_, 2) << "it doesn't wait for ever";
}

TEST_F(Served, TooManyOpenTreesAreClosedBeforeTheirTime) {
  ServedFileSystem few(names_, {.immutable = true, .patience = 1000ms, .modified = 1, .most_open = 8});
  const Inode acme = few.lookup(few.root(), "acme")->inode;
  for (int i = 0; i < 8; ++i) {
    const std::string name = "app@" + std::to_string(i);
    (void)few.wait_for(acme, name, [] {});
    names_.finish("acme/" + name, tree(1));
    (void)few.idle(Clock::now(), 1h);
  }
  const auto all = few.idle(Clock::now(), 1h);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all.front().path, "acme/app@0");
  (void)few.wait_for(acme, "app@8", [] {});
  names_.finish("acme/app@8", tree(1));
  EXPECT_EQ(few.lookup(few.lookup(acme, "app@8")->inode, "dir"), fail(EMFILE));
  for (const auto& open : all) {
    few.hide(open.slot);
    few.detach(open.slot);
    (void)few.close(open.slot);
  }
  std::this_thread::sleep_for(1100ms);
  EXPECT_EQ(few.lookup(acme, "app@8"), fail(ServedFileSystem::kMustWait)) << "it is tried again soon";
}

TEST_F(Served, ALinkGoesOverAndStaysWhenASearchFails) {
  (void)wait(acme_, "link");
  names_.finish("acme/link", {.tree = nullptr, .link = "app@1.0.0", .error = 0, .reason = {}});
  const Inode before = fs_.lookup(acme_, "link")->inode;
  EXPECT_EQ(fs_.read_link(before), "app@1.0.0");
  fs_.link_changed("acme/link", "app@1.1.0");
  const Inode after = fs_.lookup(acme_, "link")->inode;
  EXPECT_NE(after, before) << "the kernel caches the text of an inode";
  EXPECT_EQ(fs_.read_link(after), "app@1.1.0");
  EXPECT_EQ(fs_.read_link(before), "app@1.0.0");
}

}  // namespace
}  // namespace pkgfs::vfs
