// SPDX-License-Identifier: MIT
// The requests to a registry, its replies, and their cache, without a network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>

#include "core/base/age_text.h"
#include "core/base/cancel.h"
#include "core/base/printable.h"
#include "core/net/registry_token.h"
#include "core/source/endpoint.h"
#include "core/source/graphql.h"
#include "core/source/registry_answer_cache.h"
#include "core/webc/json_fields.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using webc::Json;

TEST(Endpoint, FollowsWasmersRules) {
  EXPECT_EQ(graphql_endpoint("wasmer.io"), kDefaultRegistry);
  EXPECT_EQ(graphql_endpoint("localhost:1234"), "http://localhost:1234/graphql");
  EXPECT_EQ(graphql_endpoint("127.0.0.1:1234"), "http://127.0.0.1:1234/graphql");
  EXPECT_EQ(graphql_endpoint("a.localhost"), "http://a.localhost/graphql");
  for (const std::string name : {"localhost.example.com", "notlocalhost", "my-localhost.example:80"}) {
    EXPECT_EQ(graphql_endpoint(name), "https://registry." + name + "/graphql") << "Wasmer sends tokens there";
  }
  EXPECT_EQ(graphql_endpoint("https://r.example"), "https://r.example/graphql");
  EXPECT_EQ(graphql_endpoint("https://r.example/"), "https://r.example/graphql");
  EXPECT_EQ(graphql_endpoint("https://r.example/api"), "https://r.example/api");
  for (const char* text : {"", "a/b", "ftp://x", "a b", "user@host", "localhost:80x"}) {
    EXPECT_THROW(static_cast<void>(graphql_endpoint(text)), Error) << text;
  }
}

TEST(Endpoint, NamesItsCacheDirectoryAndWhoMaySeeTheToken) {
  EXPECT_EQ(endpoint_directory(kDefaultRegistry), "https___wasmer.io_graphql");
  EXPECT_EQ(endpoint_directory("http://a:1/x?y=z&w#v%20\\"), "http___a_1_x_y_z_w_v_20_");
  const std::vector<RegistryToken> tokens{{std::string(kDefaultRegistry), "first"},
                                          {"http://127.0.0.1:80/graphql", "second"}};
  const auto seen_at = [&](std::string_view url) { return token_for(Url::parse(url), tokens).value_or("none"); };
  EXPECT_EQ(seen_at("https://registry.wasmer.io/x"), "first");
  EXPECT_EQ(seen_at("https://wasmer.io/x"), "first");
  EXPECT_EQ(seen_at("https://cdn.wasmer.io/x"), "none");
  EXPECT_EQ(seen_at("https://wasmer.io:8443/x"), "none");
  EXPECT_EQ(seen_at("http://127.0.0.1/x"), "second");
  EXPECT_EQ(seen_at("http://127.0.0.2/x"), "none");
}

TEST(Graphql, NamesThatCouldBreakOutOfTheQueryAreNotSafe) {
  EXPECT_TRUE(graphql::is_safe("acme/app-1.2_x"));
  for (const char* text : {"", "a\"b", "a\\b", "a b", "a\nb", "a{b", "ä", "a$b"}) {
    EXPECT_FALSE(graphql::is_safe(text)) << text;
  }
}

const std::string kHash(64, 'a');

Json version(const std::string& number, const std::string& manifest = "{}", bool archived = false) {
  const Json fields{
      {"piritaDownloadUrl", "http://h/" + number}, {"piritaSha256Hash", kHash}, {"webcManifest", manifest}};
  return {{"version", number}, {"isArchived", archived}, {"v2", fields}, {"v3", fields}};
}

Json answer(const std::vector<Json>& versions) {
  return {{"data",
           {{"getPackage", {{"packageName", "app"}, {"namespace", "acme"}, {"versions", versions}}},
            {"info", {{"defaultFrontend", "http://h"}}}}}};
}

std::vector<std::string> found(const Json& response, const std::string& specifier) {
  std::vector<std::string> ids;
  for (const PackageSummary& summary :
       graphql::published(response, *PackageSpecifier::parse(specifier).named(), graphql::Prefer::kV3).packages) {
    ids.push_back(summary.pkg.id.to_string());
  }
  return ids;
}

TEST(Graphql, TakesWhatMatchesInOrder) {
  const Json response = answer({version("2.0.0"), version("1.10.0"), version("1.9.0"), version("nonsense")});
  EXPECT_THAT(found(response, "acme/app@^1"), ElementsAre("acme/app@1.9.0", "acme/app@1.10.0"));
  EXPECT_THAT(found(response, "acme/app"), ElementsAre("acme/app@1.9.0", "acme/app@1.10.0", "acme/app@2.0.0"));
  EXPECT_THAT(found(response, "acme/app@^3"), IsEmpty());
}

TEST(Graphql, ArchivedVersionsAreNamedWhenTheyMatch) {
  const Json response = answer({version("1.0.0", "{}", true), version("2.0.0", "{}", true)});
  const auto published =
      graphql::published(response, *PackageSpecifier::parse("acme/app@^1").named(), graphql::Prefer::kV3);
  EXPECT_TRUE(published.found);
  EXPECT_THAT(published.packages, IsEmpty());
  EXPECT_THAT(published.archived, ElementsAre("1.0.0"));
}

TEST(Graphql, FallsBackToTheOtherContainer) {
  Json response = answer({version("1.0.0")});
  Json& only = response["data"]["getPackage"]["versions"][0];
  only["v3"]["piritaDownloadUrl"] = nullptr;
  only["v2"]["piritaDownloadUrl"] = "http://h/two";
  const auto published =
      graphql::published(response, *PackageSpecifier::parse("acme/app").named(), graphql::Prefer::kV3);
  ASSERT_EQ(published.packages.size(), 1U);
  EXPECT_EQ(published.packages[0].dist.url, "http://h/two");
}

TEST(Graphql, PrefersTheVersionThatIsAskedFor) {
  Json response = answer({version("1.0.0")});
  response["data"]["getPackage"]["versions"][0]["v2"]["piritaDownloadUrl"] = "http://h/two";
  const NamedIdent ident = *PackageSpecifier::parse("acme/app").named();
  EXPECT_EQ(graphql::published(response, ident, graphql::Prefer::kV2).packages[0].dist.url, "http://h/two");
  EXPECT_EQ(graphql::published(response, ident, graphql::Prefer::kV3).packages[0].dist.url, "http://h/1.0.0");
}

TEST(Graphql, UnusableVersionsAreLeftOut) {
  for (const char* manifest : {"", "[]", "{\"use\": 3}", "not json", "{\"package\":{\"wapm\":3}}"}) {
    EXPECT_THAT(found(answer({version("1.0.0", manifest), version("0.9.0")}), "acme/app").back(), HasSubstr("@"))
        << manifest;
  }
  Json response = answer({version("1.0.0")});
  response["data"]["getPackage"]["versions"][0]["v3"]["piritaSha256Hash"] = "short";
  response["data"]["getPackage"]["versions"][0]["v2"] = nullptr;
  EXPECT_THAT(found(response, "acme/app"), IsEmpty());
}

TEST(Graphql, UnusableVersionsAreNamedWithTheReason) {
  struct Case {
    const char* field;
    Json value;
    ErrorCode code;
    std::string text;
  };
  const std::string long_text(5000, 'x');
  for (const Case& each : std::vector<Case>{
           {"piritaDownloadUrl", nullptr, ErrorCode::kNetwork, "gives no download URL"},
           {"piritaDownloadUrl", "http://h/" + std::string(10'000, 'x'), ErrorCode::kNetwork, "has 10009 bytes"},
           {"piritaSha256Hash", nullptr, ErrorCode::kNetwork, "gives no hash"},
           {"piritaSha256Hash", long_text, ErrorCode::kNetwork, "isn't a SHA-256 in hex"},
           {"webcManifest", nullptr, ErrorCode::kNetwork, "gives no manifest"},
           {"webcManifest", "{\"" + long_text, ErrorCode::kCorrupt, "the manifest that the registry gives is damaged"},
           {"webcManifest", R"({"package": {"fs": 3}})", ErrorCode::kCorrupt, "damaged"},
           {"webcManifest", R"({"use": 3})", ErrorCode::kCorrupt, "damaged"}}) {
    SCOPED_TRACE(each.text);
    Json response = answer({version("1.0.0"), version("2.0.0")});
    for (Json& broken : response["data"]["getPackage"]["versions"]) {
      broken["v2"] = nullptr;
      broken["v3"][each.field] = each.value;
    }
    const auto published =
        graphql::published(response, *PackageSpecifier::parse("acme/app").named(), graphql::Prefer::kV3);
    EXPECT_THAT(published.packages, IsEmpty());
    ASSERT_EQ(published.unusable.size(), 2U);
    EXPECT_EQ(published.unusable.back().id.version.to_string(), "2.0.0");
    EXPECT_EQ(published.unusable.back().why.code(), each.code);
    EXPECT_THAT(published.unusable.back().why.what(), HasSubstr(each.text));
    for (const std::string& message : published.unusable.back().why.chain()) {
      EXPECT_LE(message.size(), 450U) << "a text of a server is shortened";
    }
  }
}

TEST(Graphql, TextsOfTheRegistryAreShortened) {
  const std::string long_text(5000, 'x');
  const auto texts_of = [](const std::string& body) {
    try {
      static_cast<void>(graphql::published(graphql::parse_response(body), *PackageSpecifier::parse("acme/app").named(),
                                           graphql::Prefer::kV3));
    } catch (const Error& error) {
      return error.chain();
    }
    return std::vector<std::string>{"no error"};
  };
  for (const std::string& body :
       {Json{{"errors", Json::array({Json{{"message", long_text}}})}}.dump(), "{\"" + long_text,
        Json{{"data", {{"getPackage", {{"packageName", long_text}, {"versions", Json::array()}}}}}}.dump()}) {
    for (const std::string& message : texts_of(body)) {
      EXPECT_LE(message.size(), 450U) << message;
    }
  }
}

TEST(Graphql, AnswersCutOffAtAnyByteAreRefused) {
  const std::string body = answer({version("1.0.0")}).dump();
  for (std::size_t length = 0; length < body.size(); ++length) {
    EXPECT_THROW(static_cast<void>(graphql::parse_response(body.substr(0, length))), Error) << length;
  }
}

TEST(Graphql, AnswersOfAnotherShapeAreRefused) {
  for (const char* body :
       {"", "<html>", "[]", "{}", "{\"data\":null}", "{\"data\":3}", "{\"data\":{}}", "{\"data\":{\"getPackage\":3}}",
        "{\"data\":{\"getPackage\":{}}}", "{\"data\":{\"getPackage\":{\"packageName\":\"app\",\"versions\":[3]}}}",
        "{\"data\":{\"getPackage\":{\"packageName\":\"app\",\"versions\":[{\"version\":\"1.0.0\",\"v3\":3}]}}}",
        "{\"data\":{\"getPackage\":{\"packageName\":\"app\",\"versions\":3}}}",
        "{\"data\":{\"getPackage\":{\"packageName\":\"../..\\\"\",\"versions\":[]}}}"}) {
    EXPECT_THROW(static_cast<void>(graphql::published(graphql::parse_response(body),
                                                      *PackageSpecifier::parse("app").named(), graphql::Prefer::kV3)),
                 Error)
        << body;
  }
  const std::string deep = "{\"data\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_THROW(static_cast<void>(graphql::parse_response(deep)), Error);
}

TEST(Graphql, TheRegistrysOwnWordsAreShown) {
  try {
    static_cast<void>(graphql::parse_response(R"({"errors":[{"message":"no such luck"}],"data":null})"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no such luck"));
  }
}

TEST(Graphql, NullBesideErrorsIsNoAnswer) {
  const Json response = graphql::parse_response(R"({"data":{"getPackage":null},"errors":[{"message":"time-out"}]})");
  EXPECT_THROW(graphql::check_published(response, "acme/app"), Error);
}

/// What is wrong with an answer for "acme/my-app" that names `name` in `scope`.
std::string name_error(const Json& scope, const std::string& name) {
  Json response = answer({version("1.0.0")});
  response["data"]["getPackage"]["namespace"] = scope;
  response["data"]["getPackage"]["packageName"] = name;
  try {
    graphql::check_published(response, "acme/my-app");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNetwork);
    return error.chain().back();
  }
}

// Risk: ids, lock files and paths carry a name that the registry made up.
TEST(Graphql, AnAnswerAboutAnotherPackageIsRefused) {
  EXPECT_EQ(name_error("acme", "my-app"), "");
  EXPECT_EQ(name_error("Acme", "My_App"), "") << "spellings of one name";
  const std::string asked = "the registry was asked for \"acme/my-app\" and answers for ";
  EXPECT_EQ(name_error("evil", "my-app"), asked + "\"evil/my-app\"");
  EXPECT_EQ(name_error("acme", "my-app2"), asked + "\"acme/my-app2\"");
  EXPECT_EQ(name_error("_", "my-app"), asked + "\"_/my-app\"");
  EXPECT_EQ(name_error(nullptr, "my-app"), asked + "\"my-app\"");
  for (const char* scope : {"../../../../tmp/evil", "..", ".", "a:b", "a b", "a\nb", "/"}) {
    EXPECT_EQ(name_error(scope, "my-app"),
              asked + "\"" + printable(scope) + "/my-app\", which isn't a valid package name");
  }
  EXPECT_THAT(name_error("acme", ""), HasSubstr("isn't a valid package name"));
}

TEST(Graphql, APackageWithoutANamespaceHasTwoSpellings) {
  Json response = answer({version("1.0.0")});
  for (const Json& scope : {Json("_"), Json(""), Json(nullptr)}) {
    response["data"]["getPackage"]["namespace"] = scope;
    EXPECT_NO_THROW(graphql::check_published(response, "app")) << scope;
    EXPECT_NO_THROW(graphql::check_published(response, "_/app")) << scope;
  }
}

TEST(Graphql, UnknownPackageIsNotFound) {
  const Json response = graphql::parse_response(R"({"data":{"getPackage":null,"info":null}})");
  EXPECT_FALSE(graphql::published(response, *PackageSpecifier::parse("a/b").named(), graphql::Prefer::kV3).found);
}

/// Expects that `work` is stopped by an interruption, and doesn't take it for a bad answer.
template <typename Work>
void expect_interrupted(Work work) {
  CancelFlag cancel;
  cancel.cancel();
  const CancelScope scope(cancel);
  try {
    work();
    ADD_FAILURE() << "not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted) << error.what();
  }
}

TEST(Graphql, AnInterruptionIsNoBadAnswer) {
  const std::string long_manifest = "{" + std::string(100'000, ' ') + "}";
  const Json response = answer({version("1.0.0", long_manifest)});
  EXPECT_THAT(found(response, "acme/app"), ElementsAre("acme/app@1.0.0"));
  expect_interrupted([&] { static_cast<void>(found(response, "acme/app")); });
  expect_interrupted([&] { static_cast<void>(graphql::parse_response(response.dump())); });
  const Json release{{"data", {{"getPackageRelease", {{"webcUrl", "http://h/1"}, {"piritaManifest", long_manifest}}}}}};
  expect_interrupted([&] { static_cast<void>(graphql::release(release, PackageHash(Sha256{}))); });
}

class RegistryAnswerCacheTest : public ::testing::Test {
 protected:
  TempDir dir_;
  RegistryAnswerCache cache_{dir_.path() / "queries", {dir_.path() / "older"}};
  Json response_ = answer({version("1.0.0")});
};

TEST_F(RegistryAnswerCacheTest, GivesBackWhatWasStored) {
  EXPECT_FALSE(cache_.find("acme/app"));
  cache_.store("acme/app", response_);
  const auto entry = cache_.find("acme/app");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->response, response_);
  EXPECT_TRUE(entry->is_fresh(std::chrono::seconds(60)));
  EXPECT_TRUE(std::filesystem::exists(dir_.path() / "queries/acme#app"));
}

TEST_F(RegistryAnswerCacheTest, ReadsTheOlderLayout) {
  dir_.write(
      "older/acme/app",
      Json{{"unix_timestamp", std::time(nullptr) - 100}, {"package_name", "acme/app"}, {"response", response_}}.dump());
  const auto entry = cache_.find("acme/app");
  ASSERT_TRUE(entry);
  EXPECT_FALSE(entry->is_fresh(std::chrono::seconds(60)));
  EXPECT_TRUE(entry->is_fresh(std::chrono::seconds(600)));
}

TEST_F(RegistryAnswerCacheTest, AnAnswerAboutAnotherPackageIsRemoved) {
  const CapturedLog log;
  cache_.store("acme/other", response_);
  EXPECT_FALSE(cache_.find("acme/other"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "queries/acme#other"));
  EXPECT_THAT(log.text(), HasSubstr("the registry was asked for \"acme/other\" and answers for \"acme/app\""));
}

TEST_F(RegistryAnswerCacheTest, UnusableFilesAreRemoved) {
  const CapturedLog log;
  for (const std::string& content :
       {std::string(), std::string("{"), std::string("[]"), Json{{"package_name", "acme/app"}}.dump(),
        Json{{"unix_timestamp", 1}, {"package_name", "acme/other"}, {"response", response_}}.dump(),
        Json{{"unix_timestamp", -1}, {"package_name", "acme/app"}, {"response", response_}}.dump()}) {
    const auto path = dir_.write("queries/acme#app", content);
    EXPECT_FALSE(cache_.find("acme/app")) << content;
    EXPECT_FALSE(std::filesystem::exists(path)) << content;
  }
  EXPECT_THAT(log.text(), HasSubstr("checking the local query cache"));
}

TEST_F(RegistryAnswerCacheTest, PlantedLinksAreNotFollowed) {
  namespace fs = std::filesystem;
  const CapturedLog log;
  cache_.store("acme/app", response_);
  const fs::path stored = dir_.path() / "queries/acme#app";
  fs::rename(stored, dir_.path() / "elsewhere");
  fs::create_symlink(dir_.path() / "elsewhere", stored);
  EXPECT_FALSE(cache_.find("acme/app"));
  EXPECT_FALSE(fs::is_symlink(stored));
  EXPECT_TRUE(fs::exists(dir_.path() / "elsewhere"));
  fs::remove_all(dir_.path() / "queries");
  fs::create_directory(dir_.path() / "victim");
  fs::permissions(dir_.path(), fs::perms::all);
  fs::create_directory_symlink(dir_.path() / "victim", dir_.path() / "queries");
  cache_.store("acme/app", response_);
  EXPECT_TRUE(fs::is_empty(dir_.path() / "victim"));
  EXPECT_TRUE(cache_.find("acme/app"));
}

TEST_F(RegistryAnswerCacheTest, LinkOfTheUserIsFollowed) {
  namespace fs = std::filesystem;
  const CapturedLog log;
  fs::create_directory(dir_.path() / "other disk");
  fs::create_directory_symlink("other disk", dir_.path() / "queries");
  cache_.store("acme/app", response_);
  EXPECT_TRUE(fs::exists(dir_.path() / "other disk/acme#app"));
  EXPECT_TRUE(cache_.find("acme/app"));
  EXPECT_TRUE(fs::is_symlink(dir_.path() / "queries"));
  EXPECT_THAT(log.text(), IsEmpty());
}

TEST_F(RegistryAnswerCacheTest, AnInterruptionKeepsTheFile) {
  response_ = answer({version("1.0.0", "{" + std::string(100'000, ' ') + "}")});
  expect_interrupted([&] { cache_.store("acme/app", response_); });
  EXPECT_FALSE(cache_.find("acme/app"));
  cache_.store("acme/app", response_);
  expect_interrupted([&] { static_cast<void>(cache_.find("acme/app")); });
  EXPECT_TRUE(cache_.find("acme/app"));
}

TEST(Age, IsSaidInWords) {
  EXPECT_EQ(age_text(std::chrono::seconds(0)), "less than a second");
  EXPECT_EQ(age_text(std::chrono::seconds(61)), "1 minute");
  EXPECT_EQ(age_text(std::chrono::hours(49)), "2 days");
  EXPECT_EQ(age_text(std::nullopt), "an unknown time");
}

}  // namespace
}  // namespace pkgfs::test
