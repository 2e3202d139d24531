// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/vfs/static_file_system.h"
#include "fuse/adapter.h"
#include "fuse/servers.h"
#include "tests/support/fuse/gate.h"
#include "tests/support/fuse/kernel.h"

namespace pkgfs::fuse {

using namespace std::chrono_literals;

/// Bytes on a slow disk: a read waits at `gate`.
class SlowBytes final : public ByteSource {
 public:
  explicit SlowBytes(const Statistics& statistics) : statistics_(statistics) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] bool read_at_once(const ByteRun& /*run*/, std::uint64_t /*from*/,
                                  std::span<std::byte> /*out*/) const override {
    return false;
  }
  [[nodiscard]] Result<void> read(std::uint64_t /*offset*/, std::span<std::byte> out) const override {
    relieved_before = statistics_.snapshot().relieved;
    ++reads;
    gate.pass();
    std::ranges::fill(out, std::byte{0});
    return {};
  }

  mutable test::Gate gate;
  mutable std::atomic<std::uint64_t> relieved_before{0};
  mutable std::atomic<unsigned> reads{0};

 private:
  const Statistics& statistics_;
  std::string name_ = "disk";
  std::vector<std::byte> bytes_ = std::vector<std::byte>(4096);
};

/// The files "slow" and "file". Asking for attributes may hang, which the layer above can't know beforehand.
class Tree final : public vfs::FileSystem {
 public:
  explicit Tree(const std::shared_ptr<SlowBytes>& disk)
      : tree_({{.path = "/slow", .content = {disk, 0, 4096}},
               {.path = "/file", .content = {std::make_shared<MemoryBytes>("x", std::vector<std::byte>(1)), 0, 1}}}) {}

  vfs::Inode root() const override { return tree_.root(); }
  Result<vfs::Entry> lookup(vfs::Inode dir, std::string_view name) override { return tree_.lookup(dir, name); }
  Result<vfs::Attributes> metadata(vfs::Inode inode) override {
    {
      const MutexLock lock(mutex_);
      threads_.insert(std::this_thread::get_id());
    }
    std::this_thread::sleep_for(delay.load());
    gate.pass();
    return tree_.metadata(inode);
  }
  Result<void> read_dir(vfs::Inode dir, std::uint64_t from, FunctionRef<bool(const vfs::DirEntry&)> visit) override {
    return tree_.read_dir(dir, from, visit);
  }
  Result<std::string_view> read_link(vfs::Inode inode) override { return tree_.read_link(inode); }
  Result<std::unique_ptr<vfs::OpenFile>> open(vfs::Inode inode) override { return tree_.open(inode); }
  Result<vfs::Extent> extent(vfs::Inode inode) override { return tree_.extent(inode); }
  bool is_immutable() const override { return true; }

  /// Threads that answered requests for attributes.
  std::size_t threads() {
    const MutexLock lock(mutex_);
    return threads_.size();
  }

  test::Gate gate;
  std::atomic<std::chrono::microseconds> delay{0us};

 private:
  vfs::StaticFileSystem tree_;
  Mutex mutex_;
  std::set<std::thread::id> threads_ PKGFS_GUARDED_BY(mutex_);
};

inline std::size_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

class ServersTest : public testing::Test {
 protected:
  ~ServersTest() override {
    disk_->gate.open();
    tree_.gate.open();
  }

  /// False: this libfuse can't be tested without a mount.
  bool start(const ServerOptions& options) {
    try {
      kernel_.emplace(adapter_, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &options);
    } catch (const test::Kernel::Unavailable&) {
      return false;
    }
    slow_ = kernel_->node(FUSE_ROOT_ID, "slow");
    file_ = kernel_->node(FUSE_ROOT_ID, "file");
    return true;
  }

  std::uint64_t send_read(std::uint64_t node) {
    fuse_read_in read{};
    read.size = 100;
    return kernel_->send(FUSE_READ, node, &read, sizeof(read));
  }
  std::uint64_t send_getattr(std::uint64_t node) {
    const fuse_getattr_in getattr{};
    return kernel_->send(FUSE_GETATTR, node, &getattr, sizeof(getattr));
  }
  std::uint64_t send_interrupt(std::uint64_t request) {
    fuse_interrupt_in interrupt{};
    interrupt.unique = request;
    return kernel_->send(FUSE_INTERRUPT, 0, &interrupt, sizeof(interrupt));
  }
  std::uint64_t send_lookup(const std::string& name) {
    return kernel_->send(FUSE_LOOKUP, FUSE_ROOT_ID, name.c_str(), name.size() + 1);
  }
  /// The request that is answered next; 0: none within some time.
  std::uint64_t next_answered(std::chrono::milliseconds patience = 10s) {
    const auto reply = kernel_->receive_any(patience);
    return reply ? reply->first : 0;
  }
  std::uint64_t relieved() { return statistics_.snapshot().relieved; }

  Statistics statistics_;
  std::shared_ptr<SlowBytes> disk_ = std::make_shared<SlowBytes>(statistics_);
  Tree tree_{disk_};
  Adapter adapter_{tree_, statistics_, {}};
  std::optional<test::Kernel> kernel_;
  std::uint64_t slow_ = 0;
  std::uint64_t file_ = 0;
};

}  // namespace pkgfs::fuse
