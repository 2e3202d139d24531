// SPDX-License-Identifier: MIT
// Risk: a look-up that waits for a registry, and that the kernel sends again, waits twice.
#include "fuse/waiting_lookups.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/vfs/served_file_system.h"
#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::fuse {
namespace {

/// Names of a registry that answers when `finish` is called.
class SlowNames final : public vfs::ServedNames {
 public:
  [[nodiscard]] Meaning meaning_of(const std::string& directory, std::string_view /*name*/) override {
    return {.kind = directory.empty() ? Meaning::Kind::kDirectory : Meaning::Kind::kFoundLink};
  }
  void find(std::uint64_t /*number*/, const std::string& /*path*/, std::shared_ptr<const void> /*recipe*/,
            Done done) override {
    const MutexLock lock(mutex_);
    done_ = std::move(done);
  }
  void give_up(std::uint64_t /*number*/) override {
    const MutexLock lock(mutex_);
    given_up_ = true;
  }
  [[nodiscard]] std::uint64_t progress(std::uint64_t /*number*/) override { return 1; }
  void end_late() override {}
  void list(const std::string& /*directory*/, ListDone done) override { done({}, 0); }

  void finish() {
    Done done;
    {
      const MutexLock lock(mutex_);
      done.swap(done_);
    }
    done({.tree = nullptr, .link = "target", .error = 0, .reason = {}});
  }
  [[nodiscard]] bool is_given_up() const {
    const MutexLock lock(mutex_);
    return given_up_;
  }

 private:
  mutable Mutex mutex_;
  Done done_ PKGFS_GUARDED_BY(mutex_);
  bool given_up_ PKGFS_GUARDED_BY(mutex_) = false;
};

class WaitingLookupsTest : public testing::Test {
 protected:
  void SetUp() override {
    adapter_.emplace(served_, statistics_, AdapterOptions{});
    adapter_->use_served(served_);
    try {
      kernel_.emplace(*adapter_, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &servers_);
    } catch (const test::Kernel::Unavailable&) {
      GTEST_SKIP() << "no session without a device";
    }
    const std::uint64_t directory = kernel_->node(FUSE_ROOT_ID, "acme");
    first_ = kernel_->send(FUSE_LOOKUP, directory, "app", sizeof("app"));
    ASSERT_TRUE(has_received(2));
    again_ = kernel_->send_again();
    ASSERT_TRUE(has_received(3));
    ASSERT_FALSE(names_.is_given_up()) << "the search begins anew";
  }
  /// Waits until server threads are done with so many look-ups: they have been answered, or wait.
  [[nodiscard]] bool has_received(std::uint64_t lookups) const {
    const auto done = [&] { return statistics_.snapshot()[Request::kLookup].answered; };
    for (int i = 0; i < 1000 && done() < lookups; ++i) {
      std::this_thread::sleep_for(10ms);
    }
    return done() == lookups;
  }

  SlowNames names_;
  vfs::ServedFileSystem served_{names_, {}};
  Statistics statistics_;
  const ServerOptions servers_{.threads = 1, .on_duty = 1};
  std::optional<Adapter> adapter_;
  std::optional<test::Kernel> kernel_;
  std::uint64_t first_ = 0;
  std::uint64_t again_ = 0;
};

TEST_F(WaitingLookupsTest, ALookUpThatIsSentAgainTakesThePlaceOfTheFirst) {
  names_.finish();
  const auto reply = kernel_->receive_any(10s);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->first, again_);
  EXPECT_EQ(reply->second.error, 0);
  EXPECT_FALSE(kernel_->receive_any(100ms));
  EXPECT_EQ(kernel_->late_replies(), 0U);
}

TEST_F(WaitingLookupsTest, AnInterruptIsForTheOneThatWaits) {
  EXPECT_TRUE(adapter_->interrupt(again_));
  const auto reply = kernel_->receive_any(10s);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->first, again_);
  EXPECT_EQ(reply->second.error, EINTR);
  EXPECT_FALSE(adapter_->interrupt(first_)) << "it still waits";
  EXPECT_TRUE(names_.is_given_up());
  EXPECT_EQ(kernel_->late_replies(), 0U);
}

}  // namespace
}  // namespace pkgfs::fuse
