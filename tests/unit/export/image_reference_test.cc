// SPDX-License-Identifier: MIT
// Risk: an image gets a name that engines refuse, or none although its package has a good one.
#include <string>

#include <gtest/gtest.h>

#include "core/export/oci_image.h"

namespace pkgfs {
namespace {

std::optional<std::string> reference_of(const std::string& name, const std::string& version = "1.2.3") {
  const std::optional<PackageId> any = PackageId::parse("acme/app@" + version);
  EXPECT_TRUE(any) << version;
  return any ? image_reference(NamedId{.full_name = name, .version = any->named()->version}) : std::nullopt;
}

TEST(ImageReference, IsNameAndVersion) {
  EXPECT_EQ(reference_of("acme/app"), "acme/app:1.2.3");
  EXPECT_EQ(reference_of("acme/app", "1.2.3+build"), "acme/app:1.2.3_build");
  EXPECT_FALSE(image_reference(PackageHash(sha256("abc"))));
  EXPECT_FALSE(reference_of("acme/" + std::string(200, 'a')));
  EXPECT_FALSE(reference_of("acme/app", "1.2.3-" + std::string(128, 'a')));
}

TEST(ImageReference, SeparatorsAreThoseOfTheGrammar) {
  for (const char* name : {"a", "a.b", "a_b", "a__b", "a-b", "a---b", "a1.b2-c3", "a/b/c"}) {
    EXPECT_EQ(reference_of(name), std::string(name) + ":1.2.3");
  }
  for (const char* name : {"A", "-a", "a-", "a.", "_a", "a..b", "a.-b", "a-.b", "a___b", "a_-b"}) {
    EXPECT_EQ(reference_of(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace pkgfs
