// SPDX-License-Identifier: MIT
// Risk: an error of a call on the daemon's main thread ends the daemon and its mount, or a call that is never made is
// waited for.
#include "daemon/mount/call_elsewhere.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <thread>

#include "core/base/error.h"

namespace pkgfs {
namespace {

TEST(CallElsewhereTest, ThrowsHereAndNotThere) {
  const std::atomic<bool> stopping{false};
  std::jthread other;
  const auto post = [&](std::function<void()> task) {
    other = std::jthread([task = std::move(task)] { EXPECT_NO_THROW(task()); });
  };
  std::thread::id where;
  call_elsewhere(post, [&] { where = std::this_thread::get_id(); }, stopping);
  EXPECT_NE(where, std::this_thread::get_id());
  EXPECT_THROW(call_elsewhere(post, [] { throw Error(ErrorCode::kBusy, "busy"); }, stopping), Error);
  EXPECT_THROW(call_elsewhere(post, [] { throw std::bad_alloc(); }, stopping), std::bad_alloc);
}

TEST(CallElsewhereTest, ACallThatIsNeverMadeEndsWithTheMount) {
  const std::atomic<bool> stopping{true};
  bool called = false;
  std::function<void()> kept;
  EXPECT_THROW(
      call_elsewhere([&](std::function<void()> task) { kept = std::move(task); }, [&] { called = true; }, stopping),
      Error);
  kept();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace pkgfs
