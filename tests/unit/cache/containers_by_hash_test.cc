// SPDX-License-Identifier: MIT
// Risk: a damaged or half-written file is used as a package, or pruning removes what another process needs.
#include "core/cache/containers_by_hash.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "core/base/error.h"
#include "core/net/partial_file.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ContainersByHashTest : public ::testing::Test {
 protected:
  TempDir dir_;
  const fs::path root_ = dir_.path() / "checkouts";
  ContainersByHash cache_{root_.string()};
  const CancelFlag never_;
  const std::string content_ = "the content of a container";
  const Sha256 hash_ = sha256(content_);

  /// Stores `content_` as a download does.
  std::string store() {
    const PartialEntry partial = cache_.reserve(hash_, never_);
    std::ofstream(partial.part) << content_;
    return cache_.commit(partial, open(partial.part), hash_);
  }
  static UniqueFd open(const fs::path& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }
  [[nodiscard]] fs::path entry() const { return root_ / (to_hex(hash_) + ".bin"); }
  [[nodiscard]] fs::path aside() const { return entry().string() + ".corrupt-" + std::to_string(::getpid()); }
  /// A file below the cache that was last modified two days ago.
  [[nodiscard]] fs::path old_file(const std::string& name, const std::string& content = "12345") const {
    const fs::path path = dir_.write("checkouts/" + name, content);
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(48));
    return path;
  }
};

TEST_F(ContainersByHashTest, MissingEntriesAndDirectoriesAreNoErrors) {
  EXPECT_EQ(cache_.find(hash_), std::nullopt);
  EXPECT_THAT(cache_.entries(), IsEmpty());
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::seconds(0)), 0U);
  EXPECT_FALSE(fs::exists(root_)) << "looking creates nothing";
}

TEST_F(ContainersByHashTest, ADirectoryThatIsAFileIsAnError) {
  dir_.write("checkouts", "");
  try {
    static_cast<void>(cache_.entries());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Could not read image cache dir: '" + root_.string() + "'"));
  }
  EXPECT_THROW(static_cast<void>(cache_.reserve(hash_, never_)), Error);
}

TEST_F(ContainersByHashTest, CommittedEntriesAreReadOnlyAndNamedByTheirHash) {
  EXPECT_EQ(store(), entry().string());
  EXPECT_EQ(cache_.path_of(hash_), entry().string());
  EXPECT_EQ(cache_.find(hash_), entry().string());
  EXPECT_EQ(read_text(entry()), content_);
  EXPECT_EQ(fs::status(entry()).permissions(), static_cast<fs::perms>(0444));
  EXPECT_THAT(fs::directory_iterator(root_ / "__temp__") == fs::directory_iterator(), true) << "the part was renamed";
  cache_.sync();
  const auto entries = cache_.entries();
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_EQ(entries[0].hash, hash_);
  EXPECT_EQ(entries[0].path, entry().string());
  EXPECT_EQ(entries[0].size, content_.size());
  EXPECT_EQ(cache_.content_hash(entries[0]), hash_);
}

TEST_F(ContainersByHashTest, CommitReplacesAnEntryWithoutDisturbingItsReaders) {
  dir_.write("checkouts/" + entry().filename().string(), "what was there before");
  std::ifstream reader(entry());
  store();
  std::string seen;
  std::getline(reader, seen);
  EXPECT_EQ(seen, "what was there before");
  EXPECT_EQ(read_text(entry()), content_);
}

TEST_F(ContainersByHashTest, RemovedEntriesAreNoErrors) {
  store();
  const auto entries = cache_.entries();
  ASSERT_THAT(entries, SizeIs(1));
  cache_.remove(entries[0]);
  cache_.remove(entries[0]);
  EXPECT_EQ(cache_.content_hash(entries[0]), std::nullopt);
  EXPECT_EQ(cache_.hash_or_set_aside(hash_), std::nullopt);
  EXPECT_EQ(cache_.find(hash_), std::nullopt);
}

TEST_F(ContainersByHashTest, WritableEntriesAreHashedOnce) {
  dir_.write("checkouts/" + entry().filename().string(), content_);
  EXPECT_EQ(cache_.find(hash_), entry().string());
  EXPECT_EQ(fs::status(entry()).permissions(), static_cast<fs::perms>(0444));
}

TEST_F(ContainersByHashTest, DamagedEntriesAreSetAside) {
  const CapturedLog log;
  dir_.write("checkouts/" + entry().filename().string(), "something else");
  EXPECT_EQ(cache_.find(hash_), std::nullopt);
  EXPECT_FALSE(fs::exists(entry()));
  EXPECT_EQ(read_text(aside()), "something else");
  EXPECT_THAT(log.text(), HasSubstr("its content has the hash " + to_hex(sha256("something else"))));
  EXPECT_THAT(cache_.entries(), IsEmpty()) << "what was set aside is no entry";
}

TEST_F(ContainersByHashTest, EntriesThatAreNoFilesAreSetAside) {
  const CapturedLog log;
  fs::create_directories(root_);
  const fs::path target = dir_.write("target", content_);
  fs::create_symlink(target, entry());
  EXPECT_EQ(cache_.find(hash_), std::nullopt) << "another process may change what a link leads to";
  EXPECT_TRUE(fs::is_symlink(aside()));
  fs::remove(aside());
  fs::create_directory(entry());
  EXPECT_EQ(cache_.find(hash_), std::nullopt);
  EXPECT_TRUE(fs::is_directory(aside()));
  EXPECT_THAT(log.text(), HasSubstr("it isn't a regular file"));
}

TEST_F(ContainersByHashTest, OtherFilesAreNoEntries) {
  store();
  dir_.write("checkouts/README", "");
  dir_.write("checkouts/" + std::string(64, 'x') + ".bin", "");
  dir_.write("checkouts/" + to_hex(hash_), "");
  fs::create_directory(root_ / (std::string(64, 'a') + ".bin"));
  EXPECT_THAT(cache_.entries(), SizeIs(1));
}

TEST_F(ContainersByHashTest, FindingAnEntryRecordsItsUseAndNothingElse) {
  store();
  const timespec before{1'600'000'000, 0};
  const std::array<timespec, 2> times{before, before};
  ASSERT_EQ(::utimensat(AT_FDCWD, entry().c_str(), times.data(), 0), 0);
  ASSERT_TRUE(cache_.find(hash_));
  struct stat status{};
  ASSERT_EQ(::stat(entry().c_str(), &status), 0);
  EXPECT_EQ(status.st_mtim.tv_sec, before.tv_sec) << "--mtime=container shows it";
  EXPECT_GT(status.st_atim.tv_sec, before.tv_sec);
  EXPECT_GT(cache_.entries().at(0).used, std::chrono::system_clock::now() - std::chrono::minutes(10));
}

TEST_F(ContainersByHashTest, OnlyOneCallerFillsAnEntry) {
  const PartialEntry first = cache_.reserve(hash_, never_);
  CancelFlag cancelled;
  cancelled.cancel();
  try {
    static_cast<void>(cache_.reserve(hash_, cancelled));
    FAIL() << "two callers write the same file";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  }
  EXPECT_NO_THROW(static_cast<void>(cache_.reserve(sha256("another"), never_)));
}

TEST_F(ContainersByHashTest, PartialFilesSurviveForTheNextAttempt) {
  {
    const PartialEntry partial = cache_.reserve(hash_, never_);
    std::ofstream(partial.part) << "the content";
  }
  const PartialEntry again = cache_.reserve(hash_, never_);
  EXPECT_EQ(read_text(again.part), "the content");
}

TEST_F(ContainersByHashTest, PlantedDirectoriesAreNotFollowed) {
  const CapturedLog log;
  fs::create_directories(root_);
  fs::permissions(root_, fs::perms::all);
  const fs::path victim = old_file("../victim/precious", "12345");
  for (const char* name : {"__temp__", ".locks"}) {
    fs::create_directory_symlink(victim.parent_path(), root_ / name);
  }
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::seconds(0)), 0U) << "it isn't a leftover of this cache";
  store();
  EXPECT_TRUE(fs::exists(victim));
  EXPECT_EQ(std::distance(fs::directory_iterator(victim.parent_path()), {}), 1) << "nothing is made there";
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(root_ / "__temp__")));
  EXPECT_TRUE(cache_.find(hash_));
  EXPECT_THAT(log.text(), HasSubstr("removed \"" + (root_ / "__temp__").string() + "\", a symbolic link to \""));
}

TEST_F(ContainersByHashTest, PlantedFilesAreReplaced) {
  const CapturedLog log;
  const fs::path victim = dir_.write("victim", "precious");
  const auto plant = [&](const fs::path& path, const std::string& kind) {
    fs::remove(path);
    if (kind == "link") {
      fs::create_symlink(victim, path);
    } else if (kind == "dangling") {
      fs::create_symlink(dir_.path() / "none", path);
    } else if (kind == "hard link") {
      fs::create_hard_link(victim, path);
    } else if (kind == "fifo") {
      ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0);
    } else {
      fs::create_directory(path);
    }
  };
  store();
  for (const char* kind : {"link", "dangling", "hard link", "fifo", "directory"}) {
    SCOPED_TRACE(kind);
    fs::remove(entry());
    plant(root_ / "__temp__" / (to_hex(hash_) + ".part"), kind);
    plant(root_ / ".locks" / to_hex(hash_), kind);
    const PartialEntry partial = cache_.reserve(hash_, never_);
    PartialFile file(partial.part, "http://h/x");
    file.append(std::as_bytes(std::span(content_)));
    static_cast<void>(file.finish());
    cache_.commit(partial, file.release(), hash_);
    EXPECT_EQ(read_text(entry()), content_);
    EXPECT_EQ(read_text(victim), "precious");
    EXPECT_NE(fs::status(victim).permissions() & fs::perms::owner_write, fs::perms::none);
    EXPECT_FALSE(fs::exists(dir_.path() / "none"));
  }
}

TEST_F(ContainersByHashTest, WhatCannotBeRemovedIsNamedAndOtherEntriesAreFilled) {
  const CapturedLog log;
  fs::create_directories(root_ / ".locks" / to_hex(hash_) / "not empty");
  try {
    static_cast<void>(cache_.reserve(hash_, never_));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr((root_ / ".locks" / to_hex(hash_)).string() + "\" is a directory"));
    EXPECT_THAT(error.what(), HasSubstr("must be removed"));
  }
  EXPECT_NO_THROW(static_cast<void>(cache_.reserve(sha256("another"), never_)));
}

TEST_F(ContainersByHashTest, AnotherFileThanTheHashedOneIsNoEntry) {
  const PartialEntry partial = cache_.reserve(hash_, never_);
  std::ofstream(partial.part) << content_;
  const UniqueFd hashed = open(partial.part);
  fs::rename(dir_.write("planted", "something else"), partial.part);
  try {
    cache_.commit(partial, hashed, hash_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.what(), HasSubstr("has replaced \"" + partial.part));
  }
  EXPECT_FALSE(fs::exists(entry()));
  EXPECT_FALSE(fs::exists(partial.part));
}

TEST_F(ContainersByHashTest, WhatWasmerPutThereMeanwhileStays) {
  const PartialEntry partial = cache_.reserve(hash_, never_);
  std::ofstream(partial.part) << content_;
  const UniqueFd hashed = open(partial.part);
  dir_.write("checkouts/" + entry().filename().string(), content_);
  fs::rename(dir_.write("planted", "something else"), partial.part);
  EXPECT_THROW(cache_.commit(partial, hashed, hash_), Error);
  EXPECT_EQ(read_text(entry()), content_);
}

/// The process has no file descriptors left while this lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST_F(ContainersByHashTest, AFullTableOfDescriptorsIsNoDamage) {
  fs::permissions(store(), fs::perms::owner_read | fs::perms::owner_write);  // so that it is hashed
  const CapturedLog log;
  {
    const NoDescriptors none;
    EXPECT_THROW(static_cast<void>(cache_.find(hash_)), Error);
    EXPECT_THROW(static_cast<void>(cache_.hash_or_set_aside(hash_)), Error);
  }
  EXPECT_EQ(log.text(), "");
  EXPECT_EQ(read_text(entry()), content_);
  EXPECT_EQ(cache_.find(hash_), entry().string());
}

TEST_F(ContainersByHashTest, DirectoriesOfAnotherUserAreNotWrittenTo) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  store();
  for (const fs::path& directory : {root_ / "__temp__", root_ / ".locks", root_}) {
    ASSERT_EQ(::chown(directory.c_str(), 65534, 65534), 0);
    try {
      static_cast<void>(cache_.reserve(sha256("another"), never_));
      ADD_FAILURE() << directory;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kPermission);
      EXPECT_THAT(error.what(), HasSubstr("\"" + directory.string() + "\" belongs to user 65534"));
      EXPECT_THAT(error.what(), HasSubstr("--cache-dir=DIR"));
    }
    EXPECT_TRUE(cache_.find(hash_)) << "what is there can be used";
    ASSERT_EQ(::chown(directory.c_str(), 0, 0), 0);
  }
  EXPECT_NO_THROW(static_cast<void>(cache_.reserve(sha256("another"), never_)));
}

TEST_F(ContainersByHashTest, PartsThatAreBeingFilledStay) {
  store();
  const std::string name = "__temp__/" + to_hex(hash_) + ".part";
  const fs::path part = old_file(name);
  const fs::path origin = old_file(name + ".from", "1");
  {
    const PartialEntry partial = cache_.reserve(hash_, never_);
    EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1), true), 0U);
    EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1)), 0U);
    EXPECT_TRUE(fs::exists(part));
    EXPECT_TRUE(fs::exists(origin));
  }
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1), true), 6U);
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1)), 6U);
  EXPECT_FALSE(fs::exists(part));
  EXPECT_FALSE(fs::exists(origin));
  EXPECT_TRUE(fs::is_empty(root_ / ".locks"));
}

TEST_F(ContainersByHashTest, LeftoversGoWhenTheyAreOldAndUnlocked) {
  store();
  const fs::path part = old_file("__temp__/one.part");
  const fs::path damaged = old_file(std::string(64, 'a') + ".bin.corrupt-1", "123");
  const fs::path lock = old_file(".locks/" + std::string(64, 'b'), "");
  const fs::path held = old_file(".locks/" + std::string(64, 'c'), "");
  const fs::path young = dir_.write("checkouts/__temp__/two.part", "1");
  const int fd = ::open(held.c_str(), O_RDWR | O_CLOEXEC);
  const UniqueFd holder(fd);
  ASSERT_EQ(::flock(holder.get(), LOCK_EX | LOCK_NB), 0);

  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1), true), 8U);
  for (const fs::path& path : {part, damaged, lock, held, young}) {
    EXPECT_TRUE(fs::exists(path)) << path << " was removed by a dry run";
  }
  EXPECT_EQ(cache_.remove_leftovers(std::chrono::hours(1)), 8U);
  for (const fs::path& path : {part, damaged, lock}) {
    EXPECT_FALSE(fs::exists(path)) << path;
  }
  for (const fs::path& path : {held, young, entry()}) {
    EXPECT_TRUE(fs::exists(path)) << path;
  }
}

}  // namespace
}  // namespace pkgfs::test
