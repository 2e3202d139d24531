// SPDX-License-Identifier: MIT
// Risk: a profile of accesses that is damaged or written by a stranger makes a mount fetch what isn't there, or without
// a limit; or what readers needed is lost, stays for ever, or is fetched in too many requests.
#include "core/lazy/access_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/lazy/access_recorder.h"
#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ranges = AccessProfile::Ranges;

constexpr std::uint64_t kMostOfProfile = AccessProfile::kMostBlocks;
constexpr std::uint64_t kLargeContainer = 5 * kMostOfProfile * kBlock;  // bytes

AccessProfile sample_profile() {
  return {.size = kSize, .opening = {{0, 2}, {90, 1}}, .mounts = {Ranges{{10, 3}, {5, 1}}, Ranges{}, Ranges{{50, 2}}}};
}

/// `text` with the checksum that belongs to it.
std::string with_sum(const std::string& text) { return text + " " + to_hex(sha256(text)).substr(0, 8); }

/// Why `text` is refused; "" if it isn't.
std::string profile_refusal(const std::string& text) {
  try {
    (void)AccessProfile::parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.message();
  }
  return {};
}

TEST(AccessProfileTest, IsTheSameAfterItWasWrittenAndRead) {
  const std::string text = sample_profile().text();
  EXPECT_THAT(text, ::testing::StartsWith("2 63c18 0+2,5a a+3,5 - 32+2 "));
  EXPECT_EQ(AccessProfile::parse(text), sample_profile());
  EXPECT_EQ(AccessProfile::parse(AccessProfile{}.text()), AccessProfile{});
}

TEST(AccessProfileTest, TheLargestOneIsShortEnough) {
  AccessProfile profile{.size = SparseFile::kMostBytes, .opening = {}, .mounts = {}};
  const std::uint64_t last = SparseFile::kMostBytes / kBlock - 1;
  for (std::uint64_t i = 0; i < kMostOfProfile; ++i) {
    profile.opening.push_back({last - 4 * i, 1});
    profile.mounts.at(i % AccessProfile::kMounts).push_back({last - 4 * i - 2, 1});
  }
  const std::string text = profile.text();
  EXPECT_LE(text.size(), AccessProfile::kMostText);
  EXPECT_EQ(AccessProfile::parse(text), profile);
}

TEST(AccessProfileTest, AnyChangedByteIsRefused) {
  const std::string good = sample_profile().text();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == '1' ? '2' : '1';
    EXPECT_NE(profile_refusal(bad), "") << bad;
    EXPECT_NE(profile_refusal(good.substr(0, i)), "") << i;
  }
  EXPECT_NE(profile_refusal(good + "\n"), "");
}

TEST(AccessProfileTest, HostileTextsAreRefused) {
  const std::string most = std::string("0+4000");  // kMostOfProfile blocks
  ASSERT_EQ(profile_refusal(with_sum("2 100000000 " + most + " 4000+4000 - -")), "");
  const std::vector<std::pair<std::string, std::string>> cases{
      {"1 63c18 - - - -", "version"},  // with blocks of 64 KiB
      {"3 63c18 - - - -", "version"},
      {"2 63c18 64 - - -", "outside"},  // the file has 0x64 blocks
      {"2 63c18 - 63+2 - -", "outside"},
      {"2 63c18 - 10+ffffffffffffffff - -", "outside"},
      {"2 63c18 - 5+0 - -", "outside"},
      {"2 63c18 - 1ffffffffffffffff - -", "number"},
      {"2 63c18 - 5,,6 - -", "number"},
      {"2 63c18 - -5 - -", "number"},
      {"2 63c18 - 0x5 - -", "number"},
      {"2 63c18 5 5 - -", "twice"},
      {"2 63c18 - 5+3 - 7", "twice"},
      {"2 63c18 - 05 - -", "writes it"},
      {"2 63c18 - 5+1 - -", "writes it"},
      {"2 63c18 - A - -", "writes it"},
      {"2 63c18 - 5, - -", "writes it"},
      {"2 63c18 - - -", "writes it"},
      {"2 63c18 - - - - -", "writes it"},
      {"2 63c18 - - - - ", "writes it"},
      {"2 10000000001 - - - -", "too large"},
      {"2 100000000 0+4001 - - -", "too many"},
      {"2 100000000 - 0+2000 3000+2000 6000", "too many"},
      {"2 63c18 " + std::string(AccessProfile::kMostText, '5') + " - - -", "too long"},
  };
  for (const auto& [text, why] : cases) {
    EXPECT_THAT(profile_refusal(with_sum(text)), HasSubstr(why)) << text.substr(0, 100);
  }
  EXPECT_THAT(profile_refusal(""), HasSubstr("checksum"));
}

/// In units of 64 KiB: a gap of one is fetched with the ranges beside it, and a request has at most 16.
class RequestsTest : public LazyDirectory {
 protected:
  static constexpr std::uint64_t kUnit = SparseFile::blocks_in(64U << 10U);
  static BlockRange blocks_of_units(BlockRange units) { return {units.first * kUnit, units.count * kUnit}; }
  [[nodiscard]] Ranges requests(const Ranges& units) const {
    Ranges wanted;
    for (const BlockRange& range : units) {
      wanted.push_back(blocks_of_units(range));
    }
    Ranges found = requests_for(wanted, *file_);
    for (BlockRange& range : found) {
      EXPECT_EQ(range.first % kUnit + range.count % kUnit, 0U);
      range = {range.first / kUnit, range.count / kUnit};
    }
    return found;
  }
  void have(BlockRange units) const { file_->mark_present(blocks_of_units(units)); }

  std::shared_ptr<SparseFile> file_ = SparseFile::open(directory_, "large", {"\"etag\"", kBlocks* kUnit* kBlock});
};

TEST_F(RequestsTest, FollowTheOrderOfTheReadersAndJoinNeighbours) {
  have({20, 10});
  EXPECT_THAT(requests({{90, 1}, {5, 2}, {7, 1}, {9, 1}, {60, 1}, {63, 1}}),
              ElementsAre(BlockRange{90, 1}, BlockRange{5, 5}, BlockRange{60, 1}, BlockRange{63, 1}));
  EXPECT_THAT(requests({{22, 3}}), IsEmpty());
  // What is here is neither fetched with a gap nor in a range.
  EXPECT_THAT(requests({{18, 14}}), ElementsAre(BlockRange{18, 2}, BlockRange{30, 2}));
  have({70, 1});
  EXPECT_THAT(requests({{69, 1}, {71, 1}}), ElementsAre(BlockRange{69, 1}, BlockRange{71, 1}));
}

TEST_F(RequestsTest, JoinOnlyOverShortGaps) {
  EXPECT_THAT(requests_for({{0, 1}, {kUnit + 1, 1}}, *file_), ElementsAre(BlockRange{0, kUnit + 2}));
  EXPECT_THAT(requests_for({{0, 1}, {kUnit + 2, 1}}, *file_), ElementsAre(BlockRange{0, 1}, BlockRange{kUnit + 2, 1}));
}

TEST_F(RequestsTest, AreShortAndInsideOfTheFile) {
  EXPECT_THAT(requests({{50, 40}, {90, 200}, {kBlocks, 5}}),
              ElementsAre(BlockRange{50, 16}, BlockRange{66, 16}, BlockRange{82, 16}, BlockRange{98, 2}));
  // A gap in front of a full request isn't fetched.
  EXPECT_THAT(requests({{0, 16}, {17, 1}}), ElementsAre(BlockRange{0, 16}, BlockRange{17, 1}));
  // Every block that is wanted is in one request.
  Ranges scattered;
  for (std::uint64_t i = 0; i < kBlocks; i += 2) {
    scattered.push_back({(i * 7) % kBlocks, 1});
  }
  std::vector<int> times(kBlocks);
  for (const BlockRange& request : requests(scattered)) {
    EXPECT_LE(request.count, 16U);
    for (std::uint64_t unit = request.first; unit < request.end(); ++unit) {
      ++times.at(unit);
    }
  }
  for (const BlockRange& range : scattered) {
    EXPECT_EQ(times.at(range.first), 1) << range.first;
  }
}

TEST(AccessRecorderTest, RecordsEachBlockOnceInTheOrderOfTheFirstNeed) {
  AccessRecorder recorder(kSize, {});
  recorder.note({0, 2});
  recorder.note({98, 7});  // behind the end
  EXPECT_FALSE(recorder.take_changed()) << "no reader has read";
  EXPECT_FALSE(recorder.due());
  recorder.begin_reading();
  recorder.note({50, 2});
  recorder.note({1, 3});
  recorder.note({52, 1});
  recorder.note({49, 4});
  recorder.note({0, 0});
  EXPECT_TRUE(recorder.due());
  const auto profile = recorder.take_changed();
  ASSERT_TRUE(profile);
  EXPECT_EQ(profile->size, kSize);
  EXPECT_THAT(profile->opening, ElementsAre(BlockRange{0, 2}, BlockRange{98, 2}));
  EXPECT_THAT(profile->mounts[0],
              ElementsAre(BlockRange{50, 2}, BlockRange{2, 2}, BlockRange{52, 1}, BlockRange{49, 1}));
  EXPECT_EQ(AccessProfile::parse(profile->text()), *profile);

  EXPECT_FALSE(recorder.take_changed());
  recorder.note({50, 1});
  EXPECT_FALSE(recorder.take_changed()) << "nothing new";
  recorder.note({60, 1});
  EXPECT_EQ(recorder.take_changed()->mounts[0].size(), 5U);
}

TEST(AccessRecorderTest, KeepsWhatWasUnusedForTwoMounts) {
  AccessProfile profile{.size = kSize, .opening = {{3, 1}}, .mounts = {Ranges{{10, 4}}, Ranges{}, Ranges{}}};
  const auto next = [&](BlockRange read) {
    AccessRecorder recorder(kSize, profile);
    recorder.note({0, 1});
    recorder.begin_reading();
    recorder.note(read);
    profile = recorder.take_changed().value_or(AccessProfile{});
    EXPECT_EQ(AccessProfile::parse(profile.text()), profile);
  };
  next({12, 1});
  EXPECT_THAT(profile.opening, ElementsAre(BlockRange{0, 1}));
  EXPECT_THAT(profile.mounts, ElementsAre(Ranges{{12, 1}}, Ranges{{10, 2}, {13, 1}}, Ranges{}));
  next({40, 1});
  EXPECT_THAT(profile.mounts, ElementsAre(Ranges{{40, 1}}, Ranges{{12, 1}}, Ranges{{10, 2}, {13, 1}}));
  next({40, 1});
  EXPECT_THAT(profile.mounts, ElementsAre(Ranges{{40, 1}}, Ranges{}, Ranges{{12, 1}}));
}

TEST(AccessRecorderTest, IsBounded) {
  AccessProfile before{.size = kLargeContainer,
                       .opening = {},
                       .mounts = {Ranges{{4 * kMostOfProfile, kMostOfProfile}}, Ranges{}, Ranges{}}};
  AccessRecorder recorder(kLargeContainer, before);
  recorder.note({0, kMostOfProfile + 10});
  recorder.begin_reading();
  recorder.note({2 * kMostOfProfile, kMostOfProfile - 5});
  const auto nearly = recorder.take_changed();
  EXPECT_THAT(nearly->mounts[1], ElementsAre(BlockRange{4 * kMostOfProfile, 5})) << "the first ones have room";
  recorder.note({2 * kMostOfProfile, kMostOfProfile + 100});
  recorder.note({3 * kMostOfProfile + 200, 1});
  const auto full = recorder.take_changed();
  EXPECT_THAT(full->opening, ElementsAre(BlockRange{0, kMostOfProfile}));
  EXPECT_THAT(full->mounts, ElementsAre(Ranges{{2 * kMostOfProfile, kMostOfProfile}}, Ranges{}, Ranges{}));
  EXPECT_EQ(AccessProfile::parse(full->text()), *full);
  recorder.note({3 * kMostOfProfile + 300, 1});
  EXPECT_FALSE(recorder.take_changed());
}

TEST(AccessRecorderTest, ManyThreadsRecordEachBlockOnce) {
  AccessRecorder recorder(kLargeContainer, {});
  recorder.begin_reading();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t block = 0; block < kMostOfProfile; ++block) {
        recorder.note({block, 2});
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const auto profile = recorder.take_changed();
  ASSERT_TRUE(profile);
  EXPECT_EQ(AccessProfile::parse(profile->text()), *profile);
}

}  // namespace
}  // namespace pkgfs::test
