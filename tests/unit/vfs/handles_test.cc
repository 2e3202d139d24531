// SPDX-License-Identifier: MIT
// Risk: an inode that one mount gave means another entry, or none, in the next mount of the same tree, so that file
// handles go stale or lead to wrong files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <thread>

#include "core/vfs/directory_table.h"
#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/container.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::mount_of;

struct Known {
  Inode inode = 0;
  Inode parent = 0;
  Attributes attributes;
  std::string path;
};

std::vector<Known> everything(FileSystem& fs) {
  std::vector<Known> known;
  std::vector<Inode> parents{fs.root()};
  for (TreeWalk walk(fs, fs.root()); walk.next();) {
    const WalkStep& step = walk.step();
    if (step.leaving) {
      parents.pop_back();
    } else if (step.error == 0) {
      known.push_back({step.inode, parents.back(), step.attributes, std::string(step.path)});
      if (step.attributes.type == FileType::kDirectory) {
        parents.push_back(step.inode);
      }
    }
  }
  return known;
}

template <typename T>
int error_of(const Result<T>& result) {
  return result ? 0 : result.error();
}

/// A container's volumes at three nested paths, with commands below and directories above.
std::unique_ptr<FileSystem> tree(const char* name, const std::string& source = "/",
                                 Conflicts conflicts = Conflicts::kMerge) {
  const auto bytes = test::read_text(test::fixtures() / "webc" / (std::string(name) + ".webc"));
  const auto container = webc::Container::open(test::blob_of(bytes).source);
  std::vector<Mount> mounts;
  for (const char* path : {"/", "/deep/er", "/deep"}) {
    for (const auto& volume : container->volumes()) {
      mounts.push_back({.fs = std::make_unique<WebcVolumeFileSystem>(volume),
                        .mount_path = path,
                        .source_path = volume->name() == "metadata" ? "/" : source,
                        .package = "p",
                        .volume = volume->name()});
    }
  }
  Mount commands = mount_of("", "/", {{"/bin/one", "1"}, {"/bin/two", "2"}, {"/deep/er/three", "3"}});
  commands.fallback = true;
  mounts.push_back(std::move(commands));
  return make_union_file_system(std::move(mounts), {.conflicts = conflicts});
}

class Handles : public testing::TestWithParam<const char*> {};

TEST_P(Handles, MeanTheSameInEveryMountOfTheTree) {
  const test::CapturedLog log;
  const auto first = tree(GetParam());
  const auto known = everything(*first);
  ASSERT_GT(known.size(), 10U);
  ASSERT_NE(first->fingerprint(), 0U);
  for (const bool all_in_one : {true, false}) {
    auto order = known;
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    auto second = tree(GetParam());
    ASSERT_EQ(second->fingerprint(), first->fingerprint());
    order.resize(all_in_one ? order.size() : std::min<std::size_t>(order.size(), 30));
    for (const Known& one : order) {
      SCOPED_TRACE(one.path);
      const Result<Attributes> found = second->metadata(one.inode);
      ASSERT_TRUE(found.has_value()) << found.error();
      EXPECT_EQ(found->number, one.attributes.number);
      EXPECT_EQ(found->type, one.attributes.type);
      EXPECT_EQ(found->size, one.attributes.size);
      EXPECT_EQ(second->place(one.inode)->directory, one.parent);
      EXPECT_EQ(find_path(*second, one.path)->inode, one.inode);
      if (!all_in_one) {
        second = tree(GetParam());  // where nothing has been touched
      }
    }
  }
}

TEST_P(Handles, WhatIsNoneIsStale) {
  const test::CapturedLog log;
  const auto known = everything(*tree(GetParam()));
  std::mt19937_64 random(7);
  const auto fs = tree(GetParam());
  for (int i = 0; i < 1000; ++i) {
    const Known& one = known[random() % known.size()];
    const Inode forged = i % 3 == 0   ? random() >> 2U
                         : i % 3 == 1 ? one.inode ^ (Inode{1} << (random() % 62))
                                      : one.inode + (random() % 5000);
    const auto is_it = [&](const Known& other) { return other.inode == forged; };
    const Result<Attributes> found = fs->metadata(forged);
    EXPECT_TRUE(forged == fs->root() || found.has_value() == std::ranges::any_of(known, is_it)) << forged;
    EXPECT_TRUE(found.has_value() || found.error() == ESTALE) << found.error();
    for (const int error : {error_of(fs->lookup(forged, "x")), error_of(fs->extent(forged)),
                            error_of(fs->read_link(forged)), error_of(fs->place(forged))}) {
      EXPECT_TRUE(found.has_value() || error == ESTALE);
    }
  }
  EXPECT_EQ(error_of(fs->metadata(0)), ESTALE);
}

INSTANTIATE_TEST_SUITE_P(Containers, Handles,
                         testing::Values("many-v1", "many-v2", "many-v3", "names-v3", "symlinks-v3", "deep-v1",
                                         "deep-v3", "empties-v2"),
                         [](const auto& name) {
                           std::string text = name.param;
                           std::ranges::replace(text, '-', '_');
                           return text;
                         });

TEST(Fingerprint, TellsTreesApart) {
  const test::CapturedLog log;
  std::set<std::uint64_t> seen;
  for (const char* name : {"many-v1", "many-v2", "many-v3", "names-v3"}) {
    EXPECT_TRUE(seen.insert(tree(name)->fingerprint()).second) << name;
  }
  EXPECT_TRUE(seen.insert(tree("many-v3", "/", Conflicts::kShadow)->fingerprint()).second);
  std::vector<Mount> one;
  one.push_back(mount_of("a", "/m", {{"/x", "1"}}));
  std::vector<Mount> other;
  other.push_back(mount_of("a", "/n", {{"/x", "1"}}));
  EXPECT_NE(make_union_file_system(std::move(one), {})->fingerprint(),
            make_union_file_system(std::move(other), {})->fingerprint());
}

TEST(DirectoryTable, IsReadWhileItGrows) {
  constexpr std::uint64_t kCount = 20'000;
  const auto contents = std::make_unique<OverlayContent[]>(kCount);
  RetiredMemory retired;
  DirectoryTable table(retired, 0);
  std::atomic<std::uint64_t> added{0};
  std::thread reader([&] {
    for (std::uint64_t count = 0; count < kCount;) {
      count = added.load(std::memory_order_acquire);
      const ReadSection reading;
      for (std::uint64_t i = 0; i < count; i += 1 + count / 64) {
        ASSERT_EQ(table.find(i * 31), &contents[i]);
      }
      ASSERT_EQ(table.find(kCount * 31), nullptr);
    }
  });
  for (std::uint64_t i = 0; i < kCount; ++i) {
    table.add(i * 31, &contents[i]);
    retired.free_unread();
    added.store(i + 1, std::memory_order_release);
  }
  reader.join();
}

}  // namespace
}  // namespace pkgfs::vfs
