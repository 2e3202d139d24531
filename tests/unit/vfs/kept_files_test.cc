// SPDX-License-Identifier: MIT
// Risk: a program gets the content of another file, or finds no free descriptor because of files that nobody uses.
#include "core/vfs/kept_files.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <span>

#include "core/vfs/live_nodes.h"

namespace pkgfs::vfs {
namespace {

class NoFile final : public OpenFile {
 public:
  [[nodiscard]] Result<std::size_t> read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) override { return 0; }
};

std::shared_ptr<OpenFile> file() { return std::make_shared<NoFile>(); }

struct Node : LiveNode {
  explicit Node(std::uint64_t host_number) {
    first.number = host_number;
    first.generation = 1;
  }
};

std::deque<Node> nodes(std::uint64_t count) {
  std::deque<Node> list;
  for (std::uint64_t i = 0; i < count; ++i) {
    list.emplace_back(i);
  }
  return list;
}

TEST(KeptFiles, AFileIsFoundUntilSomethingChangesOrTimePasses) {
  KeptFiles kept(10);
  const Node node(5);
  const auto one = file();
  EXPECT_EQ(kept.find(node, 3, 100), nullptr);
  EXPECT_TRUE(kept.keep(node, 3, 100, one, 1));
  EXPECT_EQ(kept.find(node, 3, 100), one);
  EXPECT_EQ(kept.find(node, 3, 100 + KeptFiles::kSeconds), one);
  EXPECT_EQ(kept.find(node, 3, 101 + KeptFiles::kSeconds), nullptr);
  EXPECT_EQ(kept.find(node, 4, 100), nullptr);
  EXPECT_TRUE(kept.end_old(3, 100));
  EXPECT_EQ(one.use_count(), 2);
  EXPECT_FALSE(kept.end_old(4, 100));
  EXPECT_EQ(one.use_count(), 1);
}

TEST(KeptFiles, AnotherFileAtTheSameAddressIsNotTheKeptOne) {
  KeptFiles kept(10);
  Node node(5);
  (void)kept.keep(node, 3, 100, file(), 1);
  node.first.number = 6;
  EXPECT_EQ(kept.find(node, 3, 100), nullptr);
  node.first.number = 5;
  node.first.generation = 2;
  EXPECT_EQ(kept.find(node, 3, 100), nullptr);
}

TEST(KeptFiles, TheyLeaveDescriptorsToPrograms) {
  KeptFiles kept(3);
  const auto list = nodes(4);
  EXPECT_TRUE(kept.keep(list[0], 0, 0, file(), 1));
  EXPECT_FALSE(kept.keep(list[1], 0, 0, file(), 1));
  EXPECT_FALSE(kept.keep(list[2], 0, 0, file(), 1));
  EXPECT_NE(kept.find(list[1], 0, 0), nullptr);
  EXPECT_EQ(kept.find(list[2], 0, 0), nullptr) << "programs have one open";
  EXPECT_TRUE(kept.keep(list[2], 0, 0, file(), 2));
  EXPECT_EQ(kept.find(list[0], 0, 0), nullptr) << "programs need them";
  EXPECT_FALSE(kept.keep(list[3], 0, 0, file(), 7));
  EXPECT_EQ(kept.find(list[3], 0, 0), nullptr);
}

TEST(KeptFiles, ManyOldFilesAreClosedInOneCall) {
  KeptFiles kept(100);
  const auto list = nodes(100);
  const auto one = file();
  for (const Node& node : list) {
    (void)kept.keep(node, node.first.number % 4, 0, one, 0);
  }
  EXPECT_EQ(one.use_count(), 101);
  EXPECT_TRUE(kept.end_old(0, 0));
  EXPECT_EQ(one.use_count(), 26);
}

}  // namespace
}  // namespace pkgfs::vfs
