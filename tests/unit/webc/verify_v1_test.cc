// SPDX-License-Identifier: MIT
// Risk: version 1 has no hashes of files and often no checksum, so a damaged table can hide whole directories unseen.
#include <gtest/gtest.h>

#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

using test::u64;

std::string leb(std::uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7U) {
    text += static_cast<char>(value | 0x80U);
  }
  return text + static_cast<char>(value);
}

/// `kind` is 0 for a directory and 1 for a file.
std::string record(const std::string& name, std::uint64_t kind, std::uint64_t start, std::uint64_t end) {
  return u64(name.size() | (kind << 56U)) + u64(start) + u64(end) + name;
}

std::string table(const std::string& records) { return u64(records.size()) + records; }

/// What `verify` finds in a container without a checksum whose volume "atom" has `header` and three bytes of data.
std::vector<std::string> problems_of(const std::string& header) {
  const std::string volume = leb(header.size()) + header + "abc";
  std::string bytes("\0webc001----------------", 24);
  bytes.resize(1308, '\0');
  bytes += leb(1) + "\xa0" + leb(1) + std::string(1, '\0') + leb(4) + "atom" + leb(volume.size()) + volume;
  const auto container = Container::open(test::memory("x.webc", test::to_bytes(bytes)));
  return verify(*container, VerifyDepth::kStructure);
}

constexpr std::uint64_t kRoot = 8 + 2 * 25;  // bytes of the root's table

std::string root(std::uint64_t kind, std::uint64_t start, std::uint64_t end) {
  return table(record("d", kind, start, end) + record("f", 1, 0, 3));
}

TEST(VerifyV1, TablesFillTheHeader) {
  const std::string below = table(record("x", 1, 0, 1));
  const std::uint64_t end = kRoot + below.size();
  using Problems = std::vector<std::string>;
  EXPECT_EQ(problems_of(root(0, kRoot, end) + below), Problems{});
  EXPECT_EQ(problems_of(""), Problems{});
  EXPECT_EQ(problems_of(table("")), Problems{});

  EXPECT_EQ(problems_of(root(0, kRoot, end) + below + "tail"),
            Problems{"x.webc: volume \"atom\", header offset 0x5b: no directory has the bytes up to 0x5f"})
      << "behind the last table";
  EXPECT_EQ(problems_of(root(0, kRoot + 4, end + 4) + "hole" + below),
            Problems{"x.webc: volume \"atom\", header offset 0x3a: no directory has the bytes up to 0x3e"})
      << "between tables";
  EXPECT_EQ(problems_of(root(1, 0, 1) + below),
            Problems{"x.webc: volume \"atom\", header offset 0x3a: no directory has the bytes up to 0x5b"})
      << "a byte changed, and the directory is a file";
  EXPECT_EQ(problems_of(root(0, 7, 7) + below).size(), 1U) << "or it is empty";
}

TEST(VerifyV1, OneDamagedRecordIsOneProblem) {
  const std::string below = table(record("x", 1, 0, 1));
  EXPECT_EQ(problems_of(root(7, kRoot, kRoot + below.size()) + below).size(), 1U);
}

}  // namespace
}  // namespace pkgfs::webc
