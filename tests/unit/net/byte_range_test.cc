// SPDX-License-Identifier: MIT
// Risk: a range that isn't the one that was asked for is put into a file.
#include "core/net/byte_range.h"

#include <gtest/gtest.h>

#include "core/net/download_effort.h"

namespace pkgfs::test {
namespace {

TEST(ContentRange, IsParsedOrRefused) {
  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5U);
  EXPECT_EQ(range->last, 9U);
  EXPECT_EQ(range->total, 10U);
  EXPECT_EQ(parse_content_range("bytes 0-0/*")->total, std::nullopt);
  for (const char* text :
       {"", "bytes", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10", "bytes 5-9/x", "bytes 5-9/", "bytes -9/10",
        "bytes */10", "bits 5-9/10", "bytes 5-99999999999999999999/*", "bytes 5/9-10", "bytes 5-9/10 "}) {
    EXPECT_FALSE(parse_content_range(text)) << text;
  }
}

TEST(UnsatisfiedRange, IsParsedOrRefused) {
  EXPECT_EQ(parse_unsatisfied_range("bytes */10"), 10U);
  for (const char* text :
       {"", "bytes", "bytes */", "bytes */*", "bytes 5-9/10", "bytes */x", "bits */10", "bytes */1 "}) {
    EXPECT_FALSE(parse_unsatisfied_range(text)) << text;
  }
}

TEST(DownloadEffort, OnlyBytesBeyondTheFurthestAreProgress) {
  DownloadEffort effort(100);
  effort.expect(1600);
  EXPECT_FALSE(effort.has_progressed(100));
  EXPECT_FALSE(effort.has_progressed(199)) << "less than a sixteenth";
  EXPECT_TRUE(effort.has_progressed(200)) << "pieces add up";
  EXPECT_FALSE(effort.has_progressed(0));
  EXPECT_FALSE(effort.has_progressed(200)) << "the same bytes once more";
  EXPECT_TRUE(effort.has_progressed(1600));
}

TEST(DownloadEffort, LargeFilesNeedLargePieces) {
  DownloadEffort effort(0);
  EXPECT_FALSE(effort.has_progressed(65'535)) << "of unknown size";
  effort.expect(1ULL << 34U);
  EXPECT_FALSE(effort.has_progressed(65'535));
  EXPECT_TRUE(effort.has_progressed(65'536));
}

TEST(DownloadEffort, TwiceTheSizeIsTheMost) {
  DownloadEffort effort(0);
  EXPECT_TRUE(effort.spend(1'000'000)) << "the size isn't known";
  effort.expect(600'000);
  EXPECT_TRUE(effort.spend(200'000));
  EXPECT_FALSE(effort.spend(2));
}

TEST(DownloadEffort, AnOldSizeDoesNotLimitAnUnknownOne) {
  DownloadEffort effort(0);
  effort.expect(100);
  EXPECT_TRUE(effort.spend(90));
  EXPECT_TRUE(effort.restart());
  effort.expect(std::nullopt);
  EXPECT_TRUE(effort.spend(1'000'000));
  EXPECT_FALSE(effort.has_progressed(1000)) << "a step is that of an unknown size";
  effort.expect(1000);
  EXPECT_FALSE(effort.spend(1)) << "as soon as there is a size, it counts";
}

TEST(DownloadEffort, TwoRestartsAreTheMost) {
  DownloadEffort effort(0);
  EXPECT_TRUE(effort.restart());
  EXPECT_TRUE(effort.restart());
  EXPECT_FALSE(effort.restart());
}

}  // namespace
}  // namespace pkgfs::test
