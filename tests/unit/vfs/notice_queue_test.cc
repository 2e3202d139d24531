// SPDX-License-Identifier: MIT
// Risk: many notices of one kind leave no room for the only notice of a later change.
#include "core/vfs/notice_queue.h"

#include <gtest/gtest.h>

namespace pkgfs::vfs {
namespace {

TEST(NoticeQueue, TheNoticesThatTellEverythingTakeNoRoomFromChanges) {
  NoticeQueue queue;
  for (int i = 0; i < 5; ++i) {
    queue.add({.inode = 2, .name = "everything"});
  }
  EXPECT_TRUE(queue.add_below(2, 4, "one"));
  EXPECT_TRUE(queue.add_below(2, 4, "two"));
  EXPECT_FALSE(queue.add_below(2, 4, "three"));
  EXPECT_EQ(queue.take().size(), 7U);
  EXPECT_TRUE(queue.add_below(2, 4, "three"));
}

}  // namespace
}  // namespace pkgfs::vfs
