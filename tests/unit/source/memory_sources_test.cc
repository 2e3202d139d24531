// SPDX-License-Identifier: MIT
// The sources without files: errors, memory, cache, several at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/source/memory_source.h"
#include "core/source/multi_source.h"
#include "core/source/remembering_source.h"
#include "core/source/source.h"
#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = QueryError::Kind;

PackageSpecifier spec(std::string_view text) { return PackageSpecifier::parse(text); }

PackageSummary package(std::string_view id, std::string_view content = {}) {
  TestPackage made(named_id(id));
  if (!content.empty()) {
    made.hash(content);
  }
  return made.summary();
}

std::string hash_spec(std::string_view content) { return "sha256:" + to_hex(sha256(content)); }

std::vector<std::string> found(Source& source, std::string_view specifier) {
  std::vector<std::string> out;
  for (const PackageSummary& summary : source.query(spec(specifier))) {
    out.push_back(summary.pkg.id.to_string());
  }
  return out;
}

/// The kind of the failure, kOther with any other.
std::optional<Kind> failure(Source& source, std::string_view specifier) {
  try {
    static_cast<void>(source.query(spec(specifier)));
  } catch (const QueryError& error) {
    return error.kind();
  }
  return std::nullopt;
}

class FunctionSource final : public Source {
 public:
  using Function = std::function<std::vector<PackageSummary>(const PackageSpecifier&)>;
  explicit FunctionSource(Function function) : function_(std::move(function)) {}
  std::vector<PackageSummary> query(const PackageSpecifier& specifier) override { return function_(specifier); }

 private:
  Function function_;
};

std::unique_ptr<Source> failing(Kind kind) {
  return std::make_unique<FunctionSource>([kind](const PackageSpecifier& s) -> std::vector<PackageSummary> {
    if (kind == Kind::kOther) {
      throw QueryError(s, Error(ErrorCode::kIo, "no network"));
    }
    throw QueryError(kind, s);
  });
}

std::unique_ptr<Source> holding(const std::vector<std::string>& ids) {
  auto source = std::make_unique<MemorySource>();
  for (const std::string& id : ids) {
    source->add(package(id));
  }
  return source;
}

TEST(QueryError, Texts) {
  const PackageSpecifier s = spec("ns/name@1");
  EXPECT_THAT(QueryError(Kind::kUnsupported, s).chain(),
              ElementsAre("failed to query package 'ns/name@^1': unsupported package specifier"));
  EXPECT_THAT(QueryError(Kind::kNotFound, s).chain(), ElementsAre("failed to query package 'ns/name@^1': not found"));
  EXPECT_THAT(QueryError(s, std::vector<std::string>{}).chain(),
              ElementsAre("failed to query package 'ns/name@^1': the package was found, but no published versions "
                          "matched the constraint"));
  EXPECT_THAT(QueryError(s, std::vector<std::string>{"1.0.0"}).chain(),
              ElementsAre("failed to query package 'ns/name@^1': the only version satisfying the constraint, 1.0.0, is "
                          "archived"));
  EXPECT_THAT(QueryError(s, std::vector<std::string>{"1.0.0", "1.1.0", "1.2.0"}).chain(),
              ElementsAre("failed to query package 'ns/name@^1': unable to satisfy the request - version 1.0.0, and 2 "
                          "are all archived"));
  const QueryError other(s, Error(ErrorCode::kIo, std::vector<std::string>{"outer", "inner"}));
  EXPECT_THAT(other.chain(), ElementsAre("failed to query package 'ns/name@^1': outer", "outer", "inner"));
  EXPECT_EQ(other.code(), ErrorCode::kIo);
  EXPECT_EQ(other.kind(), Kind::kOther);
}

TEST(Latest, NewestByPrecedenceLastOfEquals) {
  const std::vector<PackageSummary> answers = {package("a@1.0.0+b"), package("a@1.0.0+a"), package("a@1.0.0-rc.1")};
  EXPECT_EQ(latest_of(spec("a"), answers).pkg.id.to_string(), "a@1.0.0+a");
  EXPECT_EQ(latest_of(spec(hash_spec("x")), answers).pkg.id.to_string(), "a@1.0.0+b");
  EXPECT_THROW(static_cast<void>(latest_of(spec("a"), {})), QueryError);
}

TEST(Latest, ANamedTagIsWarnedOf) {
  auto source = holding({"a@1.0.0", "a@2.0.0"});
  const CapturedLog log;
  EXPECT_EQ(query_latest(*source, spec("a@stable")).pkg.id.to_string(), "a@2.0.0");
  EXPECT_THAT(log.text(), HasSubstr("a@stable"));
}

TEST(MemorySource, NamesAscending) {
  auto source = holding({"ns/a@2.0.0", "ns/a@1.0.0", "ns/a@10.0.0", "a@3.0.0"});
  EXPECT_THAT(found(*source, "ns/a"), ElementsAre("ns/a@1.0.0", "ns/a@2.0.0", "ns/a@10.0.0"));
  EXPECT_THAT(found(*source, "ns/a@<10"), ElementsAre("ns/a@1.0.0", "ns/a@2.0.0"));
  EXPECT_THAT(found(*source, "ns/a@nightly"), testing::SizeIs(3));
  EXPECT_EQ(failure(*source, "ns/a@11"), Kind::kNoMatches);
  EXPECT_EQ(failure(*source, "ns/b"), Kind::kNotFound);
  EXPECT_EQ(failure(*source, "./x"), Kind::kUnsupported);
  EXPECT_EQ(failure(*source, "https://example.com/x"), Kind::kUnsupported);
}

TEST(MemorySource, TheFirstOfEqualsAndOfEqualHashesWins) {
  MemorySource source;
  source.add(package("a@1.0.0", "first"));
  source.add(package("a@1.0.0", "second"));
  source.add(package("b@1.0.0", "first"));
  source.add({TestPackage(PackageId(PackageHash(sha256("own")))).info(), {}});
  EXPECT_EQ(source.query(spec("a")).front().dist.webc_sha256, sha256("first"));
  EXPECT_THAT(found(source, hash_spec("first")), ElementsAre("a@1.0.0"));
  EXPECT_THAT(found(source, hash_spec("own")), ElementsAre(hash_spec("own")));
  EXPECT_EQ(failure(source, hash_spec("second")), Kind::kNoMatches);
}

TEST(RememberingSource, AsksOnceAndRemembersFailures) {
  int asked = 0;
  FunctionSource inner([&](const PackageSpecifier& s) -> std::vector<PackageSummary> {
    ++asked;
    if (s.named()->name == "none") {
      return {};
    }
    if (s.named()->name == "bad") {
      throw Error(ErrorCode::kCorrupt, "damaged");
    }
    return {package("a@1.0.0")};
  });
  RememberingSource source(inner);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(found(source, "a"), ElementsAre("a@1.0.0"));
    EXPECT_EQ(failure(source, "none"), Kind::kNoMatches);
    EXPECT_EQ(failure(source, "bad"), Kind::kOther);
  }
  EXPECT_EQ(asked, 3);
}

TEST(MultiSource, MergesInOrder) {
  MultiSource source;
  source.add(holding({"a@0.0.2"}));
  source.add(holding({"a@0.0.1"}));
  EXPECT_THAT(found(source, "a"), ElementsAre("a@0.0.1", "a@0.0.2"));
}

TEST(MultiSource, TheEarlierSourceWinsAnId) {
  auto first = std::make_unique<MemorySource>();
  first->add(package("a@1.0.0", "first"));
  auto second = std::make_unique<MemorySource>();
  second->add(package("a@1.0.0", "second"));
  MultiSource source;
  source.add(std::move(first));
  source.add(std::move(second));
  const auto answers = source.query(spec("a"));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].dist.webc_sha256, sha256("first"));
}

TEST(MultiSource, TheMostTellingError) {
  const auto of = [](std::vector<Kind> kinds) {
    MultiSource source;
    for (const Kind kind : kinds) {
      source.add(failing(kind));
    }
    return failure(source, "a");
  };
  EXPECT_EQ(of({}), Kind::kNotFound);
  EXPECT_EQ(of({Kind::kUnsupported, Kind::kUnsupported}), Kind::kUnsupported);
  EXPECT_EQ(of({Kind::kUnsupported, Kind::kNotFound}), Kind::kNotFound);
  EXPECT_EQ(of({Kind::kNoMatches, Kind::kNotFound, Kind::kUnsupported}), Kind::kNoMatches);
  EXPECT_EQ(of({Kind::kNotFound, Kind::kOther, Kind::kNoMatches}), Kind::kOther);
  EXPECT_EQ(of({Kind::kNoMatches, Kind::kUnusable, Kind::kNotFound}), Kind::kUnusable);
}

TEST(MultiSource, AnAnswerSurvivesALaterFailure) {
  MultiSource source;
  source.add(holding({"a@1.0.0"}));
  source.add(failing(Kind::kOther));
  source.add(holding({"a@2.0.0"}));
  const CapturedLog log;
  EXPECT_THAT(found(source, "a"), ElementsAre("a@1.0.0", "a@2.0.0"));
  EXPECT_THAT(log.text(), HasSubstr("no network"));
  EXPECT_EQ(failure(source, "b"), Kind::kOther);
}

TEST(MultiSource, DearSourcesAreAskedLast) {
  int asked = 0;
  MultiSource source;
  source.add(holding({"a@1.0.0"}));
  source.add(std::make_unique<FunctionSource>([&](const PackageSpecifier&) {
               ++asked;
               return std::vector{package("b@1.0.0")};
             }),
             MultiSource::When::kIfNothingFound);
  EXPECT_THAT(found(source, "a"), ElementsAre("a@1.0.0"));
  EXPECT_EQ(asked, 0);
  EXPECT_THAT(found(source, "b"), ElementsAre("b@1.0.0"));
  EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace pkgfs::test
