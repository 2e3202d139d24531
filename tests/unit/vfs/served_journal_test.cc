// SPDX-License-Identifier: MIT
// Risk: a process that goes on with a served directory leads an inode of its predecessor into another package.
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "tests/unit/vfs/served.h"

namespace pkgfs::vfs {
namespace {

class Notes final : public ServedJournal {
 public:
  [[nodiscard]] Inode next_inode() override { return ++last; }
  void put(const ServedNote& note) noexcept override {
    notes[note.inode] = note;
    if (note.slot && note.slot == used_meanwhile) {
      counts.at(*note.slot) = 1;
    }
  }
  void count(Inode inode, std::uint64_t references) noexcept override {
    if (notes.contains(inode)) {
      notes[inode].references = references;
    }
  }
  void erase(Inode inode) noexcept override { notes.erase(inode); }
  [[nodiscard]] std::atomic<std::uint64_t>& references(std::size_t slot) override { return counts.at(slot); }
  [[nodiscard]] std::vector<ServedNote> all() const {
    std::vector<ServedNote> found;
    for (const auto& [inode, note] : notes) {
      found.push_back(note);
    }
    return found;
  }

  Inode last = 1;
  std::optional<std::size_t> used_meanwhile;  // a slot that another process uses before it is noted
  std::map<Inode, ServedNote> notes;
  std::array<std::atomic<std::uint64_t>, ServedFileSystem::kSlots> counts{};
};

class ServedJournalTest : public ::testing::Test {
 protected:
  /// What another process has, which goes on from the notes.
  struct Life {
    explicit Life(Notes& notes, std::size_t most_open = ServedFileSystem::kSlots)
        : fs(names, {.immutable = true, .patience = 1000ms, .modified = 1, .most_open = most_open}) {
      fs.use_journal(notes, notes.all());
    }
    Inode open(const std::string& name, std::uint64_t mark) {
      const Inode acme = fs.lookup(fs.root(), "acme")->inode;
      (void)fs.wait_for(acme, name, [this] { ++ready; });
      names.finish("acme/" + name,
                   {.tree = std::make_shared<SmallHeld>(mark, opened), .link = {}, .error = 0, .reason = {}});
      return fs.lookup(acme, name)->inode;
    }
    void open_again(Inode inode, const std::string& name, std::uint64_t mark, bool changed = false) {
      EXPECT_EQ(fs.obstacle(inode), ServedFileSystem::kMustWait);
      (void)fs.wait_for(inode, {}, [this] { ++ready; });
      names.finish("acme/" + name, {.tree = std::make_shared<SmallHeld>(mark, opened),
                                    .link = {},
                                    .error = 0,
                                    .reason = {},
                                    .changed = changed});
    }
    int opened = 0;
    int ready = 0;
    FakeNames names;
    ServedFileSystem fs;
  };
  /// The last one ends, and another one goes on.
  Life& next(std::size_t most_open = ServedFileSystem::kSlots) {
    lives_.push_back(std::make_unique<Life>(notes_, most_open));
    return *lives_.back();
  }

  Notes notes_;
  std::vector<std::unique_ptr<Life>> lives_;
};

TEST_F(ServedJournalTest, InodesMeanTheSameInTheNextProcess) {
  Life& first = next();
  const Inode acme = first.fs.lookup(1, "acme")->inode;
  const Inode a = first.open("a@1", 7);
  const Inode b = first.open("b@1", 8);
  const Entry dir = *first.fs.lookup(a, "dir");
  const Entry file = *first.fs.lookup(dir.inode, "file");
  const Entry other = *first.fs.lookup(b, "dir");
  const Attributes root = *first.fs.metadata(a);
  for (int i = 0; i < 2; ++i) {
    Life& now = next();
    EXPECT_EQ(now.fs.lookup(1, "acme")->inode, acme);
    EXPECT_EQ(now.fs.lookup(acme, "a@1")->inode, a) << "no search is needed";
    EXPECT_EQ(now.fs.metadata(a)->number, root.number);
    EXPECT_EQ(now.fs.obstacle(a), 0) << "its attributes are known";
    EXPECT_EQ(now.fs.metadata(file.inode), fail(ServedFileSystem::kMustWait));
    EXPECT_EQ(now.fs.lookup(dir.inode, "file"), fail(ServedFileSystem::kMustWait));
    EXPECT_EQ(now.fs.extent(file.inode), fail(ServedFileSystem::kMustWait));
    EXPECT_TRUE(now.names.searches.empty()) << "nothing is opened before it is touched";
    now.open_again(other.inode, "b@1", 8);  // in the other order
    now.open_again(file.inode, "a@1", 7);
    EXPECT_NE(now.names.recipes.at("acme/a@1"), nullptr);
    EXPECT_EQ(now.ready, 2);
    EXPECT_EQ(now.fs.obstacle(file.inode), 0);
    EXPECT_EQ(now.fs.metadata(file.inode)->size, 7U);
    EXPECT_EQ(now.fs.metadata(file.inode)->number, file.attributes.number);
    EXPECT_EQ(now.fs.metadata(other.inode)->size, 8U);
    EXPECT_EQ(now.fs.lookup(a, "dir")->inode, dir.inode);
    now.fs.forget(dir.inode, 1);
    const Inode fresh = now.open("c" + std::to_string(i) + "@1", 9);
    EXPECT_FALSE(first.fs.metadata(fresh)) << "a new node has a new inode";
    EXPECT_NE(now.fs.lookup(fresh, "dir")->inode, dir.inode);
    EXPECT_NE(now.fs.lookup(fresh, "dir")->inode, other.inode);
    now.fs.forget(now.fs.lookup(fresh, "dir")->inode, 3);
  }
}

TEST_F(ServedJournalTest, AnotherTreeIsStaleAndItsSlotStaysAsLongAsTheKernelKnowsIt) {
  for (const bool changed : {false, true}) {
    Life& first = next();
    const std::string name = changed ? "x@1" : "y@1";
    const Inode root = first.open(name, 7);
    const Inode dir = first.fs.lookup(root, "dir")->inode;
    Life& now = next();
    now.open_again(dir, name, changed ? 7 : 6, changed);
    EXPECT_EQ(now.ready, 1);
    EXPECT_EQ(now.fs.metadata(dir), fail(ESTALE));
    EXPECT_EQ(now.fs.obstacle(dir), 0);
    EXPECT_EQ(now.fs.metadata(root), fail(ESTALE));
    const Entry fresh = *now.fs.lookup(now.fs.lookup(1, "acme")->inode, name);
    EXPECT_NE(fresh.inode, root);
    EXPECT_NE(now.fs.lookup(fresh.inode, "dir")->inode, dir);
    EXPECT_EQ(next().fs.metadata(dir), fail(ESTALE)) << "for ever";
  }
}

TEST_F(ServedJournalTest, ATreeThatCantBeOpenedAgainFailsAndIsTriedLater) {
  Life& first = next();
  const Inode dir = first.fs.lookup(first.open("a@1", 7), "dir")->inode;
  Life& now = next();
  (void)now.fs.wait_for(dir, {}, [] {});
  now.names.finish("acme/a@1", {.tree = nullptr, .link = {}, .error = ENOENT, .reason = "it is gone"});
  EXPECT_EQ(now.fs.obstacle(dir), EIO) << "never as if there were no such file";
  EXPECT_EQ(next().fs.obstacle(dir), ServedFileSystem::kMustWait);
}

TEST_F(ServedJournalTest, WhatTheKernelForgetsIsGivenUp) {
  Life& first = next();
  const Inode root = first.open("a@1", 7);
  const Inode dir = first.fs.lookup(root, "dir")->inode;
  Life& now = next();
  now.fs.forget(dir, 1);
  (void)now.fs.idle(Clock::now(), 1s);
  EXPECT_EQ(notes_.notes.at(root).slot, std::nullopt);
  EXPECT_EQ(now.fs.obstacle(dir), 0);
  EXPECT_EQ(now.fs.lookup(root, "dir"), fail(ServedFileSystem::kMustWait)) << "the root stays";
  const Inode other = now.open("b@1", 8);
  EXPECT_EQ(now.fs.lookup(other, "dir")->inode, dir) << "its slot is free";
}

TEST_F(ServedJournalTest, TreesThatNothingAsksForAreOpenedToBeClosed) {
  Life& first = next();
  const Inode dir = first.fs.lookup(first.open("a@1", 7), "dir")->inode;
  const Inode asked = first.fs.lookup(first.open("b@1", 8), "dir")->inode;
  const Inode failed = first.fs.lookup(first.open("c@1", 9), "dir")->inode;
  Life& now = next();
  const auto start = Clock::now();
  EXPECT_TRUE(now.fs.idle(start + 59min, 1h).empty());
  EXPECT_TRUE(now.names.searches.empty()) << "too early";
  EXPECT_TRUE(now.fs.idle(start + 61min, 1h).empty());
  ASSERT_EQ(now.names.searches.size(), 2U) << "a few at a time";
  EXPECT_NE(now.names.recipes.at("acme/a@1"), nullptr);
  (void)now.fs.wait_for(asked, {}, [&] { ++now.ready; });
  EXPECT_EQ(now.names.searches.size(), 2U);
  for (const std::uint64_t mark : {7U, 8U}) {
    now.names.finish(mark == 7 ? "acme/a@1" : "acme/b@1",
                     {.tree = std::make_shared<SmallHeld>(mark, now.opened), .link = {}, .error = 0, .reason = {}});
  }
  EXPECT_EQ(now.ready, 1);
  const auto idle = now.fs.idle(start + 61min, 1h);
  ASSERT_EQ(idle.size(), 1U);
  EXPECT_EQ(idle[0].slot, now.fs.slot_of_inode(dir)) << "not the one that a request has asked for";
  EXPECT_FALSE(idle[0].early);
  now.fs.forget(dir, 1);
  now.fs.hide(idle[0].slot);
  now.fs.detach(idle[0].slot);
  (void)now.fs.close(idle[0].slot);
  EXPECT_EQ(now.opened, 1);
  now.names.finish("acme/c@1", {.tree = nullptr, .link = {}, .error = EIO, .reason = "bad"});
  EXPECT_EQ(now.fs.obstacle(failed), ServedFileSystem::kMustWait) << "a program that asks is to get an attempt";
  (void)now.fs.idle(start + 62min, 1h);
  EXPECT_TRUE(now.names.searches.empty()) << "not again at once";
  (void)now.fs.idle(start + 3h, 1h);
  EXPECT_EQ(now.names.searches.size(), 1U) << "but later";
}

TEST_F(ServedJournalTest, TreesThatCantBeOpenedToBeClosedKeepFewThreads) {
  Life& first = next();
  for (const char* const name : {"a@1", "b@1", "c@1", "d@1"}) {
    (void)first.fs.lookup(first.open(name, 7), "dir");
  }
  Life& now = next();
  const auto start = Clock::now();
  for (const auto later : {2h, 4h, 6h}) {
    (void)now.fs.idle(start + later, 1h);
    EXPECT_EQ(now.names.searches.size(), 2U) << "the first two still run, although their time is over";
  }
  now.names.finish("acme/a@1", {.tree = nullptr, .link = {}, .error = EIO, .reason = "bad"});
  (void)now.fs.idle(start + 8h, 1h);
  EXPECT_EQ(now.names.searches.size(), 2U);
}

TEST_F(ServedJournalTest, ASlotThatNoProgramHasAskedForIsNotedAndGivenUpLater) {
  Life& first = next();
  const Inode acme = first.fs.lookup(1, "acme")->inode;
  (void)first.fs.wait_for(acme, "a@1", [] {});
  first.names.finish("acme/a@1",
                     {.tree = std::make_shared<SmallHeld>(7, first.opened), .link = {}, .error = 0, .reason = {}});
  const auto has_slot = [this] {
    return std::ranges::any_of(notes_.notes, [](const auto& note) { return note.second.slot.has_value(); });
  };
  EXPECT_TRUE(has_slot()) << "or another process gives it to another tree, while this one may go on";
  Life& now = next();
  (void)now.fs.idle(Clock::now(), 1s);
  EXPECT_FALSE(has_slot());
  const Inode dir = now.fs.lookup(now.open("b@1", 8), "dir")->inode;
  EXPECT_EQ(now.fs.metadata(dir)->size, 8U);
}

TEST_F(ServedJournalTest, ASlotThatAnotherProcessHasUsedIsLeftToIt) {
  Life& first = next();
  const Inode a = first.fs.lookup(first.open("a@1", 7), "dir")->inode;
  notes_.used_meanwhile = first.fs.slot_of_inode(a) + 1;
  const Inode root = first.open("b@1", 8);
  const Inode b = first.fs.lookup(root, "dir")->inode;
  EXPECT_EQ(first.fs.slot_of_inode(b), *notes_.used_meanwhile + 1);
  EXPECT_EQ(notes_.notes.at(root).slot, first.fs.slot_of_inode(b));
  EXPECT_EQ(first.fs.metadata(b)->size, 8U);
  const Inode c = first.fs.lookup(first.open("c@1", 9), "dir")->inode;
  EXPECT_NE(first.fs.slot_of_inode(c), *notes_.used_meanwhile);
}

TEST_F(ServedJournalTest, TreesThatNothingAsksForLeaveSlotsForOthers) {
  Life& first = next();
  for (const char* const name : {"a@1", "b@1", "c@1"}) {
    (void)first.fs.lookup(first.open(name, 7), "dir");
  }
  Life& now = next(4);
  (void)now.fs.idle(Clock::now(), 1h);
  EXPECT_TRUE(now.names.searches.empty()) << "there is room";
  (void)now.fs.lookup(now.open("d@1", 8), "dir");
  EXPECT_TRUE(now.fs.idle(Clock::now(), 1h).empty());
  ASSERT_EQ(now.names.searches.size(), 2U);
  for (const char* const name : {"acme/a@1", "acme/b@1"}) {
    now.names.finish(name, {.tree = std::make_shared<SmallHeld>(7, now.opened), .link = {}, .error = 0, .reason = {}});
  }
  const auto idle = now.fs.idle(Clock::now(), 1h);
  ASSERT_EQ(idle.size(), 2U);
  EXPECT_TRUE(idle[0].early && idle[1].early);
  EXPECT_NE(idle[0].path, "acme/d@1");
  EXPECT_NE(idle[1].path, "acme/d@1");
}

TEST_F(ServedJournalTest, TheAbsentNamesOfBeforeAreLost) {
  Life& first = next();
  const Inode dir = first.fs.lookup(first.open("a@1", 7), "dir")->inode;
  EXPECT_EQ(first.fs.lookup(dir, "absent"), fail(ENOENT));
  Life& now = next();
  now.open_again(dir, "a@1", 7);
  const std::size_t slot = now.fs.slot_of_inode(dir);
  EXPECT_EQ(now.fs.lookup(dir, "later"), fail(ENOENT));
  std::vector<AbsentNames::Absent> names;
  EXPECT_FALSE(now.fs.take_absent(slot)->copy_to(names)) << "the kernel knows \"absent\", too";
  EXPECT_TRUE(names.empty());
  EXPECT_EQ(now.fs.lookup(dir, "again"), fail(ENOENT));
  EXPECT_TRUE(now.fs.take_absent(slot)->copy_to(names));
  EXPECT_EQ(names.size(), 1U);
  const std::size_t fresh = now.fs.slot_of_inode(now.fs.lookup(now.open("b@1", 8), "dir")->inode);
  EXPECT_TRUE(now.fs.take_absent(fresh)->copy_to(names));
}

TEST_F(ServedJournalTest, NodesThatTheKernelForgetsGo) {
  Life& first = next();
  const Inode acme = first.fs.lookup(1, "acme")->inode;
  const Inode kept = first.open("a@1", 7);
  const Inode forgotten = first.open("b@1", 8);
  EXPECT_EQ(first.fs.lookup(acme, "b@1")->inode, forgotten);
  const Inode soon = first.fs.lookup(1, "soon")->inode;
  first.fs.forget(soon, 1);
  Life& now = next();
  EXPECT_EQ(now.fs.metadata(soon), fail(ESTALE));
  now.fs.forget(forgotten, 1);
  EXPECT_TRUE(now.fs.metadata(forgotten)) << "it was looked up twice";
  now.fs.forget(forgotten, 1);
  (void)now.fs.idle(Clock::now(), 1s);  // its tree isn't open
  EXPECT_EQ(now.fs.metadata(forgotten), fail(ESTALE));
  EXPECT_FALSE(notes_.notes.contains(forgotten));
  EXPECT_TRUE(now.fs.metadata(kept));
}

TEST_F(ServedJournalTest, LinksFailuresAndTimesStay) {
  Life& first = next();
  const Inode acme = first.fs.lookup(1, "acme")->inode;
  (void)first.fs.wait_for(acme, "link", [] {});
  first.names.finish("acme/link", {.tree = nullptr, .link = "a@1", .error = 0, .reason = {}});
  const Inode link = first.fs.lookup(acme, "link")->inode;
  (void)first.fs.wait_for(acme, "bad@1", [] {});
  first.names.finish("acme/bad@1", {.tree = nullptr, .link = {}, .error = EIO, .reason = "bad"});
  const Inode bad = first.fs.lookup(acme, "bad@1")->inode;
  const auto list = [](Life& life) {
    (void)life.fs.read_dir(1, 0, [](const DirEntry&) { return true; });
    return std::pair(life.fs.metadata(1)->modified, life.fs.metadata(1)->modified_ns);
  };
  const auto time = list(first);
  Life& now = next();
  EXPECT_EQ(now.fs.read_link(link), Result<std::string_view>("a@1"));
  EXPECT_EQ(now.fs.lookup(acme, "link"), fail(ServedFileSystem::kMustWait)) << "it may lead elsewhere now";
  EXPECT_EQ(now.fs.lookup(bad, "x"), fail(EIO));
  EXPECT_EQ(now.fs.problem(bad), "bad");
  EXPECT_EQ(list(now), time);
  EXPECT_FALSE(now.fs.take_kept_listings().empty()) << "the kernel may keep what isn't right any more";
  Life& later = next();
  later.names.listed.push_back({.name = "newer"});
  EXPECT_NE(list(later), time) << "another process has listed other names";
}

TEST_F(ServedJournalTest, WithoutNotesInodesAreStale) {
  Life& first = next();
  const Inode dir = first.fs.lookup(first.open("a@1", 7), "dir")->inode;
  notes_.notes.clear();
  Life& now = next();
  EXPECT_EQ(now.fs.metadata(dir), fail(ESTALE));
  EXPECT_EQ(now.fs.obstacle(dir), 0);
  now.fs.forget(dir, 1);
  EXPECT_EQ(notes_.counts[0], 0U);
}

TEST_F(ServedJournalTest, NotesThatMakeNoSenseAreLeftOut) {
  Life& first = next();
  const Inode a = first.open("a@1", 7);
  const Inode dir = first.fs.lookup(a, "dir")->inode;
  const ServedNote right = notes_.notes.at(a);
  ASSERT_EQ(right.references, 1U);
  const auto add = [&](Inode inode, auto&& change) {
    ServedNote note = right;
    note.inode = inode;
    change(note);
    notes_.notes[inode] = note;
  };
  add(100, [](ServedNote& note) { note.path.clear(); });
  add(101, [](ServedNote& note) { note.slot = ServedFileSystem::kSlots; });
  add(102, [](ServedNote&) {});  // the same slot
  add(103, [](ServedNote& note) { note.kind = ServedNote::Kind::kLink, note.text.clear(); });
  add(104, [](ServedNote& note) { note.kind = ServedNote::Kind::kFailed, note.error = 0; });
  add(105, [](ServedNote& note) { note.error = -1; });
  add(dir, [](ServedNote&) {});
  add(0, [](ServedNote&) {});
  Life& now = next();
  for (const Inode inode : {Inode{100}, Inode{101}, Inode{102}, Inode{103}, Inode{104}, Inode{105}, Inode{0}}) {
    EXPECT_EQ(now.fs.metadata(inode), fail(ESTALE)) << inode;
  }
  EXPECT_FALSE(notes_.notes.contains(100)) << "it takes room for nothing";
  now.open_again(dir, "a@1", 7);
  EXPECT_EQ(now.fs.metadata(dir)->size, 7U);
}

}  // namespace
}  // namespace pkgfs::vfs
