// SPDX-License-Identifier: MIT
// Risk: a read that waits for a server is answered twice, can't be interrupted, or holds a version of the package.
#include "fuse/waiting_reads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::fuse {
namespace {

/// Bytes that are at a server until `arrive`.
class RemoteBytes final : public ByteSource {
 public:
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] bool read_at_once(const ByteRun& /*run*/, std::uint64_t /*from*/,
                                  std::span<std::byte> /*out*/) const override {
    return false;
  }
  [[nodiscard]] Result<void> read(std::uint64_t /*offset*/, std::span<std::byte> out) const override {
    std::ranges::fill(out, std::byte{0});
    return {};
  }
  [[nodiscard]] bool is_here(const ByteRun& /*run*/, std::uint64_t /*from*/, std::uint64_t /*count*/) const override {
    return false;
  }
  void when_here(const ByteRun& /*run*/, std::uint64_t /*from*/, std::uint64_t /*count*/, Arrival then) const override {
    const MutexLock lock(mutex_);
    waiting_.push_back(std::move(then));
  }
  [[nodiscard]] bool wait_until_asked(std::size_t times) const {
    for (int i = 0; i < 1000; ++i) {
      {
        const MutexLock lock(mutex_);
        if (waiting_.size() >= times) {
          return true;
        }
      }
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  void arrive() const {
    const MutexLock lock(mutex_);
    for (const Arrival& then : waiting_) {
      then(0);
    }
  }

 private:
  std::string name_ = "server";
  std::vector<std::byte> bytes_ = std::vector<std::byte>(4096);
  mutable Mutex mutex_;
  mutable std::vector<Arrival> waiting_ PKGFS_GUARDED_BY(mutex_);
};

TEST(WaitingReads, AReadThatIsSentAgainTakesThePlaceOfTheFirst) {
  const auto server = std::make_shared<RemoteBytes>();
  vfs::StaticFileSystem tree({{.path = "/remote", .content = {server, 0, 4096}}});
  Statistics statistics;
  Adapter adapter(tree, statistics, {});
  const ServerOptions servers{.threads = 1, .on_duty = 1};
  std::optional<test::Kernel> kernel;
  try {
    kernel.emplace(adapter, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &servers);
  } catch (const test::Kernel::Unavailable&) {
    GTEST_SKIP() << "no session without a device";
  }
  fuse_read_in read{};
  read.size = 100;
  const std::uint64_t first = kernel->send(FUSE_READ, kernel->node(FUSE_ROOT_ID, "remote"), &read, sizeof(read));
  ASSERT_TRUE(server->wait_until_asked(1));
  const std::uint64_t again = kernel->send_again();
  ASSERT_TRUE(server->wait_until_asked(2));
  EXPECT_TRUE(adapter.interrupt(again));
  const auto reply = kernel->receive_any(10s);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->first, again);
  EXPECT_EQ(reply->second.error, EINTR);
  EXPECT_FALSE(adapter.interrupt(first)) << "it still waits";
  server->arrive();
  EXPECT_FALSE(kernel->receive_any(100ms));
  EXPECT_EQ(kernel->late_replies(), 0U);
}

}  // namespace
}  // namespace pkgfs::fuse
