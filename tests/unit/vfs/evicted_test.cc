// SPDX-License-Identifier: MIT
// Risk: a directory that was evicted shows something else than before, or is merged again in memory without a bound;
// memory is freed while a thread reads it.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "core/vfs/union_file_system.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/asked.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using namespace std::string_literals;

/// The volumes of a container at two nested paths, in little memory.
std::unique_ptr<FileSystem> tree(const std::string& name, std::size_t memory) {
  const auto bytes = test::read_text(test::fixtures() / "webc" / (name + ".webc"));
  const auto container = webc::Container::open(test::blob_of(bytes).source);
  std::vector<Mount> mounts;
  for (const char* path : {"/", "/deep/er"}) {
    for (const auto& volume : container->volumes()) {
      mounts.push_back({.fs = std::make_unique<WebcVolumeFileSystem>(volume),
                        .mount_path = path,
                        .package = "p",
                        .volume = volume->name()});
    }
  }
  mounts.push_back(test::mount_of("", "/deep", {{"/bin/one", "1"}, {"/er/two", "2"}}));
  return make_union_file_system(std::move(mounts), {.memory = memory});
}

class Evicted : public testing::TestWithParam<const char*> {};

TEST_P(Evicted, DirectoriesAreTheSameWhenTheyAreMergedAgain) {
  const test::CapturedLog log;
  const auto roomy = tree(GetParam(), std::size_t{1} << 30U);
  const auto known = ask_everything(*roomy);
  ASSERT_GT(known.size(), 20U);
  for (const std::size_t memory : {std::size_t{1}, std::size_t{5'000}}) {
    const auto fs = tree(GetParam(), memory);
    auto order = ask_everything(*fs);
    ASSERT_EQ(order.size(), known.size());
    for (std::size_t i = 0; i < known.size(); ++i) {
      expect_same(known[i], order[i]);
    }
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    order.resize(std::min<std::size_t>(order.size(), 100));
    for (const Asked& one : order) {
      expect_same(one, ask(*fs, one.inode));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Containers, Evicted, testing::Values("many-v1", "many-v3", "symlinks-v3", "deep-v3"),
                         [](const auto& name) {
                           std::string text = name.param;
                           std::ranges::replace(text, '-', '_');
                           return text;
                         });

TEST(Evicted, LinksThatLeadOutAreToldOnce) {
  const test::CapturedLog log;
  std::vector<Mount> mounts;
  mounts.push_back({.fs = volume(1, 1), .mount_path = "/", .package = "p", .volume = "v"});
  const auto fs = make_union_file_system(std::move(mounts), {.memory = 1});
  for (int i = 0; i < 2; ++i) {
    (void)ask_everything(*fs);
    const std::string text = log.text();
    const std::size_t told = text.find("leads out of its volume");
    EXPECT_NE(told, std::string::npos);
    EXPECT_EQ(told, text.rfind("leads out of its volume"));
  }
}

/// A directory in a directory, `depth` deep, each with `files` files.
std::unique_ptr<FileSystem> deep_volume(int depth, int files) {
  webc::WriterNode root;
  webc::WriterNode* here = &root;
  for (int level = 0; level < depth; ++level) {
    for (int file = 0; file < files; ++file) {
      here->children.push_back({.name = "f" + std::to_string(file), .kind = webc::EntryKind::kFile, .content = "x"s});
    }
    here->children.insert(here->children.begin(), webc::WriterNode{.name = std::string(200, 'd')});
    here = &here->children.front();
  }
  webc::Writer writer(webc::Version::kV3, webc::Json::object());
  writer.add_volume("v", std::move(root));
  const auto container = webc::Container::open(std::make_shared<MemoryBytes>("deep", writer.to_bytes()));
  return std::make_unique<WebcVolumeFileSystem>(container->volumes().front());
}

TEST(Evicted, AChainOfDirectoriesIsMergedAgainInBoundedMemory) {
  const test::CapturedLog log;
  std::vector<Mount> mounts;
  mounts.push_back({.fs = deep_volume(60, 50), .mount_path = "/", .package = "p", .volume = "v"});
  const auto fs = make_union_file_system(std::move(mounts), {.memory = 1});
  const auto known = ask_everything(*fs);
  ASSERT_EQ(known.size(), 60U * 51);
  const Asked& deepest = known[59];
  expect_same(deepest, ask(*fs, deepest.inode));
  EXPECT_EQ(fs->origin(deepest.inode)->path, deepest.path);
}

TEST(Evicted, DirectoriesAreReadByOtherThreadsMeanwhile) {
  const test::CapturedLog log;
  const auto fs = tree("many-v3", 20'000);
  const auto known = ask_everything(*fs);
  std::atomic<bool> ends{false};
  const auto read = [&](unsigned seed) {
    std::mt19937 random(seed);
    while (!ends) {
      const Asked& one = known[random() % known.size()];
      const Result<Attributes> found = fs->metadata(one.inode);
      ASSERT_TRUE(found) << found.error();
      ASSERT_EQ(found->number, one.attributes.number);
      if (one.attributes.type == FileType::kDirectory) {
        (void)fs->read_dir(one.inode, 0, [&](const DirEntry& entry) {
          EXPECT_EQ(fs->lookup(one.inode, entry.name)->inode, entry.inode);
          return true;
        });
      } else {
        EXPECT_EQ(fs->extent(one.inode).value_or(Extent{}).run.offset, one.offset);
      }
    }
  };
  std::vector<std::thread> readers;
  for (unsigned seed = 0; seed < 4; ++seed) {
    readers.emplace_back(read, seed);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  ends = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
}

}  // namespace
}  // namespace pkgfs::vfs
