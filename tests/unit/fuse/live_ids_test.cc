// SPDX-License-Identifier: MIT
// Risk: a node id of an earlier daemon leads to another entry, or is never free again.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "fuse/live_handles.h"
#include "fuse/live_ids.h"
#include "fuse/live_journal.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kTop = 1;

/// One daemon after another, with the same journal.
class LiveIdsTest : public testing::Test {
 protected:
  LiveIdsTest() { begin({{"/a", "1"}, {"/d/e/f", "2"}, {"/d/g", "3"}}); }

  void begin(const std::map<std::string, std::string>& contents) {
    ids_.reset();
    tree_ = test::files(contents);
    ids_ = std::make_unique<LiveIds>(*tree_, journal_);
  }
  std::uint64_t look(std::uint64_t dir, const std::string& name) {
    const Result<vfs::Entry> found = tree_->lookup(ids_->inode(dir), name);
    return found ? ids_->tell(dir, name, *found) : 0;
  }
  int error_of(std::uint64_t id) {
    try {
      (void)ids_->inode(id);
      return 0;
    } catch (const StaleNode& stale) {
      return stale.error;
    }
  }
  std::string text(std::uint64_t id) { return test::content_of(*tree_, ids_->inode(id)); }

  LiveJournal journal_ = LiveJournal::create();
  std::unique_ptr<vfs::FileSystem> tree_;
  std::unique_ptr<LiveIds> ids_;
};

TEST_F(LiveIdsTest, ASuccessorFindsWhatTheKernelKnows) {
  const std::uint64_t d = look(kTop, "d");
  const std::uint64_t e = look(d, "e");
  const std::uint64_t f = look(e, "f");
  begin({{"/a", "1"}, {"/d/e/f", "2"}, {"/d/g", "3"}});
  EXPECT_EQ(text(f), "2") << "its parents are found first";
  EXPECT_EQ(look(kTop, "d"), d);
  EXPECT_EQ(look(d, "e"), e);
  EXPECT_EQ(ids_->find(ids_->inode(e)), e);
  EXPECT_NE(look(d, "g"), f);
  EXPECT_TRUE(ids_->has_old_content(f));
  EXPECT_FALSE(ids_->has_old_content(f));
  EXPECT_EQ(ids_->take_restored().size(), 3U);
}

TEST_F(LiveIdsTest, AnotherEntryOfTheNameIsStale) {
  const std::uint64_t d = look(kTop, "d");
  const std::uint64_t g = look(d, "g");
  const std::uint64_t a = look(kTop, "a");
  begin({{"/a/b", "a directory now"}, {"/d/g", "other numbers"}});
  EXPECT_EQ(error_of(a), ESTALE);
  EXPECT_EQ(error_of(g), ESTALE);
  const std::uint64_t fresh = look(kTop, "a");
  EXPECT_NE(fresh, a);
  EXPECT_EQ(error_of(a), ESTALE) << "for ever";
  EXPECT_EQ(look(kTop, "a"), fresh);
}

TEST_F(LiveIdsTest, WhatTheKernelForgetsIsFree) {
  const std::uint64_t d = look(kTop, "d");
  const std::uint64_t e = look(d, "e");
  EXPECT_EQ(look(kTop, "d"), d);
  ids_->forget(d, 1);
  begin({{"/a", "1"}, {"/d/e/f", "2"}, {"/d/g", "3"}});
  ids_->forget(d, 1);
  EXPECT_EQ(error_of(e), 0) << "the kernel knows a child";
  ids_->forget(e, 1);
  begin({{"/a", "1"}, {"/d/e/f", "2"}, {"/d/g", "3"}});
  EXPECT_TRUE(ids_->take_restored().empty());
  EXPECT_EQ(error_of(e), ESTALE);
  ids_->forget(e, 7);  // unknown
  EXPECT_EQ(look(kTop, "d"), d) << "the place is used again";
}

TEST_F(LiveIdsTest, AnUpgradeThatFailsLeavesThePlacesAlone) {
  const std::uint64_t d = look(kTop, "d");
  LiveIds next(*tree_, journal_);
  next.use_places(false);
  const std::uint64_t of_next = next.tell(kTop, "a", *tree_->lookup(tree_->root(), "a"));
  EXPECT_EQ(next.inode(d), ids_->inode(d));
  EXPECT_NE(look(d, "g"), of_next);
  EXPECT_EQ(error_of(of_next), ESTALE);
  next.use_places(true);
}

TEST_F(LiveIdsTest, BeyondTheJournalASuccessorKnowsNothing) {
  std::map<std::string, std::string> contents;
  const std::size_t many = LiveJournal::kNodes + 10;
  for (std::size_t i = 0; i < many; ++i) {
    contents["/" + std::to_string(i)] = "";
  }
  contents["/0"] = "first";
  contents["/last"] = "last";
  begin(contents);
  const std::uint64_t first = look(kTop, "0");
  for (std::size_t i = 1; i < many; ++i) {
    ASSERT_NE(look(kTop, std::to_string(i)), 0U);
  }
  const std::uint64_t last = look(kTop, "last");
  EXPECT_EQ(text(last), "last");
  begin(contents);
  EXPECT_EQ(text(first), "first");
  EXPECT_EQ(error_of(last), ESTALE);
  const std::uint64_t fresh = look(kTop, "last");
  EXPECT_NE(fresh, last) << "the kernel would take it for the old one";
  EXPECT_EQ(text(fresh), "last");
  ids_->forget(last, 1);
  EXPECT_EQ(text(fresh), "last");
}

TEST_F(LiveIdsTest, AJournalThatMakesNoSenseIsNoDanger) {
  using Node = LiveJournal::Node;
  const Node loop{.parent = 1, .type = vfs::FileType::kDirectory, .name = "d"};
  const std::vector<Node> nodes{loop,
                                {.parent = 0, .type = vfs::FileType::kDirectory, .name = "d"},
                                {.parent = 2, .name = "itself"},
                                {.parent = 77, .name = "an orphan"},
                                {.name = ".."},
                                {.name = "d/g"}};
  for (std::uint32_t i = 0; i < nodes.size(); ++i) {
    ASSERT_TRUE(journal_.put(i, nodes[i]));
  }
  begin({{"/d/g", "3"}});
  for (std::uint64_t id = 2; id < 2 + nodes.size(); ++id) {
    EXPECT_EQ(error_of(id), ESTALE) << id;
    ids_->forget(id, 1);
    EXPECT_EQ(error_of(id), ESTALE) << id;
  }
}

TEST(LiveHandlesTest, ANumberLeadsToItsNodeAndIsEndedOnce) {
  LiveJournal journal = LiveJournal::create();
  LiveHandles before;
  before.use(journal);
  auto one = std::make_unique<LiveHandle>();
  auto two = std::make_unique<LiveHandle>();
  const std::uint64_t first = before.add(one, 5);
  const std::uint64_t second = before.add(two, 6);
  EXPECT_NE(first, second);
  EXPECT_NE(before.find(first), nullptr);
  EXPECT_NE(before.take(second), nullptr);

  LiveHandles after;
  after.use(journal);
  EXPECT_EQ(after.find(first), nullptr);
  EXPECT_TRUE(after.was_opened(first, 5));
  EXPECT_FALSE(after.was_opened(first, 6));
  EXPECT_FALSE(after.was_opened(second, 6)) << "it was closed";
  auto other = std::make_unique<LiveHandle>();
  const std::uint64_t third = after.add(other, 7);
  EXPECT_EQ(after.take(second), nullptr) << "the kernel sends the close again";
  EXPECT_NE(after.find(third), nullptr) << "which must not close another file in that place";
  auto again = std::make_unique<LiveHandle>();
  LiveHandle* const used = after.add_again(first, again);
  EXPECT_EQ(after.find(first), used);
  EXPECT_NE(after.take(first), nullptr);
  EXPECT_FALSE(after.was_opened(first, 5));
}

}  // namespace
}  // namespace pkgfs::fuse
