// SPDX-License-Identifier: MIT
#include "daemon/serve/name_syntax.h"

#include <string>

#include <gtest/gtest.h>

namespace pkgfs::test {
namespace {

using Kind = NameSyntax::Kind;

TEST(NameSyntax, TellsVersionsFromRequirements) {
  for (const std::string exact : {"1.2.3", "0.0.1", "1.2.3-beta.1", "1.2.3+build.7"}) {
    const NameSyntax syntax = syntax_of("acme", "app@" + exact);
    EXPECT_EQ(syntax.kind, Kind::kExact) << exact;
    EXPECT_EQ(syntax.specifier, "acme/app@=" + exact);
    EXPECT_EQ(syntax.full_name, "acme/app");
  }
  for (const std::string wanted : {"1", "1.2", "^1.2.3", "=1.2.3", ">=1, <2", "*", "latest", "nightly"}) {
    const NameSyntax syntax = syntax_of("acme", "app@" + wanted);
    EXPECT_EQ(syntax.kind, Kind::kRequirement) << wanted;
    EXPECT_EQ(syntax.specifier, "acme/app@" + wanted);
  }
  EXPECT_EQ(syntax_of("acme", "app").specifier, "acme/app@*");
  EXPECT_EQ(syntax_of("", "solo@1.0.0").specifier, "solo@=1.0.0");
  EXPECT_EQ(syntax_of("", "solo").kind, Kind::kNamespace);
}

TEST(NameSyntax, RefusesWhatProgramsProbe) {
  for (const std::string name : {".git", ".hidden", ".Trash-1000", "", "@", "app@", "@1.0.0", "app@1.2.3.4", "app@v1.2",
                                 "a\nb", "a\"b@1", "a@b@c@"}) {
    EXPECT_EQ(syntax_of("acme", name).kind, Kind::kNothing) << name;
  }
  for (const std::string name : {"libc.so", "libc.so.6", "autorun.inf", "desktop.ini", "a b", "x~", "_x", "-x"}) {
    EXPECT_FALSE(syntax_of("acme", name).is_plain && syntax_of("acme", name).kind != Kind::kNothing) << name;
    EXPECT_FALSE(syntax_of("", name).is_plain && syntax_of("", name).kind != Kind::kNothing) << name;
  }
  EXPECT_TRUE(syntax_of("acme", "my-tool_2").is_plain);
  for (const std::string name : {"node_modules", "HEAD", "commondir", "CVS", "RCS", "SCCS", "Makefile", "objects"}) {
    EXPECT_FALSE(syntax_of("acme", name).is_plain) << name;
  }
  EXPECT_TRUE(syntax_of("acme", "config@*").is_plain) << "a program that looks for files names no version";
  EXPECT_FALSE(syntax_of("", "node_modules").is_plain);
  EXPECT_FALSE(syntax_of("node_modules", "left-pad").is_plain);
  EXPECT_TRUE(syntax_of("info", "app").is_plain) << "a namespace may have such a name";
}

TEST(NameSyntax, KnowsTheOtherDirectories) {
  const std::string hash(64, 'a');
  EXPECT_EQ(syntax_of("", "sha256").kind, Kind::kHashes);
  EXPECT_EQ(syntax_of("sha256", hash).specifier, "sha256:" + hash);
  EXPECT_EQ(syntax_of("sha256", std::string(64, 'A')).kind, Kind::kNothing) << "one spelling only";
  EXPECT_EQ(syntax_of("sha256", hash + "a").kind, Kind::kNothing);
  EXPECT_EQ(syntax_of("", "locked").kind, Kind::kLocked);
  EXPECT_EQ(syntax_of("", ".locks").kind, Kind::kLocks);
  EXPECT_EQ(syntax_of("locked", "prod").specifier, "prod");
  EXPECT_EQ(syntax_of("locked", ".prod").kind, Kind::kNothing);
}

}  // namespace
}  // namespace pkgfs::test
