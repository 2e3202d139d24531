// SPDX-License-Identifier: MIT
// Risk: a directory of a slow disk is read under the lock of the versions, so that requests for statistics wait for it.
#include "daemon/mount/versions.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <utility>

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

TEST(VersionsTest, DirectoriesAreReadWithoutTheLock) {
  const PackageId id = PackageHash(Sha256{});
  auto tree = std::make_unique<SlowTree>();
  SlowTree& slow = *tree;
  OpenedTree opened{.root = nullptr,
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

}  // namespace
}  // namespace pkgfs
