// SPDX-License-Identifier: MIT
// Risk: a directory of a slow disk is read under the lock of the versions, so that requests for statistics wait for it.
#include "daemon/mount/versions.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace pkgfs {
namespace {

/// An empty tree that calls a function when a directory is read.
class SlowTree final : public vfs::FileSystem {
 public:
  std::function<void()> on_read = [] {};

  [[nodiscard]] vfs::Inode root() const override { return 1; }
  [[nodiscard]] Result<vfs::Entry> lookup(vfs::Inode /*dir*/, std::string_view /*name*/) override {
    return fail(ENOENT);
  }
  [[nodiscard]] Result<vfs::Attributes> metadata(vfs::Inode /*inode*/) override { return fail(ENOENT); }
  [[nodiscard]] Result<void> read_dir(vfs::Inode /*dir*/, std::uint64_t /*from*/,
                                      FunctionRef<bool(const vfs::DirEntry&)> /*visit*/) override {
    on_read();
    return {};
  }
  [[nodiscard]] Result<std::string_view> read_link(vfs::Inode /*inode*/) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<vfs::OpenFile>> open(vfs::Inode /*inode*/) override { return fail(ENOENT); }
  [[nodiscard]] bool is_immutable() const override { return true; }
};

OpenedTree opened_with(std::unique_ptr<vfs::FileSystem> tree) {
  const PackageId id = PackageHash(Sha256{});
  return OpenedTree{.root = nullptr,
                    .resolution = {.graph = {},
                                   .order = {},
                                   .package = {.root = id, .commands = {}, .entrypoint = {}, .filesystem = {}}},
                    .tree = {.id = id,
                             .package_ids = {},
                             .webc_version = 3,
                             .entrypoint = std::nullopt,
                             .commands = {},
                             .mappings = {},
                             .packages = {},
                             .file_system = std::move(tree),
                             .command_errors = {}}};
}

TEST(VersionsTest, DirectoriesAreReadWithoutTheLock) {
  auto tree = std::make_unique<SlowTree>();
  SlowTree& slow = *tree;
  OpenedTree opened = opened_with(std::move(tree));
  Versions versions(opened, true, std::nullopt);
  int reads = 0;
  std::future<std::size_t> count;
  slow.on_read = [&] {
    ++reads;
    count = std::async(std::launch::async, [&] { return versions.count(); });
    EXPECT_EQ(count.wait_for(std::chrono::seconds(5)), std::future_status::ready) << "another thread has to wait";
  };
  EXPECT_TRUE(versions.names(0).empty());
  EXPECT_TRUE(versions.all_names().empty());
  EXPECT_EQ(reads, 2);
}

TEST(VersionsTest, ThereAreNoMoreThan255OlderOnes) {
  OpenedTree first = opened_with(std::make_unique<SlowTree>());
  Versions versions(first, true, std::nullopt);
  std::uint64_t last = 0;
  for (std::size_t i = 1; i < vfs::GenerationCounts::kSlots; ++i) {
    last = versions.add(opened_with(std::make_unique<SlowTree>()), std::to_string(i));
    versions.show(last);
    versions.generations()->hold(vfs::Generations::inode_of(last, 2));  // a program has a file open
  }
  try {
    (void)versions.add(opened_with(std::make_unique<SlowTree>()), "one more");
    ADD_FAILURE() << "more versions than inodes can tell apart";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.message().find("255 older versions are open"), 0U) << error.message();
  }
  EXPECT_EQ(versions.count(), vfs::GenerationCounts::kSlots);
  // A hole is used again once the program has let go.
  const vfs::Inode inode = vfs::Generations::inode_of(7, 2);
  EXPECT_TRUE(versions.unused(0).empty() || versions.unused(0) == std::vector<std::uint64_t>{0});
  versions.generations()->forget(inode, 1);
  versions.hide(7);
  EXPECT_FALSE(versions.close(7));
  const std::uint64_t next = versions.add(opened_with(std::make_unique<SlowTree>()), "next");
  EXPECT_EQ(vfs::Generations::slot_of(next), vfs::Generations::slot_of(7));
  versions.show(last);
}

}  // namespace
}  // namespace pkgfs
