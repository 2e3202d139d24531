// SPDX-License-Identifier: MIT
// Risk: a mount that goes over to a new version shows files of two versions to one program, an error, or nothing; what
// a program has open changes; or old versions stay open for ever.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "tests/net/refresh.h"
#include "tests/support/tree.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Refresh : public RefreshTest {};

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator entry(directory, failed), end; !failed && entry != end; entry.increment(failed)) {
    names.push_back(entry->path().filename());
  }
  std::ranges::sort(names);
  return names;
}

std::string read_at(int directory, const std::string& name) {
  const UniqueFd file(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  return size < 0 ? "error " + std::to_string(errno) : std::string(text.data(), static_cast<std::size_t>(size));
}

/// The contents of all files below a directory, which is entered once.
void walk(int directory, std::set<std::string>& contents) {
  DIR* const listing = ::fdopendir(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (listing == nullptr) {
    contents.insert("no listing: " + std::to_string(errno));
    return;
  }
  while (const dirent* const entry = ::readdir(listing)) {  // NOLINT(concurrency-mt-unsafe): its own stream
    const std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && !name.starts_with('.')) {
      const UniqueFd below(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      below ? walk(below.get(), contents) : (void)contents.insert("no directory: " + std::to_string(errno));
    } else if (entry->d_type == DT_REG) {
      contents.insert(read_at(directory, name));
    }
  }
  ::closedir(listing);
}

TEST_F(Refresh, ShowsTheNewVersionAndNothingElseOfTheOld) {
  for (const Arguments& options : {Arguments{}, Arguments{"--keep-old=1"}}) {
    const auto mounted = mount(options);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    const std::string before = shown(*mounted);
    EXPECT_FALSE(fs::exists(
        *mounted /
        ("only-" + std::to_string(options.empty() ? 77 : 78))));  // the kernel keeps that there is no such name
    (void)names_in(mounted->path());
    const ProcessResult none = refresh(*mounted);
    EXPECT_TRUE(none.ok()) << none.describe();
    EXPECT_NE(none.out.find("is up to date: acme/app@" + before), std::string::npos) << none.out;
    const int next = options.empty() ? 77 : 78;
    publish(next);
    const ProcessResult done = refresh(*mounted);
    EXPECT_TRUE(done.ok()) << done.describe();
    EXPECT_NE(done.out.find("shows acme/app@" + version(next) + " now; it showed acme/app@" + before),
              std::string::npos)
        << done.out;
    EXPECT_EQ(shown(*mounted), version(next));
    EXPECT_EQ(names_in(mounted->path()),
              (std::vector<std::string>{"current", "data", "only-" + std::to_string(next), "same", "version"}));
    EXPECT_FALSE(fs::exists(*mounted / "only-1"));
    EXPECT_EQ(fs::read_symlink(*mounted / "current"), "only-" + std::to_string(next));
    EXPECT_EQ(read_text(*mounted / "current/file"), version(next) + "\n");
    const auto tree = pkgfs({"tree", "acme/app@" + version(next), "--registry", server_.endpoint(), "--json"});
    ASSERT_TRUE(tree.ok()) << tree.describe();
    EXPECT_NE(run({kPkgfs, "mounts"})
                  .out.find(mounted->path().string() + " (live, shows acme/app@" + version(next) + ", keeps acme/app@" +
                            before + ")"),
              std::string::npos)
        << run({kPkgfs, "mounts"}).out;
  }
}

TEST_F(Refresh, WhatIsOpenStaysAsItIs) {
  const auto mounted = mount({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const UniqueFd file(::open((*mounted / "data/7").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd directory(::open((*mounted / "data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd gone(::open((*mounted / "only-1").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(file && directory && gone);
  const UniqueFd mapped_file(::open((*mounted / "data/sub/3").c_str(), O_RDONLY | O_CLOEXEC));
  const auto* const mapped =
      static_cast<const char*>(::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, mapped_file.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  Process inside({"sh", "-c", "read line; cat ../9 && ls ../sub | wc -l && cat 11"},
                 {.directory = *mounted / "data/sub"});
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  ASSERT_EQ(shown(*mounted), version(2));
  std::array<char, 64> text{};
  EXPECT_EQ(std::string(text.data(), static_cast<std::size_t>(::pread(file.get(), text.data(), text.size(), 0))),
            "2.0.1\n");
  EXPECT_EQ(std::string(mapped, 6), "2.0.1\n");
  EXPECT_EQ(read_at(directory.get(), "20"), "2.0.1\n");
  EXPECT_EQ(read_at(directory.get(), "sub/20"), "2.0.1\n") << "it wasn't looked up before";
  EXPECT_EQ(read_at(gone.get(), "file"), "2.0.1\n");
  std::set<std::string> contents;
  walk(directory.get(), contents);
  EXPECT_EQ(contents, std::set<std::string>{"2.0.1\n"});
  EXPECT_EQ(read_text(*mounted / "data/7"), "2.0.2\n");
  EXPECT_EQ(inside.wait().out, "2.0.1\n40\n2.0.1\n") << inside.wait().describe();
  EXPECT_EQ(versions(*mounted).at("open"), 2);
  ::munmap(const_cast<char*>(mapped), 4096);
}

TEST_F(Refresh, OldVersionsAreClosedWhenTheyAreLetGo) {
  const auto mounted = mount({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  (void)list_tree(mounted->path());
  UniqueFd file(::open((*mounted / "data/7").c_str(), O_RDONLY | O_CLOEXEC));
  publish(2);
  ASSERT_TRUE(refresh(*mounted).ok());
  std::this_thread::sleep_for(1500ms);
  EXPECT_TRUE(has_open(*mounted, 2)) << "the file is open";
  file.reset();
  EXPECT_TRUE(has_open(*mounted, 1)) << versions(*mounted);
  EXPECT_EQ(shown(*mounted), version(2));
  (void)list_tree(mounted->path());
}

TEST_F(Refresh, ReadersSeeOneVersionAndNoErrors) {
  const auto rounds = static_cast<int>(number_from_environment("PKGFS_TEST_REFRESHES", 20));
  const auto mounted = mount({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::atomic<bool> stop{false};
  std::atomic<int> walks{0};
  std::atomic<int> mixed{0};
  std::atomic<int> errors{0};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 16; ++i) {
    readers.emplace_back([&, i] {
      while (!stop) {
        // Names that each version has must be there at every moment.
        const UniqueFd start(::open((*mounted / "data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        errors += start && ::access((*mounted / "same/file").c_str(), F_OK) == 0 ? 0 : 1;
        std::set<std::string> contents;
        if (start && i % 2 == 0) {
          walk(start.get(), contents);
          mixed += contents.size() == 1 && contents.begin()->starts_with("2.0.") ? 0 : 1;
        } else {
          errors += shown(*mounted).starts_with("2.0.") && !names_in(mounted->path()).empty() ? 0 : 1;
        }
        ++walks;
      }
    });
  }
  for (int number = 2; number < 2 + rounds; ++number) {
    publish(number);
    const ProcessResult done = refresh(*mounted);
    EXPECT_TRUE(done.ok()) << done.describe();
    EXPECT_EQ(shown(*mounted), version(number));
  }
  stop = true;
  readers.clear();
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(mixed, 0);
  EXPECT_GT(walks, rounds);
  EXPECT_TRUE(has_open(*mounted, 1)) << versions(*mounted);
}

TEST_F(Refresh, MemoryAndDescriptorsStayTheSame) {
  const auto mounted = mount({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const std::string process = "/proc/" + std::to_string(mounted->daemon());
  const auto descriptors = [&] { return std::distance(fs::directory_iterator(process + "/fd"), {}); };
  const auto resident = [&] {
    return std::stol(run({"awk", "/^RssAnon/ { print $2 }", process + "/status"}).out);  // KiB
  };
  const auto rounds = [&](int from, int to) {
    for (int number = from; number < to; ++number) {
      publish(number);
      ASSERT_TRUE(refresh(*mounted).ok());
      (void)list_tree(mounted->path());
    }
    ASSERT_TRUE(has_open(*mounted, 1)) << versions(*mounted);
  };
  rounds(2, 12);
  const auto before = descriptors();
  const long memory = resident();
  rounds(12, 52);
  EXPECT_LE(descriptors(), before + 2);
  EXPECT_LE(resident(), memory + 1024);
}

TEST_F(Refresh, RollbackNeedsNoNetworkAndIsFollowedByNothing) {
  const auto mounted = mount({"--follow=1s", "--keep-old=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(pkgfs({"rollback", mounted->path()}).exit_code, 3) << "there is no older version";
  publish(2);
  ASSERT_TRUE(eventually([&] { return shown(*mounted) == version(2); }, 10s)) << "--follow";
  EXPECT_TRUE(eventually([&] {
    const nlohmann::json shown_now = versions(*mounted);
    return shown_now.is_object() && shown_now.at("kept") == nlohmann::json{"acme/app@2.0.1"};
  }));
  server_.stop();
  const ProcessResult back = pkgfs({"rollback", mounted->path()});
  EXPECT_TRUE(back.ok()) << back.describe();
  EXPECT_EQ(shown(*mounted), version(1));
  EXPECT_EQ(read_text(*mounted / "only-1/file"), "2.0.1\n");
  server_.start();
  std::this_thread::sleep_for(2500ms);
  EXPECT_EQ(shown(*mounted), version(1)) << "--follow went back to the version that the rollback left";
  publish(3);
  EXPECT_TRUE(eventually([&] { return shown(*mounted) == version(3); }, 10s));
  ASSERT_TRUE(pkgfs({"rollback", mounted->path()}).ok());
  EXPECT_EQ(shown(*mounted), version(1));
  ASSERT_TRUE(refresh(*mounted).ok());
  EXPECT_EQ(shown(*mounted), version(3)) << "the user asked for it";
}

TEST_F(Refresh, MountsOnEntriesAndBindsOfTheMountStay) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can mount";
  }
  const auto mounted = mount({"--follow=1h"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const TempDir dir;
  const fs::path other = dir.path() / "other";
  const fs::path bound = dir.path() / "bound";
  fs::create_directory(other);
  fs::create_directory(bound);
  dir.write("other/mark", "covers");
  ASSERT_EQ(::mount(mounted->path().c_str(), bound.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(::mount(other.c_str(), (*mounted / "data/sub").c_str(), nullptr, MS_BIND, nullptr), 0);
  publish(2);
  EXPECT_TRUE(refresh(*mounted).ok());
  EXPECT_EQ(shown(*mounted), version(2));
  EXPECT_EQ(read_text(bound / "version"), version(2)) << "through the bind";
  EXPECT_EQ(names_in(mounted->path()).size(), 5U);  // the kernel asks for attributes with the names
  EXPECT_TRUE(run({"ls", "-l", mounted->path()}).ok());
  EXPECT_EQ(names_in(bound).size(), 5U);
  EXPECT_EQ(read_text(*mounted / "data/sub/mark"), "covers");
  EXPECT_EQ(read_text(*mounted / "data/1"), "2.0.1\n") << "the directory with the mount waits";
  EXPECT_EQ(::umount2((*mounted / "data/sub").c_str(), 0), 0);
  EXPECT_TRUE(eventually([&] { return read_text(*mounted / "data/sub/1") == "2.0.2\n"; }, 20s));
  EXPECT_EQ(::umount2(bound.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace pkgfs::test
