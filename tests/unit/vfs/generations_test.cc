// SPDX-License-Identifier: MIT
// Risk: an inode of one version leads into another one, references are lost, or a removed version is used.
#include "core/vfs/generations.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace pkgfs::vfs {
namespace {

constexpr unsigned kBits = 31;

/// A root with a directory, which is directory `number` and has a file at position `position`.
class SmallTree final : public FileSystem {
 public:
  explicit SmallTree(std::string name, Inode number = 5, Inode position = 7)
      : name_(std::move(name)), directory_((Inode{1} << kBits) | 1U), file_((number << kBits) | position) {}

  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override {
    if (dir == 1 && name == "dir") {
      return Entry{directory_, *metadata(directory_)};
    }
    if (dir == directory_ && name == name_) {
      return Entry{file_, *metadata(file_)};
    }
    return fail(ENOENT);
  }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override {
    if (inode != 1 && inode != directory_ && inode != file_) {
      return fail(ESTALE);
    }
    return Attributes{.type = inode == file_ ? FileType::kFile : FileType::kDirectory,
                      .number = inode == 1       ? 1U
                                : inode == file_ ? 9U
                                                 : 2U};
  }
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from,
                                      FunctionRef<bool(const DirEntry&)> visit) override {
    std::vector<std::pair<std::string, Inode>> entries{{"a-" + name_, 0}, {"dir", directory_}, {"z-" + name_, 0}};
    if (dir == directory_) {
      entries = {{name_, file_}};
    }
    for (std::size_t i = from; i < entries.size(); ++i) {
      if (!visit({.name = entries[i].first,
                  .inode = entries[i].second,
                  .next = i + 1,
                  .attributes = {.type = FileType::kFile, .number = 9}})) {
        break;
      }
    }
    return {};
  }
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) override { return dir == directory_ ? 1 : 2; }
  [[nodiscard]] Result<std::string_view> read_link(Inode) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode) override { return fail(EIO); }
  [[nodiscard]] bool is_immutable() const override { return true; }

 private:
  std::string name_;
  Inode directory_;
  Inode file_;
};

class GenerationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    both_.add(0, old_, true);
    both_.show(0);
  }
  /// The root's listing from `from` on; ends after `most` entries.
  std::vector<std::string> list(std::uint64_t& from, std::size_t most, std::vector<Inode>* inodes = nullptr) {
    std::vector<std::string> names;
    EXPECT_TRUE(both_.read_dir(1, from, [&](const DirEntry& entry) {
      names.emplace_back(entry.name);
      from = entry.next;
      if (inodes != nullptr) {
        inodes->push_back(entry.inode);
      }
      return names.size() < most;
    }));
    return names;
  }

  GenerationCounts counts_;
  SmallTree old_{"old"};
  SmallTree new_{"new"};
  Generations both_{counts_};
};

TEST_F(GenerationsTest, InodesStayInTheirVersion) {
  const Entry before = *both_.lookup(1, "dir");
  EXPECT_EQ(before.inode, (Inode{1} << kBits) | 1U) << "those of the first version are as they were";
  both_.add(1, new_, true);
  EXPECT_EQ(both_.lookup(1, "dir")->inode, before.inode) << "it isn't shown yet";
  both_.show(1);
  const Entry after = *both_.lookup(1, "dir");
  EXPECT_NE(after.inode, before.inode);
  EXPECT_NE(after.attributes.number, before.attributes.number);
  EXPECT_TRUE(both_.lookup(before.inode, "old"));
  EXPECT_EQ(both_.lookup(before.inode, "new").error(), ENOENT);
  EXPECT_TRUE(both_.lookup(after.inode, "new"));
  EXPECT_EQ(both_.lookup(after.inode, "old").error(), ENOENT);
  EXPECT_EQ(both_.metadata(1)->number, 1U) << "the root is one";
  EXPECT_EQ(both_.parent_number(after.inode), 1U);
  const Entry file = *both_.lookup(after.inode, "new");
  EXPECT_EQ(both_.metadata(file.inode)->number, file.attributes.number);
  EXPECT_EQ(both_.slot_of_inode(file.inode), 1U);
  EXPECT_EQ(Generations::inode_of(1, (Inode{5} << kBits) | 7U), file.inode);
}

TEST_F(GenerationsTest, ReferencesAreCountedByVersion) {
  const Inode directory = both_.lookup(1, "dir")->inode;
  const Inode file = both_.lookup(directory, "old")->inode;
  both_.hold(file);
  both_.add(1, new_, true);
  both_.show(1);
  EXPECT_TRUE(both_.is_unused(1));
  const Inode newer = both_.lookup(1, "dir")->inode;
  EXPECT_FALSE(both_.is_unused(1));
  EXPECT_EQ(both_.references(0), 3U);
  both_.forget(file, 2);
  EXPECT_FALSE(both_.is_unused(0));
  both_.forget(directory, 1);
  EXPECT_TRUE(both_.is_unused(0));
  both_.forget(1, 1);
  both_.remove(0);
  EXPECT_EQ(both_.metadata(file).error(), ESTALE);
  EXPECT_EQ(both_.lookup(directory, "old").error(), ESTALE);
  EXPECT_TRUE(both_.metadata(newer));
}

TEST_F(GenerationsTest, AVersionThatWasNotCountedIsNeverUnused) {
  Generations late(counts_);
  late.add(0, old_, false);
  late.show(0);
  late.forget((Inode{1} << kBits) | 1U, 5);  // of references that nothing has counted
  EXPECT_EQ(late.references(0), 0U);
  EXPECT_FALSE(late.is_unused(0));
}

TEST_F(GenerationsTest, AListingGoesOnInItsVersionAndTeachesNoOldInode) {
  std::uint64_t position = 0;
  EXPECT_EQ(list(position, 1), std::vector<std::string>{"a-old"});
  both_.add(1, new_, true);
  both_.show(1);
  std::vector<Inode> inodes;
  EXPECT_EQ(list(position, 5, &inodes), (std::vector<std::string>{"dir", "z-old"}));
  EXPECT_EQ(inodes, (std::vector<Inode>{0, 0}));
  position = 0;
  EXPECT_EQ(list(position, 1), std::vector<std::string>{"a-new"});
  inodes.clear();
  EXPECT_EQ(list(position, 5, &inodes), (std::vector<std::string>{"dir", "z-new"}));
  EXPECT_EQ(inodes.front(), both_.lookup(1, "dir")->inode);
  std::uint64_t in_old = 1;  // of version 0
  both_.remove(0);
  EXPECT_EQ(list(in_old, 5), (std::vector<std::string>{"a-new", "dir", "z-new"}))
      << "the old one is closed: from the start";
}

TEST_F(GenerationsTest, AListingOfNamesOnlyTeachesNoInode) {
  both_.list_names_only(true);
  std::uint64_t position = 0;
  std::vector<Inode> inodes;
  EXPECT_EQ(list(position, 5, &inodes).size(), 3U);
  EXPECT_EQ(inodes, (std::vector<Inode>{0, 0, 0}));
  const Inode directory = both_.lookup(1, "dir")->inode;
  inodes.clear();
  EXPECT_TRUE(both_.read_dir(directory, 0, [&](const DirEntry& entry) {
    inodes.push_back(entry.inode);
    return true;
  }));
  EXPECT_NE(inodes, std::vector<Inode>{0}) << "only the root has other mounts' names";
  both_.list_names_only(false);
  position = 0;
  inodes.clear();
  (void)list(position, 5, &inodes);
  EXPECT_EQ(inodes[1], directory);
}

TEST_F(GenerationsTest, ADaemonThatGetsReadyChangesNoCounts) {
  both_.add(1, new_, true);
  both_.show(1);
  Generations next(counts_);
  next.add(0, old_, true);
  next.prepare_to_show(0);
  EXPECT_EQ(counts_.shown, 1U) << "the daemon before still serves";
  EXPECT_EQ(next.lookup(1, "dir")->inode, (Inode{1} << kBits) | 1U);
}

TEST_F(GenerationsTest, NumbersAreFoundForAsManyVersionsAsThereAreSlots) {
  std::uint64_t last = 0;
  std::set<std::size_t> slots{0};
  for (std::size_t i = 1; i < GenerationCounts::kSlots; ++i) {
    last = both_.next(last);
    ASSERT_NE(last, 0U);
    EXPECT_TRUE(slots.insert(Generations::slot_of(last)).second);
    both_.add(last, new_, true);
  }
  EXPECT_EQ(both_.next(last), 0U) << "all slots are taken";
  both_.remove(3);
  EXPECT_EQ(both_.next(last), 3U + GenerationCounts::kSlots);
  both_.add(4, new_, true);
  const Inode held = Generations::inode_of(3, (Inode{1} << kBits) | 1U);
  both_.hold(held);  // by a daemon before
  EXPECT_EQ(both_.next(last), 0U);
}

TEST_F(GenerationsTest, AnInodeThatDoesNotFitIsRefused) {
  SmallTree huge("new", Inode{1} << 29U);
  both_.add(1, huge, true);
  both_.show(1);
  const Inode directory = both_.lookup(1, "dir")->inode;
  EXPECT_EQ(both_.lookup(directory, "new").error(), EOVERFLOW);
  EXPECT_EQ(both_.references(1), 1U);
}

TEST_F(GenerationsTest, FileHandlesCountToo) {
  const Inode directory = both_.lookup(1, "dir")->inode;
  EXPECT_EQ(both_.lookup(directory, ".")->inode, directory);
  EXPECT_EQ(both_.references(0), 2U);
}

}  // namespace
}  // namespace pkgfs::vfs
