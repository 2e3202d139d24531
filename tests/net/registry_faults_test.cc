// SPDX-License-Identifier: MIT
// Risk: a fault of the test registry doesn't do what its name says, so that a test with that fault proves nothing.
#include <nlohmann/json.hpp>

#include "tests/net/curl.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Kind = Fault::Kind;
using Where = Fault::Where;

class RegistryFaults : public RegistryTest {
 protected:
  void SetUp() override {
    RegistryTest::SetUp();
    if (!IsSkipped()) {
      registry_ = std::make_unique<TestRegistry>(std::vector<fs::path>{fixtures() / "webc/sizes-v3.webc", chain_});
      registry_->add_package(fixtures() / "webc/basic-v2.webc", "acme/app", "2.1.0");
      url_ = registry_->file_url("acme/app@2.0.0");
      content_ = read_text(chain_ / "acme/app/2.0.0.webc");
    }
  }
  /// getPackage of acme/app.
  [[nodiscard]] Reply query() const { return ask(registry_->endpoint(), by_name("acme/app")); }
  [[nodiscard]] Json versions() const { return query().json().at("data").at("getPackage").at("versions"); }
  void set(const Fault& fault) { registry_->set_fault(fault); }

  std::unique_ptr<TestRegistry> registry_;
  std::string url_;
  std::string content_;
};

TEST_F(RegistryFaults, StatusOnTheFirstRequests) {
  set({.kind = Kind::kStatus, .times = 2, .status = 503, .retry_after = "1", .body = "being made"});
  const Reply first = query();
  EXPECT_EQ(first.status, 503);
  EXPECT_EQ(first.header("retry-after"), "1");
  EXPECT_EQ(first.body, "being made");
  EXPECT_EQ(curl({url_}).status, 503);
  EXPECT_EQ(curl({url_}).status, 200);
  EXPECT_EQ(query().status, 200);
  set({.kind = Kind::kStatus, .status = 404});
  EXPECT_EQ(curl({url_}).status, 404);
  registry_->clear_faults();
  EXPECT_EQ(curl({url_}).body, content_);
}

TEST_F(RegistryFaults, AimAtPlacesPackagesVersionsAndHashes) {
  const std::string other = registry_->file_url("acme/app@2.1.0");
  set({.kind = Kind::kStatus, .where = Where::kFiles, .match = "acme/app@2.0.0"});
  EXPECT_EQ(query().status, 200);
  EXPECT_EQ(curl({url_}).status, 500);
  EXPECT_EQ(curl({other}).status, 200);
  set({.kind = Kind::kStatus, .match = registry_->sha256("acme/app@2.1.0")});
  EXPECT_EQ(curl({url_}).status, 200);
  EXPECT_EQ(curl({other}).status, 500);
  set({.kind = Kind::kStatus, .where = Where::kGraphql, .match = "acme/lib"});
  EXPECT_EQ(query().status, 200);
  EXPECT_EQ(ask(registry_->endpoint(), by_name("acme/lib")).status, 500);
  const Json variables = {{"query", "query($n: String!) { getPackage(name: $n) { packageName } }"},
                          {"variables", {{"n", "acme/lib"}}}};
  EXPECT_EQ(post(registry_->endpoint(), variables).status, 500);
  EXPECT_EQ(ask(registry_->endpoint(), by_name("acme/lib2")).status, 200);
  EXPECT_EQ(curl({registry_->file_url("acme/lib")}).status, 200);
  registry_->set_faults({{.kind = Kind::kStatus, .where = Where::kFiles, .skip = 1, .times = 1, .status = 502},
                         {.kind = Kind::kStatus, .where = Where::kFiles, .times = 1, .status = 503}});
  EXPECT_EQ(curl({url_}).status, 503) << "the first fault lets one pass, the second doesn't";
  EXPECT_EQ(curl({url_}).status, 502);
  EXPECT_EQ(curl({url_}).status, 200);
}

TEST_F(RegistryFaults, GraphqlSaysSomethingElse) {
  set({.kind = Kind::kHtml, .where = Where::kGraphql});
  EXPECT_EQ(query().status, 200);
  EXPECT_EQ(query().header("content-type"), "text/html");
  EXPECT_FALSE(Json::accept(query().body));
  set({.kind = Kind::kGraphqlErrors, .body = "no such luck"});
  EXPECT_EQ(query().status, 200);
  EXPECT_EQ(query().json().at("errors").at(0).at("message"), "no such luck");
  EXPECT_TRUE(query().json().at("data").is_null());
  set({.kind = Kind::kGraphqlPartial});
  EXPECT_TRUE(query().json().at("errors").at(0).at("message").is_string());
  EXPECT_TRUE(query().json().at("data").at("getPackage").is_object());
  EXPECT_TRUE(query().json().at("data").at("info").is_null());
  set({.kind = Kind::kNullPackage});
  EXPECT_TRUE(query().json().at("data").at("getPackage").is_null());
  EXPECT_EQ(curl({url_}).status, 200) << "files are as they were";
  set({.kind = Kind::kArchived});
  EXPECT_TRUE(versions().at(0).at("isArchived") == true && versions().at(1).at("isArchived") == true);
  set({.kind = Kind::kUnknownFields});
  EXPECT_TRUE(query().json().contains("surprise") && versions().at(0).at("v3").contains("surprise"));
}

TEST_F(RegistryFaults, GraphqlLiesAboutOneVersion) {
  const Json right = versions();
  ASSERT_EQ(right.at(0).at("version"), "2.0.0");
  const auto& v3 = right.at(0).at("v3");
  const auto lie = [&](const Fault& fault) {
    set(fault);
    const Json said = versions();
    EXPECT_EQ(said.at(1), right.at(1)) << "2.1.0 is left alone";
    return said.at(0).at("v3");
  };
  const std::string aim = "acme/app@2.0.0";
  const std::string manifest = lie({.kind = Kind::kBadManifest, .match = aim}).at("webcManifest");
  EXPECT_FALSE(Json::accept(manifest));
  const std::string hash = lie({.kind = Kind::kWrongHash, .match = aim}).at("piritaSha256Hash");
  EXPECT_EQ(hash.size(), 64U);
  EXPECT_NE(hash, v3.at("piritaSha256Hash").get<std::string>());
  const Json nulls = lie({.kind = Kind::kNullFields, .match = aim});
  EXPECT_TRUE(nulls.at("piritaDownloadUrl").is_null() && nulls.at("piritaSha256Hash").is_null());
  const std::string nowhere = "http://nowhere.invalid/x.webc";
  EXPECT_EQ(lie({.kind = Kind::kUrl, .match = aim, .location = nowhere}).at("piritaDownloadUrl"), nowhere);
}

TEST_F(RegistryFaults, BodiesEndEarlyLateOrNever) {
  set({.kind = Kind::kTruncate, .after = 100});
  Reply reply = curl({url_});
  EXPECT_EQ(reply.exit_code, 18) << "curl: partial file. " << reply.describe();
  EXPECT_EQ(reply.header("content-length"), std::to_string(content_.size()));
  EXPECT_EQ(reply.body, content_.substr(0, 100));
  EXPECT_EQ(curl({"-r", "50-", url_}).body, content_.substr(50, 100));
  EXPECT_EQ(query().exit_code, 18);

  set({.kind = Kind::kStall, .after = 100});
  reply = curl({"--max-time", "0.5", url_});
  EXPECT_EQ(reply.exit_code, 28) << "curl: time-out. " << reply.describe();
  EXPECT_EQ(reply.body, content_.substr(0, 100));
  EXPECT_EQ(ask(registry_->endpoint(), by_name("acme/app"), {"--max-time", "0.5"}).exit_code, 28);

  set({.kind = Kind::kEndless, .rate = 8 << 20});
  for (const std::string& where : {url_, registry_->endpoint()}) {
    reply = curl({"--max-time", "1", where});
    EXPECT_EQ(reply.exit_code, 28);
    EXPECT_EQ(reply.header("transfer-encoding"), "chunked");
    EXPECT_GT(reply.body.size(), 2U << 20);
  }

  set({.kind = Kind::kClose});
  EXPECT_EQ(curl({url_}).exit_code, 52) << "curl: empty reply";
  EXPECT_EQ(query().exit_code, 52);
  EXPECT_EQ(registry_->requests().back().status, 444);
}

TEST_F(RegistryFaults, BodyIsLongerThanSaid) {
  set({.kind = Kind::kExcess, .after = 7});
  const std::string file = versions().at(0).at("v3").at("piritaDownloadUrl");
  const std::string direct = registry_->direct_endpoint();
  ASSERT_TRUE(file.starts_with(direct.substr(0, direct.rfind('/')))) << file;
  for (const Arguments& request :
       {Arguments{file}, Arguments{direct, "-d", "{\"query\": \"{info {defaultFrontend}}\"}"}}) {
    Arguments raw = request;  // takes the head for part of the body, and the end of the connection for its end
    raw.insert(raw.end(), {"--ignore-content-length", "--http1.0"});
    const Reply said = curl(request);
    const Reply sent = curl(raw);
    EXPECT_EQ(said.body.size(), std::stoul(said.header("content-length")));
    EXPECT_EQ(sent.body, said.body + "xxxxxxx");
  }
  registry_->clear_faults();
  EXPECT_EQ(versions().at(0).at("v3").at("piritaDownloadUrl"), url_);
}

TEST_F(RegistryFaults, BytesAreWrongOrPacked) {
  set({.kind = Kind::kWrongBytes});
  Reply reply = curl({url_});
  ASSERT_EQ(reply.body.size(), content_.size());
  std::size_t differing = 0;
  for (std::size_t at = 0; at < content_.size(); ++at) {
    differing += reply.body[at] != content_[at] ? 1U : 0U;
  }
  EXPECT_EQ(differing, 1U);
  EXPECT_NE(curl({"-r", std::to_string(content_.size() / 2) + "-", url_}).body, content_.substr(content_.size() / 2));
  set({.kind = Kind::kGzip});
  reply = curl({url_});
  EXPECT_EQ(reply.header("content-encoding"), "gzip");
  EXPECT_TRUE(reply.header("etag").starts_with("W/"));
  EXPECT_NE(reply.body, content_);
  EXPECT_EQ(curl({"--compressed", url_}).body, content_);
  EXPECT_EQ(ask(registry_->endpoint(), by_name("acme/app"), {"--compressed"}).json().size(), 1U);
  reply = curl({"--compressed", "-r", "10-", url_});
  EXPECT_EQ(reply.status, 206);
  EXPECT_EQ(reply.body, content_.substr(10));
}

TEST_F(RegistryFaults, RangesAreNotWhatWasAskedFor) {
  const std::string size = std::to_string(content_.size());
  set({.kind = Kind::kIgnoreRange});
  Reply reply = curl({"-r", "10-19", url_});
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, content_);
  EXPECT_EQ(reply.header("accept-ranges"), "");
  set({.kind = Kind::kLyingRange});
  reply = curl({"-r", "10-", url_});
  EXPECT_EQ(reply.status, 206);
  EXPECT_EQ(reply.header("content-range"), "bytes 0-" + std::to_string(content_.size() - 1) + "/" + size);
  EXPECT_EQ(reply.body, content_);
  set({.kind = Kind::kWrongSlice});
  reply = curl({"-r", "10-19", url_});
  EXPECT_EQ(reply.status, 206);
  EXPECT_EQ(reply.header("content-range"), "bytes 10-19/" + size);
  EXPECT_EQ(reply.body, content_.substr(0, 10));
}

TEST_F(RegistryFaults, EtagsAreMissingWeakOrChange) {
  const std::string right = curl({url_}).header("etag");
  set({.kind = Kind::kTruncate, .after = 10});
  EXPECT_EQ(curl({url_}).header("etag"), right) << "what was cut off can be continued";
  set({.etag = Fault::Etag::kNone});
  EXPECT_EQ(curl({url_}).header("etag"), "");
  set({.etag = Fault::Etag::kWeak});
  EXPECT_EQ(curl({url_}).header("etag"), "W/" + right);
  EXPECT_EQ(curl({"-r", "10-", "-H", "If-Range: W/" + right, url_}).status, 200);
  set({.etag = Fault::Etag::kChanges});
  const std::string first = curl({url_}).header("etag");
  const Reply second = curl({"-r", "10-", "-H", "If-Range: " + first, url_});
  EXPECT_EQ(second.status, 200);
  EXPECT_NE(second.header("etag"), first);
  const Reply third = curl({"-r", "10-", url_});
  EXPECT_EQ(third.status, 206);
  EXPECT_NE(third.header("etag"), second.header("etag"));
}

TEST_F(RegistryFaults, Redirects) {
  set({.kind = Kind::kRedirect});
  EXPECT_EQ(curl({url_}).status, 302);
  EXPECT_TRUE(curl({url_}).header("location").starts_with(registry_->other_authority() + "/files/"));
  registry_->clear_requests();
  EXPECT_EQ(curl({"-L", url_}).body, content_);
  ASSERT_EQ(registry_->requests().size(), 2U);
  EXPECT_EQ("http://" + registry_->requests()[1].header("host"), registry_->other_authority());
  const std::string local = "http://localhost" + registry_->authority().substr(registry_->authority().rfind(':'));
  set({.kind = Kind::kRedirect, .status = 307, .location = local});
  EXPECT_EQ(curl({url_}).status, 307);
  EXPECT_EQ(curl({"-L", url_}).body, content_);
  EXPECT_EQ(ask(registry_->endpoint(), by_name("acme/app"), {"-L"}).status, 200);
  set({.kind = Kind::kRedirectLoop});
  EXPECT_EQ(curl({"-L", "--max-redirs", "5", url_}).exit_code, 47) << "curl: too many redirects";
}

TEST_F(RegistryFaults, WantsToken) {
  set({.kind = Kind::kUnauthorized, .token = "secret"});
  EXPECT_EQ(query().status, 401);
  EXPECT_EQ(query().header("www-authenticate"), "Bearer");
  EXPECT_EQ(curl({url_, "-H", "Authorization: Bearer wrong"}).status, 401);
  EXPECT_EQ(curl({url_, "-H", "Authorization: Bearer secret"}).body, content_);
  EXPECT_EQ(ask(registry_->endpoint(), by_name("acme/app"), {"-H", "Authorization: Bearer secret"}).status, 200);
}

TEST_F(RegistryFaults, IsSlow) {
  const auto seconds = [](const auto& call) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(call().status, 200);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  set({.latency_ms = 300});
  EXPECT_GE(seconds([&] { return curl({url_}); }), 0.3);
  EXPECT_GE(seconds([&] { return query(); }), 0.3);
  set({.rate = content_.size()});
  EXPECT_NEAR(seconds([&] { return curl({url_}); }), 1.0, 0.5);
  set({.latency_ms = 60'000});
  EXPECT_EQ(curl({"--max-time", "0.2", url_}).exit_code, 28);
  EXPECT_TRUE(eventually([&] { return registry_->requests().back().status == 499; })) << "the client has left";
}

}  // namespace
}  // namespace pkgfs::test
