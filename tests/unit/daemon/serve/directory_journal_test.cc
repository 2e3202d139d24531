// SPDX-License-Identifier: MIT
// Risk: the next daemon of a served directory misunderstands what was noted, or two daemons give out the same inode.
#include "daemon/serve/directory_journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "daemon/serve/package_recipe.h"

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

TEST(DirectoryJournal, TwoDaemonsThatMayGoOnShareNothing) {
  DirectoryJournal before;
  ServedNote note = full_note();
  note.inode = before.next_inode();
  before.put(note);
  before.references(15) = 4;
  const auto beside = DirectoryJournal::copy_of(copy_of(before.fd()));
  EXPECT_EQ(beside->notes().size(), 1U);
  EXPECT_EQ(beside->references(15), 4U);
  EXPECT_EQ(before.references(15), 5U) << "the package must stay open there";
  beside->references(15) = 0;
  EXPECT_EQ(before.references(15), 5U);
  note.inode = beside->next_inode();
  note.slot = 16;
  beside->put(note);
  EXPECT_EQ(before.references(16), 1U) << "no other package may get the slot there";
  EXPECT_GT(note.inode, before.next_inode() + 1'000'000);
  EXPECT_EQ(before.notes().size(), 1U);
  beside->is_alone_now();
  note.slot = 17;
  beside->put(note);
  EXPECT_EQ(before.references(17), 0U);
}

}  // namespace
}  // namespace pkgfs
