// SPDX-License-Identifier: MIT
// Risk: a successor takes half a record for a whole one, or a daemon can't note what it must.
#include "fuse/kept_records.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <random>
#include <string>

#include "core/base/error.h"
#include "tests/unit/fuse/successor_fixture.h"

namespace pkgfs::fuse {
namespace {

using All = std::map<std::uint64_t, std::string>;

All all_of(const KeptRecords& records) {
  All all;
  records.visit([&](std::uint64_t key, std::string_view bytes, std::uint64_t) { all.emplace(key, bytes); });
  return all;
}

KeptRecords next_of(const KeptRecords& records) { return KeptRecords::adopt(copy_of(records.fd())); }

TEST(KeptRecords, OutliveTheDaemonThatIsKilledAtAnyMoment) {
  KeptRecords records = KeptRecords::create();
  ASSERT_TRUE(records.put(1, "first"));
  for (int round = 0; round < 20; ++round) {
    const bool lived = live_and_die([&] {
      std::atomic<std::uint64_t>& done = records.counter(0);
      for (int i = 0; done < 50U + static_cast<unsigned>(round) * 37U; ++i) {
        const std::uint64_t key = static_cast<std::uint64_t>(i % 7) + 2;
        (void)records.put(key, std::string(static_cast<std::size_t>(i) * 31 % 2000, static_cast<char>('a' + key)));
        if (i % 5 == 0) {
          records.erase(key);
        }
        ++done;
      }
    });
    ASSERT_TRUE(lived);
    records.counter(0) = 0;
    const KeptRecords next = next_of(records);
    const All all = all_of(next);
    EXPECT_EQ(all.at(1), "first");
    for (const auto& [key, text] : all) {
      EXPECT_EQ(text, key == 1 ? "first" : std::string(text.size(), static_cast<char>('a' + key))) << key;
    }
    ASSERT_FALSE(::testing::Test::HasFailure());
    records.~KeptRecords();
    new (&records) KeptRecords(next_of(next));
  }
}

TEST(KeptRecords, HaveACountThatStays) {
  KeptRecords records = KeptRecords::create();
  const auto count_of_one = [](const KeptRecords& from) {
    std::uint64_t found = 99;
    from.visit([&](std::uint64_t, std::string_view, std::uint64_t count) { found = count; });
    return found;
  };
  records.set_count(1, 5);
  ASSERT_TRUE(records.put(1, "first"));
  EXPECT_EQ(count_of_one(records), 0U);
  records.set_count(1, 5);
  ASSERT_TRUE(records.put(1, "second"));
  EXPECT_EQ(count_of_one(records), 5U);
  EXPECT_EQ(count_of_one(next_of(records)), 5U);
  records.erase(1);
  ASSERT_TRUE(records.put(1, "third"));
  EXPECT_EQ(count_of_one(records), 0U);
}

TEST(KeptRecords, AreReplacedErasedAndReuseTheirRoom) {
  KeptRecords records = KeptRecords::create();
  const std::string large(KeptRecords::kMostBytes, 'x');
  for (int i = 0; i < 200; ++i) {  // more than there is room for at once
    EXPECT_TRUE(records.put(5, large));
  }
  EXPECT_FALSE(records.put(5, large + "x"));
  EXPECT_TRUE(all_of(records).empty()) << "what was there before isn't right any more";
  EXPECT_TRUE(records.put(6, ""));
  records.erase(7);
  EXPECT_EQ(all_of(next_of(records)), (All{{6, ""}}));
  std::uint64_t count = 0;
  while (records.put(100 + count, large)) {
    ++count;
  }
  EXPECT_EQ(count, KeptRecords::kBlocks * KeptRecords::kBlockBytes / KeptRecords::kMostBytes);
  records.erase(100);
  KeptRecords next = next_of(records);
  EXPECT_EQ(all_of(next).size(), count);
  EXPECT_TRUE(next.put(1, large)) << "the room of the erased one";
  EXPECT_FALSE(next.put(2, large));
}

TEST(KeptRecords, AMemoryOfRandomBytesIsNoDanger) {
  struct stat status{};
  KeptRecords records = KeptRecords::create();
  for (std::uint64_t key = 1; key < 100; ++key) {
    ASSERT_TRUE(records.put(key, std::string(static_cast<std::size_t>(key) * 9, 'r')));
  }
  ASSERT_EQ(::fstat(records.fd(), &status), 0);
  const auto bytes = static_cast<std::size_t>(status.st_size);
  auto* const memory = static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, records.fd(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  std::mt19937 random(7);               // NOLINT: the same each time
  constexpr std::size_t kBegin = 4096;  // the header would be refused as a whole
  const std::size_t end = std::min<std::size_t>(bytes, 1'100'000);
  for (int i = 0; i < 30'000; ++i) {
    memory[kBegin + random() % (end - kBegin)] = static_cast<char>(random());
  }
  ::munmap(memory, bytes);
  KeptRecords next = next_of(records);
  for (const auto& [key, text] : all_of(next)) {
    EXPECT_EQ(text, std::string(static_cast<std::size_t>(key) * 9, 'r')) << key;
  }
  for (std::uint64_t key = 1; key < 300; ++key) {
    EXPECT_TRUE(next.put(key, "new"));
  }
  EXPECT_EQ(all_of(next_of(next)).at(299), "new");
}

TEST(KeptRecords, OtherFilesAreRefused) {
  UniqueFd file(::memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_THROW((void)KeptRecords::adopt(std::move(file)), Error);
  SharedState state = SharedState::create();
  EXPECT_THROW((void)KeptRecords::adopt(copy_of(state.fd())), Error);
}

}  // namespace
}  // namespace pkgfs::fuse
