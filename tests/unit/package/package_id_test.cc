// SPDX-License-Identifier: MIT
#include "core/package/package_id.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

const std::string kDigest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(PackageHash, ParsesEitherCaseOfDigitsAndPrintsLower) {
  std::string upper = kDigest;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c; });
  ASSERT_TRUE(PackageHash::parse("sha256:" + upper));
  EXPECT_EQ(PackageHash::parse("sha256:" + upper)->to_string(), "sha256:" + kDigest);
  EXPECT_EQ(PackageHash::parse("sha256:" + kDigest)->digest(), sha256("abc"));
  EXPECT_FALSE(PackageHash::parse("SHA256:" + kDigest));
  EXPECT_FALSE(PackageHash::parse("sha256:abcd"));
  EXPECT_FALSE(PackageHash::parse("sha256:" + kDigest + "0"));
  EXPECT_FALSE(PackageHash::parse(kDigest));
}

TEST(PackageHash, ComputesOnceAndOnlyWhenAsked) {
  int calls = 0;
  const PackageHash lazy([&calls] {
    ++calls;
    return sha256("abc");
  });
  const PackageHash copy = lazy;
  EXPECT_EQ(copy, lazy);  // the same state: no need to look
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(copy.to_string(), "sha256:" + kDigest);
  EXPECT_EQ(lazy, PackageHash(sha256("abc")));
  EXPECT_EQ(calls, 1);
}

TEST(PackageHash, FailureReachesEveryCallerUntilItWorks) {
  bool broken = true;
  const PackageHash lazy([&broken] {
    if (broken) {
      throw std::runtime_error("disk");
    }
    return sha256("abc");
  });
  EXPECT_THROW((void)lazy.digest(), std::runtime_error);
  broken = false;
  EXPECT_EQ(lazy.digest(), sha256("abc"));
}

TEST(PackageId, HashesComeBeforeNames) {
  const PackageId small = PackageHash(Sha256{});
  const PackageId big = PackageHash(sha256("abc"));
  const PackageId a1 = NamedId{"a", Version::parse("1.0.0")};
  const PackageId a2 = NamedId{"a", Version::parse("2.0.0")};
  const PackageId b1 = NamedId{"b", Version::parse("1.0.0")};
  std::vector<PackageId> ids = {b1, a2, big, a1, small};
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<PackageId>{small, big, a1, a2, b1}));
}

TEST(PackageId, Prints) {
  EXPECT_EQ(PackageId(NamedId{"ns/name", Version::parse("1.2.3-a+b")}).to_string(), "ns/name@1.2.3-a+b");
  EXPECT_EQ(PackageId(PackageHash(sha256("abc"))).to_string(), "sha256:" + kDigest);
}

}  // namespace
}  // namespace pkgfs
