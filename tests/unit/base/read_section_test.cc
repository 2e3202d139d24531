// SPDX-License-Identifier: MIT
// Risk: memory is freed while a thread can still read it, or never.
#include "core/base/read_section.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace pkgfs {
namespace {

struct Counted {
  explicit Counted(int& counter) : alive(counter) { ++alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }
  int& alive;
};

TEST(RetiredMemory, IsFreedWhenTheReadersHaveLeft) {
  int alive = 0;
  RetiredMemory retired;
  retired.add(std::make_unique<Counted>(alive));
  retired.free_unread();
  EXPECT_EQ(alive, 0) << "no reader";
  {
    const ReadSection outer;
    {
      const ReadSection inner;
      retired.add(std::make_unique<Counted>(alive));
    }
    retired.free_unread();
    EXPECT_EQ(alive, 1) << "the outer section goes on";
  }
  const ReadSection later;
  retired.free_unread();
  EXPECT_EQ(alive, 0) << "a section that began later can't have it";
  retired.add(std::make_unique<Counted>(alive));
  retired.free_unread();
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(retired.count(), 1U);
}

TEST(RetiredMemory, WaitsForReadersInOtherThreads) {
  int alive = 0;
  RetiredMemory retired;
  std::atomic<int> step{0};
  std::thread reader([&] {
    {
      const ReadSection reading;
      step = 1;
      while (step != 2) {
        std::this_thread::yield();
      }
    }
    step = 3;
  });
  while (step != 1) {
    std::this_thread::yield();
  }
  retired.add(std::make_unique<Counted>(alive));
  retired.free_unread();
  EXPECT_EQ(alive, 1);
  step = 2;
  reader.join();
  retired.free_unread();
  EXPECT_EQ(alive, 0);
}

TEST(RetiredMemory, ReadersNeverSeeWhatIsFreed) {
  struct Value {
    std::uint64_t one = 42;
    ~Value() { one = 0; }
  };
  std::atomic<Value*> shared{new Value};
  std::atomic<bool> ends{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!ends) {
        const ReadSection reading;
        ASSERT_EQ(shared.load(std::memory_order_seq_cst)->one, 42U);
      }
    });
  }
  RetiredMemory retired;
  for (int i = 0; i < 20'000; ++i) {
    retired.add(std::unique_ptr<Value>(shared.exchange(new Value, std::memory_order_seq_cst)));
    retired.free_unread();
  }
  ends = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
  delete shared.load();
}

}  // namespace
}  // namespace pkgfs
