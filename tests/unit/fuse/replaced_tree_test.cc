// SPDX-License-Identifier: MIT
// Risk: after a tree has replaced another one, a notice detaches what is mounted on a directory that didn't change.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/vfs/host_file_system.h"
#include "core/vfs/host_watcher.h"
#include "core/vfs/live_changes.h"
#include "core/vfs/live_overlay_file_system.h"
#include "core/vfs/union_file_system.h"
#include "fuse/adapter.h"
#include "tests/support/fixtures.h"
#include "tests/support/fuse/kernel.h"

namespace pkgfs::fuse {
namespace {

using testing::Contains;
using testing::Not;

/// A host directory. Calls a function after the next look-up of "d".
class HookedHost final : public vfs::FileSystem {
 public:
  HookedHost(const std::filesystem::path& path, std::shared_ptr<std::function<void()>> hook)
      : host_(UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), path.string()),
        hook_(std::move(hook)) {}
  [[nodiscard]] vfs::Inode root() const override { return host_.root(); }
  [[nodiscard]] Result<vfs::Entry> lookup(vfs::Inode dir, std::string_view name) override {
    Result<vfs::Entry> found = host_.lookup(dir, name);
    if (name == "d" && *hook_) {
      std::exchange(*hook_, nullptr)();
    }
    return found;
  }
  [[nodiscard]] Result<vfs::Attributes> metadata(vfs::Inode inode) override { return host_.metadata(inode); }
  [[nodiscard]] Result<void> read_dir(vfs::Inode dir, std::uint64_t from,
                                      FunctionRef<bool(const vfs::DirEntry&)> visit) override {
    return host_.read_dir(dir, from, visit);
  }
  [[nodiscard]] Result<std::string_view> read_link(vfs::Inode inode) override { return host_.read_link(inode); }
  [[nodiscard]] Result<std::unique_ptr<vfs::OpenFile>> open(vfs::Inode inode) override { return host_.open(inode); }
  void forget(vfs::Inode inode, std::uint64_t count) override { host_.forget(inode, count); }

 private:
  vfs::HostFileSystem host_;
  std::shared_ptr<std::function<void()>> hook_;
};

class ReplacedTree : public testing::Test {
 protected:
  ReplacedTree()
      : tree_(make({"one"}, nullptr)), adapter_(*tree_, statistics_, {.usage = [] { return Usage{}; }, .stats = {}}) {
    try {
      kernel_.emplace(adapter_);
      kernel_->use_thread(7);
    } catch (const test::Kernel::Unavailable& error) {
      missing_ = error.what();
    }
  }
  void SetUp() override {
    if (!kernel_) {
      GTEST_SKIP() << missing_;
    }
    tree_->changes()->start(std::make_unique<vfs::HostWatcher>(), [] {});
    ASSERT_NE(tree_->changes()->watcher()->descriptor(), -1) << "no inotify";
  }

  /// A tree that merges these directories of the host. Each has a directory of its name; the first has a "d", too.
  /// `former` is the tree that it will replace; null for the first one.
  [[nodiscard]] std::unique_ptr<vfs::LiveOverlayFileSystem> make(const std::vector<std::string>& names,
                                                                 const vfs::LiveOverlayFileSystem* former) {
    dir_.write("one/d/f", "");
    std::vector<vfs::Mount> mounts;
    for (const std::string& name : names) {
      dir_.write(name + "/" + name + "/f", "");
      const auto hook = name == "one" ? hook_ : std::make_shared<std::function<void()>>();
      mounts.push_back({.fs = std::make_shared<HookedHost>(dir_.path() / name, hook),
                        .mount_path = "/",
                        .package = "live",
                        .volume = name,
                        .live = true,
                        .key = name});
    }
    vfs::OverlayOptions options;
    options.replaceable = true;
    if (former != nullptr) {
      options.first_number = former->next_number();
    }
    auto made = vfs::make_union_file_system(std::move(mounts), options);
    return std::unique_ptr<vfs::LiveOverlayFileSystem>(dynamic_cast<vfs::LiveOverlayFileSystem*>(made.release()));
  }
  /// The names that the kernel is told to drop, at once.
  std::vector<std::string> dropped() {
    std::vector<std::string> names;
    EXPECT_TRUE(tree_->changes()->deliver([&](const vfs::Notice& notice) {
      if (!notice.name.empty() && !notice.expire) {
        names.push_back(notice.name);
      }
    }));
    return names;
  }

  test::TempDir dir_;
  std::shared_ptr<std::function<void()>> hook_ = std::make_shared<std::function<void()>>();
  std::unique_ptr<vfs::LiveOverlayFileSystem> tree_;
  Statistics statistics_;
  Adapter adapter_;
  std::optional<test::Kernel> kernel_;
  std::string missing_;
};

TEST_F(ReplacedTree, ADirectoryThatIsLookedUpMeanwhileIsNotDropped) {
  const std::uint64_t known = kernel_->node(FUSE_ROOT_ID, "d");
  *hook_ = [&] { tree_->replace(*make({"one", "two"}, tree_.get())); };
  EXPECT_EQ(kernel_->node(FUSE_ROOT_ID, "d"), known);
  EXPECT_FALSE(*hook_);
  EXPECT_THAT(dropped(), Not(Contains("d"))) << "what is mounted there would be detached";
  EXPECT_NE(kernel_->node(FUSE_ROOT_ID, "two"), 0U);
}

TEST_F(ReplacedTree, ADirectoryThatGoesMeanwhileIsDropped) {
  *hook_ = [&] {
    tree_->replace(*make({"one", "two"}, tree_.get()));
    // The layer is asked anew for the same request, and then at the look-up that follows the reply.
    *hook_ = [&] { *hook_ = [&] { tree_->replace(*make({"two"}, tree_.get())); }; };
  };
  EXPECT_NE(kernel_->node(FUSE_ROOT_ID, "d"), 0U);
  EXPECT_FALSE(*hook_);
  EXPECT_THAT(dropped(), Contains("d").Times(2)) << "the second notice is about a reply that came too late";
  EXPECT_EQ(kernel_->node(FUSE_ROOT_ID, "d"), 0U);
}

}  // namespace
}  // namespace pkgfs::fuse
