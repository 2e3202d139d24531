// SPDX-License-Identifier: MIT
// Risk: with a full disk, the log is flooded, nothing looks for room again, or the cache is pruned without need.
#include <gtest/gtest.h>

#include <cerrno>

#include "core/lazy/cache_room.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

using Clock = CacheRoom::Clock;

std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

TEST(CacheRoom, SaysOnceThatThereIsNoRoomAndOnceThatThereIs) {
  const CapturedLog log;
  CacheRoom room({});
  EXPECT_FALSE(room.is_out());
  EXPECT_FALSE(room.error());
  const Error full = system_error("Unable to write '/cache/x'", ENOSPC);
  room.tell();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(room.ran_out(full, Clock::now()));
  }
  EXPECT_EQ(log.text(), "") << "a mount that isn't made yet fails with an error of its own";
  for (int i = 0; i < 5; ++i) {
    room.tell();
  }
  EXPECT_TRUE(room.is_out());
  EXPECT_EQ(room.error()->code(), ErrorCode::kFull);
  EXPECT_NE(log.text().find("the cache has no room: "), std::string::npos) << log.text();
  EXPECT_NE(log.text().find("/cache/x"), std::string::npos) << log.text();
  EXPECT_EQ(lines(log.text()), 1U) << log.text();
  room.came_back();
  room.came_back();
  EXPECT_FALSE(room.is_out());
  EXPECT_FALSE(room.error());
  EXPECT_EQ(lines(log.text()), 2U) << log.text();
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(room.ran_out(full, Clock::now()));
    room.tell();
    room.came_back();
  }
  EXPECT_EQ(lines(log.text()), 2U) << "not more often than once a minute\n" << log.text();
}

TEST(CacheRoom, ADiskThatFailsIsNamedAsSuchAndNotPruned) {
  const CapturedLog log;
  CacheRoom room([] {
    ADD_FAILURE() << "it has room";
    return true;
  });
  EXPECT_FALSE(room.ran_out(system_error("Unable to write '/cache/x'", EROFS), Clock::now()));
  EXPECT_TRUE(room.is_out());
  room.tell();
  EXPECT_NE(log.text().find("the cache can't be written: "), std::string::npos) << log.text();
}

TEST(CacheRoom, PrunesOnceForAllWritesThatFailed) {
  int calls = 0;
  bool frees = true;
  CacheRoom room([&] {
    ++calls;
    return frees;
  });
  const Error full = system_error("write", ENOSPC);
  const Clock::time_point begun = Clock::now();
  EXPECT_TRUE(room.ran_out(full, begun));
  EXPECT_TRUE(room.ran_out(full, begun)) << "this write began before";
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(room.is_out());
  frees = false;
  EXPECT_FALSE(room.ran_out(full, Clock::now() + std::chrono::seconds(1)));
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(room.is_out());
}

TEST(CacheRoom, OneLooksForRoomNowAndThen) {
  CacheRoom room({});
  EXPECT_FALSE(room.ran_out(system_error("write", ENOSPC), Clock::now()));
  const Clock::time_point now = Clock::now();
  Clock::time_point again = now + std::chrono::hours(1);
  EXPECT_FALSE(room.begin_look(now, again));
  EXPECT_LE(again, now + CacheRoom::kInterval);
  const Clock::time_point later = now + CacheRoom::kInterval;
  EXPECT_TRUE(room.begin_look(later, again));
  EXPECT_FALSE(room.begin_look(later, again)) << "one does";
  EXPECT_TRUE(room.begin_look(later + CacheRoom::kInterval, again));
}

}  // namespace
}  // namespace pkgfs::test
