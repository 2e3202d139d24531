// SPDX-License-Identifier: MIT
// Risk: a damaged tarball is called sound and serves changed bytes, or a small one fills the disk.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "core/base/limits.h"
#include "core/load/read_tarball.h"
#include "core/load/unpack_limit.h"
#include "tests/support/process.h"
#include "tests/unit/load/gzip_support.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

class TarballDamage : public ::testing::Test {
 protected:
  TarballDamage() {
    for (int i = 0; i < 3; ++i) {
      dir_.write("p/web/file" + std::to_string(i), "the content of " + std::to_string(i));
    }
    dir_.write("p/wasmer.toml", "[fs]\n\"/w\" = \"web\"\n");
    // Without the zeros that fill a tar to 10 KiB, so that few bytes are to be damaged one by one.
    EXPECT_TRUE(run({"tar", "-b1", "--format=ustar", "-C", dir_.path() / "p", "-cf", dir_.path() / "p.tar",
                     "wasmer.toml", "web"})
                    .ok());
    tar_ = read_text(dir_.path() / "p.tar");
  }

  [[nodiscard]] std::string archive() const { return (dir_.path() / "p.tar.gz").string(); }

  /// The error of a tarball with these bytes; "" if it opens.
  [[nodiscard]] std::string error_of(const std::string& bytes, std::optional<std::uint64_t> most = std::nullopt,
                                     bool untrusted = false) {
    dir_.write("p.tar.gz", bytes);
    try {
      (void)open_package(archive(), {.untrusted = untrusted, .max_unpacked = most});
      return "";
    } catch (const Error& error) {
      code_ = error.code();
      EXPECT_THAT(error.what(), HasSubstr("Unable to open the package \"" + archive() + "\""));
      return error.what();
    }
  }

  /// Expects damage, told with these words.
  void expect_damage(const std::string& bytes, const std::string& words) {
    EXPECT_THAT(error_of(bytes), HasSubstr(words));
    EXPECT_EQ(code_, ErrorCode::kCorrupt);
  }

  TempDir dir_;
  std::string tar_;
  ErrorCode code_ = ErrorCode::kInternal;
};

// The bits of the compression are in gzip_stream_test.cc.
TEST_F(TarballDamage, AByteOfAStoredFileCounts) {
  const std::string whole = gzip(tar_, 0);
  EXPECT_EQ(error_of(whole), "");
  for (std::size_t at = 15; at < whole.size(); at += 61) {  // headers and contents of the tar, and what fills it
    SCOPED_TRACE(at);
    std::string bytes = whole;
    bytes[at] ^= 1;
    expect_damage(bytes, "gzip member 1, offset 0x");
  }
}

TEST_F(TarballDamage, TheTrailerIsChecked) {
  std::string bytes = gzip(tar_);
  bytes[bytes.size() - 8] ^= 1;
  expect_damage(bytes, "the unpacked bytes do not match the CRC");
  bytes[bytes.size() - 8] ^= 1;
  bytes[bytes.size() - 1] ^= 1;
  expect_damage(bytes, "the unpacked bytes do not have the stored length");
}

TEST_F(TarballDamage, AFileThatEndsEarlyIsDamagedWhereverItEnds) {
  const std::string whole = gzip(tar_);
  for (std::size_t size = 2; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    expect_damage(whole.substr(0, size), "gzip member 1, offset 0x");
  }
  const std::string stored = gzip(tar_, 0);
  for (std::size_t size = stored.size() - 1; size > 600; size -= 512) {  // where a tar without its end is accepted
    SCOPED_TRACE(size);
    expect_damage(stored.substr(0, size), "gzip member 1, offset 0x");
  }
}

TEST_F(TarballDamage, AllMembersAreChecked) {
  const std::string first = gzip(std::string_view(tar_).substr(0, tar_.size() / 2));
  const std::string second = gzip(std::string_view(tar_).substr(tar_.size() / 2));
  EXPECT_EQ(error_of(first + second), "");
  EXPECT_EQ(error_of(first + gzip("") + second), "");
  for (std::size_t at = 0; at < 8; ++at) {
    std::string bytes = first + second;
    bytes[bytes.size() - 1 - at] ^= 16;
    expect_damage(bytes, "gzip member 2, offset 0x");
    bytes = first + second;
    bytes[first.size() - 1 - at] ^= 16;
    expect_damage(bytes, "gzip member 1, offset 0x");
  }
  for (const std::size_t size : {first.size() + 1, first.size() + 15, first.size() + second.size() - 1}) {
    expect_damage((first + second).substr(0, size), "gzip member 2, offset 0x");
  }
  std::string unneeded = gzip(tar_) + gzip("behind the end of the tar");
  EXPECT_EQ(error_of(unneeded), "");
  unneeded.back() ^= 1;
  expect_damage(unneeded, "gzip member 2, offset 0x");
}

TEST_F(TarballDamage, WhatFollowsIsJudgedAsGzipDoes) {
  const std::string whole = gzip(tar_);
  const std::string zeros(512, '\0');
  for (const std::string& tail : {std::string(), zeros, std::string(1, '\0'), std::string("garbage"), zeros + "x",
                                  zeros + whole, std::string("\x1f"), std::string("\x1f\x8b"), std::string("\n"),
                                  gzip("more"), gzip("more") + zeros, gzip("more") + "\n"}) {
    const std::string error = error_of(whole + tail);
    EXPECT_EQ(run({"gzip", "-t", archive()}).ok(), error.empty()) << error << " behind " << tail.size() << " bytes";
    EXPECT_TRUE(error.empty() || code_ == ErrorCode::kCorrupt) << error;
  }
  expect_damage(whole + "garbage", "7 bytes follow that are neither a gzip member nor zeros");
}

TEST_F(TarballDamage, IsToldInsteadOfWhatFollowsFromIt) {
  write_tarball(archive(), {{.name = "wasmer.toml", .content = "[fs]\n\"/w\" = \"web\"\n"},
                            {.name = "web/x", .content = "x"},
                            {.name = "web/h", .type = 'h', .target = "web/gone"}});
  std::string bytes = read_text(archive());
  expect_damage(bytes, "the entry \"web/h\": No such file or directory");
  bytes[bytes.size() - 5] ^= 1;
  expect_damage(bytes, "the unpacked bytes do not match the CRC");
}

TEST_F(TarballDamage, ABombIsRefusedSoon) {
  const std::string zeros = gzip(std::string(32U << 20U, '\0'));
  std::string bomb = gzip(std::string_view(tar_).substr(0, tar_.size() - 1024));
  for (int i = 0; i < 300; ++i) {  // ten gigabytes in ten megabytes
    bomb += zeros;
  }
  const std::clock_t made = std::clock();
  EXPECT_THAT(error_of(bomb), HasSubstr("as in a decompression bomb; --max-unpacked=SIZE allows more"));
  EXPECT_EQ(code_, ErrorCode::kUnsupported);
  EXPECT_LT(std::clock() - made, 2 * CLOCKS_PER_SEC) << "of CPU time; half a second without a debugger's checks";
}

TEST_F(TarballDamage, ABeginningOfZerosIsNoBomb) {
  std::string noise(1U << 20U, '\0');
  std::minstd_rand random(1);
  for (char& byte : noise) {
    byte = static_cast<char>(random() >> 8U);
  }
  write_tarball(archive(), {{.name = "web/disk", .content = std::string(limits::kUnpackedFreely + 1, '\0')},
                            {.name = "web/noise", .content = noise}});
  EXPECT_NO_THROW((void)read_tarball(*MappedFile::open(archive())));
}

TEST_F(TarballDamage, AFileThatCantBeReadIsNoDamagedArchive) {
  const auto lost = MappedFile::open(dir_.write("p.tar.gz", gzip(tar_)));
  std::filesystem::resize_file(archive(), 0);
  try {
    (void)read_tarball(*lost);
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "\"" + archive() + "\": Input/output error");
  }
}

TEST_F(TarballDamage, HolesAndHardLinksCountToo) {
  std::filesystem::resize_file(dir_.write("p/web/hole", ""), std::uintmax_t{1} << 40U);
  ASSERT_TRUE(run({"tar", "-C", dir_.path() / "p", "-czSf", archive(), "wasmer.toml", "web"}).ok());
  EXPECT_THAT(error_of(read_text(archive())),
              HasSubstr("it holds more than 8589934592 bytes when unpacked, the limit for local packages"));
  EXPECT_THAT(error_of(read_text(archive()), {}, true),
              HasSubstr("it holds more than 2147483648 bytes when unpacked, the limit for packages of strangers"));
  std::filesystem::resize_file(dir_.path() / "p/web/hole", std::uintmax_t{1} << 30U);
  ASSERT_TRUE(run({"tar", "-C", dir_.path() / "p", "-czSf", archive(), "wasmer.toml", "web"}).ok());
  EXPECT_THAT(error_of(read_text(archive())), HasSubstr("as in a decompression bomb"));

  std::vector<TarEntry> entries{{.name = "wasmer.toml", .content = "[fs]\n\"/w\" = \"web\"\n"},
                                {.name = "web/x", .content = std::string(1U << 20U, 'x')}};
  for (int i = 0; i < 200; ++i) {
    entries.push_back({.name = "web/" + std::to_string(i), .type = 'h', .target = "web/x"});
  }
  write_tarball(archive(), entries);
  EXPECT_THAT(error_of(read_text(archive())), HasSubstr("as in a decompression bomb"));
}

TEST_F(TarballDamage, AFileThatIsMappedOftenCountsEachTime) {
  std::string toml = "[fs]\n";
  std::vector<TarEntry> entries{{}, {.name = "web/x", .content = std::string(2U << 20U, 'x')}};
  for (std::size_t i = 0; i < 100; ++i) {
    const std::string number = std::to_string(i);
    toml += "\"/w" + number + "\" = \"l" + number + "\"\n";
    entries.push_back({.name = "l" + number, .type = 'l', .target = "web"});
  }
  entries.front() = {.name = "wasmer.toml", .content = toml};
  write_tarball(archive(), entries);
  EXPECT_THAT(error_of(read_text(archive())), HasSubstr("when packed, over 100 times its size"));
}

TEST_F(TarballDamage, TheLimitOfTheUserReplacesTheOthers) {
  dir_.write("p/web/zeros", std::string(3U << 20U, '\0'));
  ASSERT_TRUE(run({"tar", "-C", dir_.path() / "p", "-czf", archive(), "wasmer.toml", "web"}).ok());
  const std::string bytes = read_text(archive());
  EXPECT_EQ(error_of(bytes), "");
  EXPECT_THAT(error_of(bytes, 2U << 20U), HasSubstr("it holds more than 2097152 bytes when unpacked"));
  EXPECT_EQ(code_, ErrorCode::kUnsupported);
  EXPECT_EQ(error_of(bytes, 4U << 20U), "");

  EXPECT_NO_THROW(UnpackLimit().check_entries(1'000'000));
  EXPECT_NO_THROW(UnpackLimit({}, limits::kStranger).check_entries(200'000));
  EXPECT_THROW(UnpackLimit({}, limits::kStranger).check_entries(200'001), Error);

  const auto allows = [](const UnpackLimit& limit, std::uint64_t unpacked, std::uint64_t packed) {
    try {
      limit.check(unpacked, packed, "unpacked");
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  const std::uint64_t free = limits::kUnpackedFreely;
  EXPECT_TRUE(allows(UnpackLimit(), free, 1)) << "zeros shrink to a thousandth";
  EXPECT_FALSE(allows(UnpackLimit(), free + 100, 1));
  EXPECT_TRUE(allows(UnpackLimit(), 10 * free, 10 * free / limits::kUnpackedRatio));
  EXPECT_FALSE(allows(UnpackLimit(), limits::kTarballBytes + 1, limits::kTarballBytes));
  EXPECT_TRUE(allows(UnpackLimit(100 * free), 100 * free, 1));
  EXPECT_FALSE(allows(UnpackLimit(UINT64_MAX), UINT64_MAX, 1));
}

}  // namespace
}  // namespace pkgfs::test
