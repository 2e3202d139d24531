// SPDX-License-Identifier: MIT
// Risk: the next daemon of a served directory misunderstands what was noted, or two daemons give out the same inode.
#include "daemon/serve/directory_journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>

#include "daemon/serve/package_recipe.h"
#include "tests/unit/vfs/served.h"

namespace pkgfs {
namespace {

using vfs::ServedNote;

ServedNote full_note() {
  return {.kind = ServedNote::Kind::kTree,
          .current = false,
          .inode = 77,
          .path = "acme/app@1.0.0",
          .text = "why",
          .state = "a state",
          .error = 5,
          .attributes = {.type = vfs::FileType::kDirectory,
                         .mode = 0755,
                         .modified_ns = 999'999'999,
                         .modified = -3,
                         .size = 11,
                         .number = 12,
                         .links = 13,
                         .live = true},
          .references = 3,
          .listed = 14,
          .slot = 15,
          .base = 16,
          .fingerprint = 17,
          .recipe = unread_recipe("{}")};
}

UniqueFd copy_of(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

TEST(DirectoryJournal, ANoteIsReadAsItWasWritten) {
  const std::optional<ServedNote> read = read_note(write_note(full_note()));
  ASSERT_TRUE(read);
  EXPECT_EQ(write_note(*read), write_note(full_note()));
  EXPECT_EQ(read->attributes.modified, -3);
  EXPECT_EQ(read->error, 5);
  EXPECT_EQ(read->slot, 15U);
  EXPECT_EQ(static_cast<const PackageRecipe&>(*std::static_pointer_cast<const PackageRecipe>(read->recipe)).text, "{}");
  ServedNote small = full_note();
  small.slot = std::nullopt;
  small.recipe = nullptr;
  EXPECT_EQ(read_note(write_note(small))->slot, std::nullopt);
  EXPECT_EQ(read_note(write_note(small))->recipe, nullptr);
}

TEST(DirectoryJournal, PartsOfANoteAreNone) {
  const std::string whole = write_note(full_note());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(read_note(std::string_view(whole).substr(0, size))) << size;
  }
  EXPECT_FALSE(read_note(whole + "x"));
  std::string other = whole;
  other[0] = 9;  // the kind
  EXPECT_FALSE(read_note(other));
}

TEST(DirectoryJournal, TheNextDaemonGoesOn) {
  DirectoryJournal first;
  EXPECT_EQ(first.next_inode(), 2U);
  EXPECT_EQ(first.next_inode(), 3U);
  ServedNote note = full_note();
  note.inode = 2;
  first.put(note);
  first.put(full_note());
  first.erase(77);
  first.count(2, 9);
  first.references(15) = 4;
  DirectoryJournal next(copy_of(first.fd()));
  ASSERT_EQ(next.notes().size(), 1U);
  EXPECT_EQ(next.notes().front().inode, 2U);
  EXPECT_EQ(next.notes().front().references, 9U);
  EXPECT_EQ(next.references(15), 4U);
  EXPECT_EQ(next.next_inode(), 4U);
}

class TestHeld final : public vfs::HeldTree {
 public:
  explicit TestHeld(std::uint64_t mark) : tree_(mark) {}
  [[nodiscard]] vfs::FileSystem& tree() override { return tree_; }
  [[nodiscard]] std::shared_ptr<const void> recipe() const override { return recipe_; }

 private:
  vfs::ServedTree tree_;
  std::shared_ptr<const PackageRecipe> recipe_ = unread_recipe("{}");
};

/// What a daemon shows.
struct Daemon {
  explicit Daemon(DirectoryJournal& journal) { fs.use_journal(journal, journal.notes()); }
  vfs::Inode open(const std::string& name, std::uint64_t mark) {
    const vfs::Inode acme = fs.lookup(fs.root(), "acme")->inode;
    (void)fs.wait_for(acme, name, [] {});
    names.finish("acme/" + name, {.tree = std::make_shared<TestHeld>(mark), .link = {}, .error = 0, .reason = {}});
    return fs.lookup(acme, name)->inode;
  }
  vfs::Inode lookup(vfs::Inode dir, const char* name) { return fs.lookup(dir, name)->inode; }
  vfs::FakeNames names;
  vfs::ServedFileSystem fs{names, {.immutable = true, .patience = std::chrono::seconds(1), .modified = 1}};
};

TEST(DirectoryJournal, NoTwoDaemonsThatMayGoOnGiveOutTheSameInode) {
  DirectoryJournal before;
  std::set<vfs::Inode> all = {before.next_inode()};
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto beside = DirectoryJournal::copy_of(copy_of(before.fd()));
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(all.insert(beside->next_inode()).second) << attempt;
    }
    EXPECT_TRUE(all.insert(before.next_inode()).second) << attempt;
  }
}

TEST(DirectoryJournal, ADaemonThatFailsLeavesTheOldOneWhatTheKernelKnows) {
  DirectoryJournal before;
  Daemon old(before);
  const vfs::Inode a_dir = old.lookup(old.open("a@1", 7), "dir");
  vfs::Inode b_dir = 0;
  vfs::Inode b_file = 0;
  {
    const auto beside = DirectoryJournal::copy_of(copy_of(before.fd()));
    Daemon fresh(*beside);
    b_dir = fresh.lookup(fresh.open("b@1", 8), "dir");
    b_file = fresh.lookup(b_dir, "file");
    fresh.fs.forget(a_dir, 1);
    (void)fresh.fs.idle(vfs::Clock::now(), std::chrono::seconds(1));
    EXPECT_NE(fresh.lookup(fresh.open("c@1", 9), "dir"), a_dir) << "the old daemon has another package there";
  }
  old.fs.forget(b_dir, 1);
  EXPECT_NE(old.lookup(old.open("d@1", 10), "dir"), b_dir) << "the kernel still knows an inode in the slot";
  EXPECT_EQ(old.fs.metadata(b_file), fail(ESTALE));
  EXPECT_TRUE(old.fs.is_unused(old.fs.slot_of_inode(a_dir))) << "the kernel has forgotten it";
  old.fs.forget(b_file, 1);
  EXPECT_EQ(old.lookup(old.open("e@1", 11), "dir"), b_dir) << "the slot is free again";
}

TEST(DirectoryJournal, ADaemonThatIsAloneCountsForItself) {
  DirectoryJournal before;
  Daemon old(before);
  const vfs::Inode dir = old.lookup(old.open("a@1", 7), "dir");
  const auto beside = DirectoryJournal::copy_of(copy_of(before.fd()));
  EXPECT_EQ(DirectoryJournal(copy_of(beside->fd())).references(0), 1U) << "if it was killed just then";
  const auto again = DirectoryJournal::copy_of(copy_of(before.fd()));
  Daemon last(*again);
  last.fs.is_alone_now();
  again->is_alone_now();
  again->is_alone_now();
  EXPECT_EQ(again->references(0), 1U);
  last.fs.forget(dir, 1);
  EXPECT_EQ(before.references(0), 1U) << "it has ended";
  (void)last.fs.idle(vfs::Clock::now(), std::chrono::seconds(1));
  EXPECT_EQ(last.lookup(last.open("b@1", 8), "dir"), dir) << "the slot is free";
}

TEST(DirectoryJournal, ARecipeThatIsTooLargeIsLeftOut) {
  DirectoryJournal first;
  ServedNote note = full_note();
  note.recipe = unread_recipe(std::string(fuse::KeptRecords::kMostBytes, 'x'));
  first.put(note);
  const std::vector<ServedNote> notes = DirectoryJournal(copy_of(first.fd())).notes();
  ASSERT_EQ(notes.size(), 1U) << "the next daemon must know that the slot is taken";
  EXPECT_EQ(notes.front().slot, 15U);
  EXPECT_EQ(notes.front().references, 3U);
  EXPECT_EQ(notes.front().recipe, nullptr);
}

}  // namespace
}  // namespace pkgfs
