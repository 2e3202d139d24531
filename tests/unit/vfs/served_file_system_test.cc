// SPDX-License-Identifier: MIT
// Risk: a name is searched for twice, a tree is closed while it is used, or an inode leads into another package.
#include "core/vfs/served_file_system.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace pkgfs::vfs {
namespace {

using namespace std::chrono_literals;
using Clock = ServedFileSystem::Clock;

constexpr Inode kTreeDirectory = (Inode{1} << 31U) | 1U;
constexpr Inode kTreeFile = (Inode{5} << 31U) | 7U;

/// A root with the directory "dir", which has the file "file".
class ServedTree final : public FileSystem {
 public:
  explicit ServedTree(std::uint64_t mark) : mark_(mark) {}
  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override {
    if (dir == 1 && name == "dir") {
      return Entry{kTreeDirectory, *metadata(kTreeDirectory)};
    }
    return dir == kTreeDirectory && name == "file" ? Result<Entry>(Entry{kTreeFile, *metadata(kTreeFile)})
                                                   : fail(ENOENT);
  }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override {
    return Attributes{.type = inode == kTreeFile ? FileType::kFile : FileType::kDirectory,
                      .size = mark_,
                      .number = inode == kTreeFile ? 9U
                                : inode == 1       ? 1U
                                                   : 2U};
  }
  [[nodiscard]] Result<void> read_dir(Inode, std::uint64_t, FunctionRef<bool(const DirEntry&)> visit) override {
    (void)visit({.name = "dir", .inode = kTreeDirectory, .next = 1, .attributes = *metadata(kTreeDirectory)});
    return {};
  }
  [[nodiscard]] Result<std::string_view> read_link(Inode) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode) override { return fail(EIO); }
  [[nodiscard]] bool is_immutable() const override { return true; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return mark_; }

 private:
  std::uint64_t mark_;
};

class SmallHeld final : public HeldTree {
 public:
  SmallHeld(std::uint64_t mark, int& open) : tree_(mark), open_(open) { ++open_; }
  ~SmallHeld() override { --open_; }
  [[nodiscard]] FileSystem& tree() override { return tree_; }
  [[nodiscard]] std::shared_ptr<const void> recipe() const override { return recipe_; }

 private:
  ServedTree tree_;
  int& open_;
  std::shared_ptr<const void> recipe_ = std::make_shared<int>(1);
};

/// In "acme": "link" is a link to find, ".x" is absent, all else are trees. `finish` ends a search.
class FakeNames final : public ServedNames {
 public:
  [[nodiscard]] Meaning meaning_of(const std::string& directory, std::string_view name) override {
    if (directory.empty()) {
      return {.kind = Meaning::Kind::kDirectory};
    }
    return {.kind = name == ".x"     ? Meaning::Kind::kAbsent
                    : name == "link" ? Meaning::Kind::kFoundLink
                                     : Meaning::Kind::kTree,
            .text = {},
            .state = name == "locked" ? state : std::string()};
  }
  void find(std::uint64_t number, const std::string& path, std::shared_ptr<const void> recipe, Done done) override {
    searches.emplace(path, std::move(done));
    numbers[path] = number;
    recipes[path] = std::move(recipe);
  }
  void give_up(std::uint64_t number) override { given_up.insert(number); }
  [[nodiscard]] std::uint64_t progress(std::uint64_t) override { return how_far; }
  void end_late() override {}
  void list(const std::string& directory, ListDone done) override {
    if (hangs) {
      waiting = std::move(done);
    } else {
      done(directory.empty() ? listed : std::vector<Listed>{});
    }
  }
  void finish(const std::string& path, Finding finding) {
    const Done done = std::move(searches.at(path));
    searches.erase(path);
    done(std::move(finding));
  }

  std::map<std::string, Done> searches;
  std::map<std::string, std::uint64_t> numbers;
  std::map<std::string, std::shared_ptr<const void>> recipes;
  std::set<std::uint64_t> given_up;
  std::vector<Listed> listed{{.name = "acme"}};
  bool hangs = false;  // `list`
  ListDone waiting;
  std::string state;          // of "locked"
  std::uint64_t how_far = 1;  // of all searches
};

class Served : public ::testing::Test {
 protected:
  [[nodiscard]] ServedNames::Finding tree(std::uint64_t mark) {
    return {.tree = std::make_shared<SmallHeld>(mark, open_), .link = {}, .error = 0, .reason = {}};
  }
  std::uint64_t wait(Inode dir, const std::string& name) {
    return fs_.wait_for(dir, name, [this] { ++ready_; });
  }
  /// Looks up "acme/NAME", whose tree has this mark.
  Inode open(const std::string& name, std::uint64_t mark) {
    EXPECT_EQ(fs_.lookup(acme_, name), fail(ServedFileSystem::kMustWait)) << name;
    (void)wait(acme_, name);
    names_.finish("acme/" + name, tree(mark));
    const Result<Entry> found = fs_.lookup(acme_, name);
    EXPECT_TRUE(found) << name;
    return found ? found->inode : 0;
  }
  void close_idle() {
    (void)fs_.idle(Clock::now(), 0ms);  // forgets that they were used
    for (const auto& idle : fs_.idle(Clock::now() + 1h, 1s)) {
      if (fs_.is_unused(idle.slot)) {
        fs_.hide(idle.slot);
        fs_.detach(idle.slot);
        (void)fs_.close(idle.slot);
      }
    }
  }

  FakeNames names_;
  int open_ = 0;
  int ready_ = 0;
  ServedFileSystem fs_{names_, {.immutable = true, .patience = 1000ms, .modified = 1}};
  Inode acme_ = fs_.lookup(fs_.root(), "acme")->inode;
};

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
