// SPDX-License-Identifier: MIT
// Risk: names take memory without a bound, a listing lacks names, or programs wait for one that they don't need.
#include <thread>

#include "tests/unit/vfs/served.h"

namespace pkgfs::vfs {
namespace {

class ServedListing : public Served {
 protected:
  /// The names in the root directory, and the error at the end.
  std::set<std::string> list() {
    std::set<std::string> names;
    std::uint64_t from = 0;
    bool more = true;
    while (more) {
      more = false;
      const Result<void> read = fs_.read_dir(fs_.root(), from, [&](const DirEntry& entry) {
        more = true;
        from = entry.next;
        names.emplace(entry.name);
        return true;
      });
      error_at_end_ = read ? 0 : read.error();
    }
    return names;
  }
  static void wait_until_listings_are_old() { std::this_thread::sleep_for(1100ms); }

  int error_at_end_ = 0;
};

TEST_F(ServedListing, ManyNamesTakeBoundedMemoryAndAreNotListed) {
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

TEST_F(ServedListing, ManyNamesBelowManyNamesTakeBoundedMemory) {
  constexpr std::size_t kWords = ServedFileSystem::kMostNodes / 2 + 2;
  std::vector<Inode> words;
  for (std::size_t i = 0; i < kWords; ++i) {
    words.push_back(fs_.lookup(fs_.root(), "word" + std::to_string(i))->inode);
  }
  std::size_t most = 0;
  for (std::size_t i = 0; i < kWords; ++i) {
    const Inode word = fs_.metadata(words[i]) ? words[i] : fs_.lookup(fs_.root(), "word" + std::to_string(i))->inode;
    (void)wait(word, "bad@1");
    names_.finish("word" + std::to_string(i) + "/bad@1",
                  {.tree = nullptr, .link = {}, .error = EIO, .reason = "damaged"});
    ASSERT_TRUE(fs_.lookup(word, "bad@1")) << i;
    most = std::max(most, fs_.counts().nodes);
  }
  EXPECT_LE(most, ServedFileSystem::kMostNodes);
  for (std::size_t i = 0; i < ServedFileSystem::kMostNodes; ++i) {  // directories whose names were forgotten go, too
    ASSERT_TRUE(fs_.lookup(fs_.root(), "other" + std::to_string(i)));
  }
  EXPECT_LE(fs_.counts().nodes, ServedFileSystem::kMostNodes);
  EXPECT_EQ(fs_.metadata(words.front()), fail(ESTALE));
}

TEST_F(ServedListing, AListingInPartsHasEachNameOnce) {
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

TEST_F(ServedListing, AListingThatHangsShowsTheOneBefore) {
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  std::this_thread::sleep_for(1100ms);
  names_.hangs = true;
  const auto begin = Clock::now();
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  EXPECT_TRUE(fs_.metadata(fs_.root()));
  EXPECT_LT(Clock::now() - begin, 1900ms) << "only the first waits";
  names_.waiting({{.name = "acme"}, {.name = "beta"}}, 0);
  EXPECT_EQ(list(), (std::set<std::string>{"acme", "beta"}));
}

TEST_F(ServedListing, OnlyAListingWaitsForAListing) {
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  const std::int64_t before = fs_.metadata(fs_.root())->modified;
  wait_until_listings_are_old();
  names_.hangs = true;
  const auto begin = Clock::now();
  EXPECT_TRUE(fs_.metadata(fs_.root()));
  EXPECT_TRUE(fs_.lookup(fs_.root(), "acme"));
  EXPECT_LT(Clock::now() - begin, 500ms);
  ASSERT_NE(names_.waiting, nullptr) << "but it is being made";
  names_.waiting({{.name = "acme"}, {.name = "beta"}}, 0);
  EXPECT_GT(fs_.metadata(fs_.root())->modified, before);
}

TEST_F(ServedListing, TheKernelShouldForgetAListingAfterASecond) {
  EXPECT_TRUE(fs_.take_kept_listings().empty());
  (void)list();
  EXPECT_TRUE(fs_.take_kept_listings().empty()) << "its reply may still be on its way";
  EXPECT_EQ(fs_.take_kept_listings(), std::vector<Inode>{fs_.root()});
  EXPECT_TRUE(fs_.take_kept_listings().empty());
}

TEST_F(ServedListing, AListingThatFailsKeepsTheNamesOfBefore) {
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  wait_until_listings_are_old();
  names_.listed = {{.name = "beta"}};
  names_.list_error = EMFILE;
  EXPECT_EQ(list(), (std::set<std::string>{"acme", "beta"}));
  EXPECT_EQ(error_at_end_, 0);
  wait_until_listings_are_old();
  names_.list_error = 0;
  EXPECT_EQ(list(), std::set<std::string>{"beta"}) << "this is what there is now";
}

TEST_F(ServedListing, TheFirstListingShowsItsFailure) {
  names_.list_error = EMFILE;
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  EXPECT_EQ(error_at_end_, EMFILE) << "after what is known";
  wait_until_listings_are_old();
  names_.listed.clear();
  EXPECT_EQ(list(), std::set<std::string>{"acme"});
  EXPECT_EQ(error_at_end_, EMFILE);
  wait_until_listings_are_old();
  names_.listed = {{.name = "beta"}};
  names_.list_error = 0;
  EXPECT_EQ(list(), std::set<std::string>{"beta"});
  EXPECT_EQ(error_at_end_, 0);
}

}  // namespace
}  // namespace pkgfs::vfs
