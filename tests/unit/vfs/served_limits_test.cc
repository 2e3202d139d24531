// SPDX-License-Identifier: MIT
// Risk: programs that look up many names, a registry that is slow, or a failure take away what others use.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "tests/unit/vfs/served_fixture.h"

namespace pkgfs::vfs {
namespace {

using namespace std::chrono_literals;

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

TEST_F(Served, ManyNamesTakeBoundedMemoryAndAreNotListed) {
  const Inode tool = open("tool@1", 7);
  for (std::size_t i = 0; i < 3 * ServedFileSystem::kMostNodes; ++i) {
    ASSERT_TRUE(fs_.lookup(fs_.root(), "word" + std::to_string(i)));
  }
  EXPECT_LE(fs_.counts().nodes, ServedFileSystem::kMostNodes);
  EXPECT_EQ(fs_.metadata(fs_.lookup(fs_.root(), "word1")->inode)->type, FileType::kDirectory);
  EXPECT_TRUE(fs_.lookup(tool, "dir")) << "what is open stays";
  EXPECT_TRUE(fs_.metadata(acme_)) << "and what leads there";
  std::set<std::string> names;
  (void)fs_.read_dir(fs_.root(), 0, [&](const DirEntry& entry) { return names.emplace(entry.name).second; });
  EXPECT_EQ(names, std::set<std::string>{"acme"});
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

TEST_F(Served, AListingInPartsHasEachNameOnce) {
  names_.listed.clear();
  for (int i = 0; i < 100; ++i) {
    names_.listed.push_back({.name = "space" + std::to_string(i)});
  }
  std::multiset<std::string> names;
  std::uint64_t from = 0;
  for (bool more = true; more;) {
    more = false;
    int count = 0;
    (void)fs_.read_dir(fs_.root(), from, [&](const DirEntry& entry) {
      if (++count > 40) {
        more = true;
        return false;
      }
      names.emplace(entry.name);
      from = entry.next;
      return true;
    });
    // Another program lists the directory, in which names come and go.
    names_.listed.insert(names_.listed.begin(), {.name = "new" + std::to_string(names.size())});
    std::this_thread::sleep_for(1100ms);
    (void)fs_.metadata(fs_.root());
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(names.count("space" + std::to_string(i)), 1U) << i;
  }
}

TEST_F(Served, AListingThatHangsShowsTheOneBefore) {
  const auto list = [&] {
    std::set<std::string> names;
    (void)fs_.read_dir(fs_.root(), 0, [&](const DirEntry& entry) { return names.emplace(entry.name).second; });
    return names;
  };
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  std::this_thread::sleep_for(1100ms);
  names_.hangs = true;
  const auto begin = Clock::now();
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  EXPECT_TRUE(fs_.metadata(fs_.root()));
  EXPECT_LT(Clock::now() - begin, 1900ms) << "only the first waits";
  names_.waiting({{.name = "acme"}, {.name = "beta"}});
  EXPECT_EQ(list(), (std::set<std::string>{"acme", "beta"}));
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

}  // namespace
}  // namespace pkgfs::vfs
