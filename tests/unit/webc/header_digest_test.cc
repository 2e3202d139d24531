// SPDX-License-Identifier: MIT
// Risk: two versions of a container have one number, so that their directories and their files without a hash have
// equal times; or the number depends on more than the container.
#include <gtest/gtest.h>

#include <set>

#include "core/webc/header_digest.h"
#include "core/webc/v1.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc::test {
namespace {

std::uint64_t digest_of(std::string_view bytes, const std::string& name = "x") {
  return header_digest(*Container::open(memory(name, to_bytes(bytes))));
}

std::string bytes_of(const std::string& name) { return pkgfs::test::read_text(pkgfs::test::fixtures() / name); }

TEST(HeaderDigest, DependsOnTheContainerOnly) {
  for (const char* name : {"webc/basic-v1.webc", "webc/basic-v2.webc", "webc/basic-v3.webc"}) {
    EXPECT_EQ(digest_of(bytes_of(name)), digest_of(bytes_of(name), "another name")) << name;
  }
  EXPECT_NE(digest_of(bytes_of("webc/basic-v2.webc")), digest_of(bytes_of("webc/basic-v3.webc")));
  EXPECT_EQ(digest_of(bytes_of("webc/basic-v2.webc")), 6836851944516693044ULL) << "the same on every machine";
}

TEST(HeaderDigest, ChangesWithTheStoredChecksums) {
  std::string v1 = bytes_of("webc/basic-v1.webc");
  const std::uint64_t before = digest_of(v1);
  v1[kV1Checksum] = static_cast<char>(v1[kV1Checksum] ^ 1);
  EXPECT_NE(digest_of(v1), before);

  std::string v3 = bytes_of("webc/basic-v3.webc");
  const Index index = *Container::open(memory("x", to_bytes(v3)))->index();
  for (const IndexEntry& entry : {index.manifest, index.atoms, index.volumes.front().second}) {
    std::string changed = v3;
    const std::size_t at = changed.find(entry.checksum);
    ASSERT_NE(at, std::string::npos);
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_NE(digest_of(changed), digest_of(v3));
  }
}

TEST(HeaderDigest, WithoutAChecksumTheDirectoryDataCount) {
  const std::string bytes = bytes_of("bad/v1-checksum-none.webc");
  std::string renamed = bytes;
  renamed[renamed.rfind("a.txt")] = 'A';
  EXPECT_NE(digest_of(renamed), digest_of(bytes));
  std::string edited = bytes;
  edited.back() = static_cast<char>(edited.back() ^ 1);
  EXPECT_EQ(digest_of(edited), digest_of(bytes)) << "no content is read";
}

TEST(HeaderDigest, OfBytesDependsOnEachOfThemAndOnTheLength) {
  const std::vector<std::byte> zeros(40);
  std::set<std::uint64_t> seen;
  for (std::size_t length = 0; length <= zeros.size(); ++length) {
    EXPECT_TRUE(seen.insert(digest64(0, std::span(zeros).first(length))).second) << length;
  }
  for (std::size_t at = 0; at < zeros.size(); ++at) {
    std::vector<std::byte> changed = zeros;
    changed[at] = std::byte{1};
    EXPECT_TRUE(seen.insert(digest64(0, changed)).second) << at;
  }
}

}  // namespace
}  // namespace pkgfs::webc::test
