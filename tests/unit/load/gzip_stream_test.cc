// SPDX-License-Identifier: MIT
// Risk: damage that the checksums of gzip show is not noticed.
#include "core/load/gzip_stream.h"

#include <gmock/gmock.h>

#include "core/base/error.h"
#include "tests/unit/load/gzip_support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

/// The text in `packed`, or the error.
std::string unpacked(const std::string& packed) {
  std::string text;
  try {
    GzipStream stream(std::as_bytes(std::span(packed)));
    for (auto piece = stream.next(); !piece.empty(); piece = stream.next()) {
      text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    EXPECT_EQ(stream.position(), packed.size());
    EXPECT_EQ(stream.unpacked(), text.size());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.what();
  }
  return text;
}

/// Text that compresses to some hundred bytes.
std::string sample() {
  std::string text;
  for (int i = 0; i < 120; ++i) {
    text += "line " + std::to_string(i * i) + " of the sample\n";
  }
  return text;
}

TEST(GzipStream, UnpacksWhatGzipPacked) {
  const std::string large(3'000'000, 'x');
  EXPECT_EQ(unpacked(gzip(sample())), sample());
  EXPECT_EQ(unpacked(gzip(sample(), 0)), sample());
  EXPECT_EQ(unpacked(gzip("")), "");
  EXPECT_EQ(unpacked(gzip(large)), large);
  EXPECT_EQ(unpacked(gzip(large, 0) + gzip("") + gzip("end")), large + "end");
}

TEST(GzipStream, EveryBitCounts) {
  for (const int level : {0, 9}) {
    const std::string whole = gzip(sample(), level);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1U << bit));
        const bool is_note = (at >= 4 && at < 10) || (at == 3 && bit == 0);  // time, hints, system, "is text"
        // Bits that fill up a byte have no meaning: behind the header of a stored block, and behind the last block.
        const bool may_fill = level == 0 ? at == 10 && bit >= 3 : at == whole.size() - 9;
        const std::string text = unpacked(bytes);
        if (is_note || (may_fill && text == sample())) {
          EXPECT_EQ(text, sample()) << at;
        } else {
          EXPECT_THAT(text, HasSubstr("offset 0x")) << "byte " << at << " bit " << bit << " level " << level;
        }
      }
    }
  }
}

TEST(GzipStream, AFileThatEndsEarlyIsDamagedWhereverItEnds) {
  for (const std::string& whole : {gzip(sample()), gzip(sample(), 0)}) {
    for (std::size_t size = 1; size < whole.size(); ++size) {
      EXPECT_THAT(unpacked(whole.substr(0, size)), HasSubstr("gzip member 1, offset 0x")) << size;
    }
    for (std::size_t size = 1; size < whole.size(); ++size) {
      EXPECT_THAT(unpacked(whole + whole.substr(0, size)), HasSubstr("gzip member 2, offset 0x")) << size;
    }
  }
}

TEST(GzipStream, OnlyZerosMayFollow) {
  const std::string whole = gzip(sample());
  const std::string zeros(512, '\0');
  EXPECT_EQ(unpacked(whole + zeros), sample());
  EXPECT_EQ(unpacked(whole + std::string(1, '\0')), sample());
  const std::string place = "bytes follow that are neither a gzip member nor zeros";
  EXPECT_THAT(unpacked(whole + "garbage"), HasSubstr("7 " + place));
  EXPECT_THAT(unpacked(whole + zeros + "x"), HasSubstr("513 " + place));
  EXPECT_THAT(unpacked(whole + zeros + whole), HasSubstr(place));
  EXPECT_THAT(unpacked("plain text"), HasSubstr("offset 0x0: 10 " + place));
  EXPECT_THAT(unpacked(zeros), HasSubstr(place));
}

}  // namespace
}  // namespace pkgfs::test
