// SPDX-License-Identifier: MIT
#include "core/package/semver.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

bool matches(const std::string& requirement, const std::string& version) {
  return VersionReq::parse(requirement).matches(Version::parse(version));
}

std::string version_error(const std::string& text) {
  try {
    (void)Version::parse(text);
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

std::string requirement_error(const std::string& text) {
  try {
    return "parsed as " + VersionReq::parse(text).to_string();
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(Version, ParsesAndPrintsBack) {
  for (const std::string text : {"0.0.0", "1.2.3", "1.2.3-rc.1", "1.2.3-rc.1+b.007", "1.2.3+007", "1.0.0--",
                                 "18446744073709551615.0.0", "1.0.0-0", "1.0.0-0a"}) {
    EXPECT_EQ(Version::parse(text).to_string(), text);
  }
  const Version version = Version::parse("1.2.3-rc.1+b");
  EXPECT_EQ(version.major, 1U);
  EXPECT_EQ(version.minor, 2U);
  EXPECT_EQ(version.patch, 3U);
  EXPECT_EQ(version.pre, "rc.1");
  EXPECT_EQ(version.build, "b");
}

TEST(Version, SaysWhatIsWrong) {
  EXPECT_EQ(version_error(""), "empty string, expected a semver version");
  EXPECT_EQ(version_error("one"), "unexpected character 'o' while parsing major version number");
  EXPECT_EQ(version_error("v1.0.0"), "unexpected character 'v' while parsing major version number");
  EXPECT_EQ(version_error("1"), "unexpected end of input while parsing major version number");
  EXPECT_EQ(version_error("1.2"), "unexpected end of input while parsing minor version number");
  EXPECT_EQ(version_error("1.2."), "unexpected end of input while parsing patch version number");
  EXPECT_EQ(version_error("1.x.3"), "unexpected character 'x' while parsing minor version number");
  EXPECT_EQ(version_error("1.2.3.4"), "unexpected character '.' after patch version number");
  EXPECT_EQ(version_error("1 .2.3"), "unexpected character ' ' after major version number");
  EXPECT_EQ(version_error("01.2.3"), "invalid leading zero in major version number");
  EXPECT_EQ(version_error("1.2.3-01"), "invalid leading zero in pre-release identifier");
  EXPECT_EQ(version_error("1.2.3-"), "empty identifier segment in pre-release identifier");
  EXPECT_EQ(version_error("1.2.3-a..b"), "empty identifier segment in pre-release identifier");
  EXPECT_EQ(version_error("1.2.3+"), "empty identifier segment in build metadata");
  EXPECT_EQ(version_error("1.2.3-a_b"), "unexpected character '_' after pre-release identifier");
  EXPECT_EQ(version_error("18446744073709551616.0.0"), "value of major version number exceeds u64::MAX");
  EXPECT_EQ(version_error("1.2.3ü"), "unexpected character 'ü' after patch version number");
  EXPECT_EQ(version_error("1.2.3\n"), "unexpected character '\\n' after patch version number");
  EXPECT_EQ(version_error("\x1b"), "unexpected character '\\u{1b}' while parsing major version number");
  EXPECT_FALSE(Version::try_parse("1.2"));
}

TEST(Version, TotalOrder) {
  const std::vector<std::string> ascending = {"1.0.0-1",     "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0-rc.2",
                                              "1.0.0-rc.10", "1.0.0",       "1.0.0+9",       "1.0.0+10",   "1.0.0+a",
                                              "1.0.0+b",     "1.0.1-0",     "1.0.1",         "1.0.10",     "1.2.0-rc",
                                              "1.2.0",       "1.10.0",      "2.0.0"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      const auto order = Version::parse(ascending[i]) <=> Version::parse(ascending[j]);
      EXPECT_TRUE(order == (i <=> j)) << ascending[i] << " against " << ascending[j];
    }
  }
}

TEST(Version, PrecedenceIgnoresBuild) {
  EXPECT_TRUE(compare_precedence(Version::parse("1.0.0+a"), Version::parse("1.0.0+b")) == 0);
  EXPECT_NE(Version::parse("1.0.0+a"), Version::parse("1.0.0+b"));
  EXPECT_NE(Version::parse("1.0.0+0"), Version::parse("1.0.0+00"));
  EXPECT_TRUE(compare_precedence(Version::parse("1.0.0-rc.2"), Version::parse("1.0.0-rc.10")) < 0);
  // Numeric identifiers have no upper bound.
  EXPECT_TRUE(Version::parse("1.0.0-99999999999999999999") < Version::parse("1.0.0-100000000000000000000"));
}

struct Match {
  const char* requirement;
  const char* version;
  bool expected;
};

TEST(VersionReq, Matches) {
  const std::vector<Match> vectors = {
      {"*", "0.0.0", true},
      {"*", "1.2.3-rc.1", false},
      {"0", "0.9.9", true},
      {"0", "1.0.0", false},
      {"0.0", "0.0.9", true},
      {"0.0", "0.1.0", false},
      {"0.0.3", "0.0.4", false},
      {"0.0.3", "0.0.3", true},
      {"0.2.3", "0.2.9", true},
      {"0.2.3", "0.2.2", false},
      {"0.2.3", "0.3.0", false},
      {"1.2.3", "1.3.0", true},
      {"1.2.3", "1.2.2", false},
      {"1.2.3", "2.0.0", false},
      {"1.2.3", "1.2.4-rc.1", false},
      {"1.2.3", "1.2.3-rc.1", false},
      {"1.2", "1.2.0", true},
      {"1.2", "1.1.9", false},
      {"^1.2.3-rc.1", "1.2.3-rc.2", true},
      {"^1.2.3-rc.1", "1.2.3", true},
      {"^1.2.3-rc.1", "1.3.0", true},
      {"^1.2.3-rc.1", "1.3.0-rc.1", false},
      {"^1.2.3-rc.1", "1.2.3-beta", false},
      {"=1.2", "1.2.9", true},
      {"=1.2", "1.3.0", false},
      {"=1.2.3", "1.2.3+b1", true},
      {"=1.2.3", "1.2.3-a", false},
      {"=1.2.3-a", "1.2.3-a", true},
      {">1.2", "1.2.9", false},
      {">1.2", "1.3.0", true},
      {">1", "1.9.9", false},
      {">1", "2.0.0", true},
      {">1.*", "1.9.9", false},
      {">1.2.3", "1.2.4", true},
      {">1.2.3", "1.2.3", false},
      {">=1.2", "1.2.0", true},
      {"<=1.2", "1.2.9", true},
      {"<=1.2", "1.3.0", false},
      {"<1.2", "1.2.0-rc.1", false},
      {"<1.2", "1.1.9", true},
      {"<1.2", "1.2.0", false},
      {"<1.2.3-rc.2", "1.2.3-rc.1", true},
      {"<1.2.3-rc.2", "1.2.2", true},
      {"<1.2.3-rc.2", "1.2.2-rc.1", false},
      {"~1", "1.9.9", true},
      {"~1", "2.0.0", false},
      {"~1.2", "1.2.9", true},
      {"~1.2", "1.3.0", false},
      {"~1.2.3", "1.2.9", true},
      {"~1.2.3", "1.2.2", false},
      {"~1.2.3", "1.3.0", false},
      {"1.*", "1.9.0", true},
      {"1.*", "2.0.0", false},
      {"1.2.*", "1.2.9", true},
      {"1.2.X", "1.3.0", false},
      {">1.1, <1.3", "1.2.0", true},
      {">1.1, <1.3", "1.1.5", false},
      {">=1.0.0-rc.1, <2", "1.0.0-rc.2", true},
      {">=1.0.0-rc.1, <2", "1.0.1-rc.1", false},
      {">=1.0.0-rc.1, <2", "1.5.0", true},
  };
  for (const Match& vector : vectors) {
    EXPECT_EQ(matches(vector.requirement, vector.version), vector.expected)
        << vector.requirement << " against " << vector.version;
  }
}

TEST(VersionReq, PrintsNormalForm) {
  const std::vector<std::pair<std::string, std::string>> spellings = {
      {"*", "*"},           {" x ", "*"},     {"X", "*"},
      {"1", "^1"},          {"1.2", "^1.2"},  {"^1.2.3-a", "^1.2.3-a"},
      {"1.*", "1.*"},       {"1.x", "1.*"},   {"1.2.X", "1.2.*"},
      {"1.*.*", "1.*"},     {">1.*", ">1"},   {"  >=  1 , <2 ", ">=1, <2"},
      {"=1.2.3", "=1.2.3"}, {"~1.2", "~1.2"}, {"<=1.2", "<=1.2"},
      {"1.2.3+b", "^1.2.3"}};
  for (const auto& [text, expected] : spellings) {
    EXPECT_EQ(VersionReq::parse(text).to_string(), expected) << text;
  }
  EXPECT_EQ(VersionReq::exactly(Version::parse("1.2.3-rc.1+b")).to_string(), "=1.2.3-rc.1");
}

TEST(VersionReq, SaysWhatIsWrong) {
  const std::string alone = " must be the only comparator in the version req";
  EXPECT_EQ(requirement_error("*, 1"), "wildcard req (*)" + alone);
  EXPECT_EQ(requirement_error("1, x"), "wildcard req (x)" + alone);
  EXPECT_EQ(requirement_error("* 1"), "unexpected character after wildcard in version req");
  EXPECT_EQ(requirement_error("1.*.3"), "unexpected character after wildcard in version req");
  EXPECT_EQ(requirement_error("^*"), "unexpected character '*' while parsing major version number");
  EXPECT_EQ(requirement_error(">=*"), "unexpected character '*' while parsing major version number");
  EXPECT_EQ(requirement_error("not-a-version"), "unexpected character 'n' while parsing major version number");
  EXPECT_EQ(requirement_error(""), "unexpected end of input while parsing major version number");
  EXPECT_EQ(requirement_error("1,"), "unexpected end of input while parsing major version number");
  EXPECT_EQ(requirement_error("1 || 2"), "expected comma after major version number, found '|'");
  EXPECT_EQ(requirement_error("1.0 - 2.0"), "expected comma after minor version number, found '-'");
  EXPECT_EQ(requirement_error("==1"), "unexpected character '=' while parsing major version number");
  EXPECT_EQ(requirement_error("~>1"), "unexpected character '>' while parsing major version number");
  EXPECT_EQ(requirement_error("01"), "invalid leading zero in major version number");
  EXPECT_EQ(requirement_error("1.2.3.4"), "expected comma after patch version number, found '.'");
  EXPECT_EQ(requirement_error("1.2-rc"), "expected comma after minor version number, found '-'");
  EXPECT_EQ(requirement_error("1. 2"), "unexpected character ' ' while parsing minor version number");
}

TEST(VersionReq, TakesAtMost32Comparators) {
  std::string text = ">0";
  for (int i = 1; i < 32; ++i) {
    text += ",>0";
  }
  EXPECT_EQ(VersionReq::parse(text).comparators().size(), 32U);
  EXPECT_EQ(requirement_error(text + ",>0"), "excessive number of version comparators");
}

TEST(VersionReq, ReportsBuildMetadata) {
  std::string build;
  (void)VersionReq::parse("1.2.3", &build);
  EXPECT_EQ(build, "");
  (void)VersionReq::parse(">1, =1.2.3+b1, =1.2.3+b2", &build);
  EXPECT_EQ(build, "b1");
}

// Risk: a user is sent to the wrong character.
TEST(VersionReq, SaysWhereTheFaultIs) {
  const std::vector<std::pair<std::string, std::size_t>> rows = {
      {"^^1", 1}, {">1 <2", 3}, {"1 || 2", 2}, {">", 1}, {"1.2.", 4}, {"!1", 0}, {"01", 0}, {"1.2.3-a!", 7}};
  for (const auto& [text, at] : rows) {
    VersionReq::Fault fault;
    EXPECT_FALSE(VersionReq::try_parse(text, nullptr, &fault)) << text;
    EXPECT_EQ(fault.at, at) << text;
    EXPECT_EQ(fault.reason, requirement_error(text));
  }
}

TEST(VersionReq, KnowsTheNearestRightForm) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"^^1", "^1"},      {">1 <2", ">1, <2"},      {">1<2", ">1, <2"},
      {"=>1.2", ">=1.2"}, {"==1.2.3", "=1.2.3"},    {"1.2 - 2", ">=1.2, <=2"},
      {">1,", ">1"},      {">=1 && <2", ">=1, <2"}, {"~>1.2", "~1.2"},
      {"^v1.2", "^1.2"},  {">= 1, , <2", ">=1, <2"}};
  for (const auto& [text, wanted] : rows) {
    EXPECT_EQ(VersionReq::nearest(text), wanted) << text;
  }
  for (const char* text : {"", "1 || 2", "!=1", "<>1", "a b", "1 - 2 - 3", "- 1", "^", "\xc3\xa4"}) {
    EXPECT_EQ(VersionReq::nearest(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace pkgfs
