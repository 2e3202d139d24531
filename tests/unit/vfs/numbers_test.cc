// SPDX-License-Identifier: MIT
// Risk: two entries of one mount have the same inode number, an entry has another one in the next mount, or programs
// that hold 32 bits can't see what is there (docs/rules/filesystem.md, 9.6).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <set>

#include "core/vfs/host_file_system.h"
#include "core/vfs/path_text.h"
#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/container.h"
#include "core/webc/writer.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::mount_of;

using Numbers = std::map<std::string, std::uint64_t>;

/// By path, the root included. Listings and look-ups are compared, and the number of each directory's parent.
Numbers numbers_of(FileSystem& fs) {
  Numbers numbers{{"", fs.metadata(fs.root())->number}};
  for (TreeWalk walk(fs, fs.root()); walk.next();) {
    const WalkStep& step = walk.step();
    if (step.leaving) {
      continue;
    }
    const std::string path(step.path);
    numbers[path] = step.attributes.number;
    if (step.error != 0) {
      continue;
    }
    EXPECT_EQ(fs.metadata(step.inode)->number, step.attributes.number) << path;
    if (numbers.size() < 200) {
      const Result<Entry> found = find_path(fs, path);
      EXPECT_EQ(found->attributes.number, step.attributes.number) << path;
      fs.forget(found->inode, 1);
    }
    if (step.attributes.type == FileType::kDirectory) {
      EXPECT_EQ(fs.parent_number(step.inode).value(), numbers.at(path.substr(0, path.rfind('/')))) << path;
    }
  }
  return numbers;
}

void expect_distinct(const Numbers& numbers, std::uint64_t limit) {
  std::map<std::uint64_t, std::string> owners;
  for (const auto& [path, number] : numbers) {
    const auto [owner, is_new] = owners.emplace(number, path);
    EXPECT_TRUE(is_new) << "\"" << path << "\" and \"" << owner->second << "\" have the number " << number;
    EXPECT_LT(number, limit) << path;
    EXPECT_EQ(number == kRootNumber, path.empty()) << path;
  }
}

/// All volumes of a container, each at `prefix` and its name.
std::vector<Mount> mounts_of(const std::shared_ptr<const webc::Container>& container, const std::string& prefix) {
  std::vector<Mount> mounts;
  for (const auto& volume : container->volumes()) {
    mounts.push_back({.fs = std::make_unique<WebcVolumeFileSystem>(volume),
                      .mount_path = absolute_path(path_components(prefix + "/" + volume->name())),
                      .package = container->source()->name(),
                      .volume = volume->name()});
  }
  return mounts;
}

std::shared_ptr<const webc::Container> open(const std::filesystem::path& path) {
  return webc::Container::open(test::blob_of(test::read_text(path)).source);
}

TEST(Numbers, EveryEntryOfEveryContainerHasOneOfItsOwn) {
  const test::CapturedLog log;  // of damage
  std::size_t entries = 0;
  for (const char* folder : {"webc", "bad"}) {
    for (const auto& file : std::filesystem::directory_iterator(test::fixtures() / folder)) {
      if (file.path().extension() != ".webc") {
        continue;
      }
      SCOPED_TRACE(file.path());
      std::shared_ptr<const webc::Container> container;
      try {
        container = open(file.path());
      } catch (const Error&) {
        continue;
      }
      const auto fs = make_union_file_system(mounts_of(container, "/"), {});
      const Numbers numbers = numbers_of(*fs);
      expect_distinct(numbers, file.file_size() + 100);  // of a container of 4 GiB, all fit 32 bits
      entries += numbers.size();
    }
  }
  EXPECT_GT(entries, 5'000U);
}

TEST(Numbers, DependOnNoOrderOfVisits) {
  const auto container = open(test::fixtures() / "webc/many-v3.webc");
  const auto forwards = make_union_file_system(mounts_of(container, "/"), {});
  const Numbers numbers = numbers_of(*forwards);
  const auto backwards = make_union_file_system(mounts_of(container, "/"), {});
  for (auto entry = numbers.rbegin(); entry != numbers.rend(); ++entry) {
    ASSERT_EQ(find_path(*backwards, entry->first)->attributes.number, entry->second) << entry->first;
  }
}

TEST(Numbers, OneVolumeAtManyPathsHasOtherNumbersAtEach) {
  for (const char* name : {"many-v1", "many-v2", "many-v3"}) {
    const auto container = open(test::fixtures() / "webc" / (std::string(name) + ".webc"));
    std::vector<Mount> mounts;
    for (int i = 0; i < 20; ++i) {
      std::ranges::move(mounts_of(container, "/deep/at" + std::to_string(i)), std::back_inserter(mounts));
    }
    std::ranges::move(mounts_of(container, "/deep"), std::back_inserter(mounts));  // merged with the ancestors
    const Numbers numbers = numbers_of(*make_union_file_system(std::move(mounts), {}));
    EXPECT_GT(numbers.size(), 20'000U);
    expect_distinct(numbers, 1U << 21U);
  }
}

TEST(Numbers, ManyMappingsOfABigVolumeFitThirtyTwoBits) {
  // A directory of 50,000 files has 7 MB of directory data in version 3.
  webc::WriterNode root;
  for (int i = 0; i < 50'000; ++i) {
    root.children.push_back({.name = "file" + std::to_string(i), .kind = webc::EntryKind::kFile});
  }
  webc::Writer writer(webc::Version::kV3, webc::Json::object());
  writer.add_volume("v", std::move(root));
  const auto container = webc::Container::open(std::make_shared<MemoryBytes>("big", writer.to_bytes()));
  std::vector<Mount> mounts;
  for (int i = 0; i < 1000; ++i) {
    std::ranges::move(mounts_of(container, "/at" + std::to_string(i)), std::back_inserter(mounts));
  }
  const auto fs = make_union_file_system(std::move(mounts), {});
  std::set<std::uint64_t> seen;
  for (const char* path : {"/at0/v", "/at999/v"}) {
    ASSERT_TRUE(fs->read_dir(find_path(*fs, path)->inode, 0, [&](const DirEntry& entry) {
      EXPECT_TRUE(seen.insert(entry.attributes.number).second) << entry.name;
      return true;
    }));
  }
  EXPECT_EQ(seen.size(), 100'000U);
  EXPECT_EQ(*seen.rbegin() >> 32U, 0U);
}

TEST(Numbers, AMergedDirectoryHasTheNumberOfTheLayerThatItShows) {
  const auto alone = [](const char* package) { return mount_of(package, "/m", {{"/d/x", "1"}}); };
  std::vector<Mount> one;
  one.push_back(alone("a"));
  std::vector<Mount> two;
  two.push_back(alone("a"));
  two.push_back(mount_of("b", "/m", {{"/d/y", "2"}, {"/e", "3"}}));
  two.push_back(mount_of("c", "/m/d/z", {{"/f", "4"}}));  // a mount below gives it no other number, but is above
  const auto merged = make_union_file_system(std::move(two), {});
  const Numbers numbers = numbers_of(*merged);
  expect_distinct(numbers, 100);
  std::vector<Mount> first;
  first.push_back(alone("a"));
  first.push_back(mount_of("b", "/m", {{"/d/y", "2"}, {"/e", "3"}}));
  const auto unmounted = make_union_file_system(std::move(first), {});
  const auto single = make_union_file_system(std::move(one), {});
  EXPECT_EQ(find_path(*single, "/m/d")->attributes.number, find_path(*unmounted, "/m/d")->attributes.number);
}

TEST(Numbers, LiveEntriesHaveTheHostsNumbersBehindThoseOfThePackages) {
  const test::TempDir dir;
  dir.write("a/f", "1");
  dir.write("a/d/g", "2");
  dir.write("b/h", "3");
  std::filesystem::create_hard_link(dir.path() / "a/f", dir.path() / "a/link");
  const auto container = open(test::fixtures() / "webc/many-v3.webc");
  std::vector<Mount> mounts = mounts_of(container, "/dep");
  const std::uint64_t packages = container->volumes().front()->numbers();
  mounts.push_back(test::live_mount(dir.path() / "a", "/live/a"));
  mounts.push_back(test::live_mount(dir.path() / "b", "/live/b"));
  mounts.push_back(mount_of("dep", "/live/a/d", {{"/package", "4"}}));
  const auto fs = make_union_file_system(std::move(mounts), {});
  Numbers numbers = numbers_of(*fs);
  struct stat file{};
  struct stat other{};
  ASSERT_EQ(::stat((dir.path() / "a/f").c_str(), &file), 0);
  ASSERT_EQ(::stat((dir.path() / "b/h").c_str(), &other), 0);
  EXPECT_EQ(numbers.at("/live/a/f"), numbers.at("/live/a/link")) << "links to one file";
  EXPECT_EQ(numbers.at("/live/a/f") - numbers.at("/live/b/h"), file.st_ino - other.st_ino) << "moved by the same";
  EXPECT_GT(numbers.at("/live/a/f"), file.st_ino + packages);
  EXPECT_LT(numbers.at("/live/a/f"), file.st_ino + packages + 1000);
  numbers.erase("/live/a/link");
  expect_distinct(numbers, std::uint64_t{1} << 48U);
}

}  // namespace
}  // namespace pkgfs::vfs
