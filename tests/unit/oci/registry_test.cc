// SPDX-License-Identifier: MIT
// Risk: a registry that is slow, busy, wrong or hostile makes pkgfs take wrong bytes, or give a login to another
// server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/oci/registry_fixture.h"

namespace pkgfs::oci {
namespace {

using testing::HasSubstr;
using testing::Not;
using Reply = test::RawServer::Reply;

TEST_F(OciRegistryTest, AManifestHasTheHashThatIsAskedFor) {
  start([](const std::string& request, std::size_t) {
    const bool lies = request.find("/manifests/lies") != std::string::npos;
    return Reply{.bytes = answer("200 OK", "text",
                                 lies ? "Docker-Content-Digest: sha256:" + std::string(64, 'b') + "\r\n" : "")};
  });
  EXPECT_EQ(repository().manifest().text, "text");
  EXPECT_EQ(repository("@" + digest_text(sha256("text"))).manifest().digest, sha256("text"));
  EXPECT_THAT(failure([&] { return repository("@" + digest_text(sha256("other"))).manifest(); }),
              HasSubstr("is damaged"));
  EXPECT_EQ(code_, ErrorCode::kCorrupt);
  EXPECT_THAT(failure([&] { return repository(":lies").manifest(); }), HasSubstr("is damaged"));
}

TEST_F(OciRegistryTest, AnswersHaveLimits) {
  start([](const std::string& request, std::size_t) {
    const bool is_manifest = request.find("/manifests/") != std::string::npos;
    return Reply{.bytes = answer("200 OK", std::string(is_manifest ? kManifestBytes + 1 : 100, 'x'))};
  });
  EXPECT_THAT(failure([&] { return repository().manifest(); }), HasSubstr("more than"));
  const std::string text(100, 'x');
  EXPECT_EQ(repository().blob({.media_type = {}, .digest = sha256(text), .size = 100}), text);
  EXPECT_THAT(failure([&] { return repository().blob({.media_type = {}, .digest = sha256(text), .size = 99}); }),
              HasSubstr("more than 99"));
  EXPECT_THAT(failure([&] { return repository().blob({.media_type = {}, .digest = sha256(text), .size = 101}); }),
              HasSubstr("is damaged"));
  EXPECT_THAT(failure([&] { return repository().blob({.media_type = {}, .digest = sha256("y"), .size = 100}); }),
              HasSubstr("is damaged"));
}

/// Answers as a registry with a server of tokens: the token `t` and the number of its last answer is valid.
class TokenServer {
 public:
  Reply operator()(const std::string& request) {
    if (request.find(" /token") != std::string::npos) {
      ++tokens;
      asked = request;
      return {.bytes =
                  accepts ? answer("200 OK", R"({"token": "t)" + std::to_string(tokens) + "\"}") : answer("401 No")};
    }
    const std::string header = test::header_of(request, "Authorization");
    if (header != "Bearer t" + std::to_string(tokens) || tokens <= expired) {
      return {.bytes = answer("401 Unauthorized", R"({"errors": [{"code": "UNAUTHORIZED", "message": "log in"}]})",
                              "WWW-Authenticate: Bearer realm=\"" + realm + "\",service=\"the registry\"\r\n")};
    }
    return {.bytes = answer("200 OK", "text")};
  }
  std::string realm;
  bool accepts = true;
  int tokens = 0;
  int expired = 0;  // tokens up to this one
  std::string asked;
};

TEST_F(OciRegistryTest, ATokenIsAskedForOnceAndAgainWhenItExpires) {
  TokenServer tokens;
  login_ = Credentials{.username = "alice", .password = "p w", .identity_token = {}, .registry_token = {}};
  start([&](const std::string& request, std::size_t) { return tokens(request); });
  tokens.realm = server_->authority() + "/token";
  Repository one = repository();
  EXPECT_EQ(one.manifest().text, "text");
  EXPECT_EQ(one.manifest().text, "text");
  EXPECT_EQ(tokens.tokens, 1);
  EXPECT_THAT(tokens.asked, HasSubstr("GET /token?service=the%20registry&scope=repository%3Aacme%2Fapp%3Apull "));
  EXPECT_EQ(test::header_of(tokens.asked, "Authorization"), "Basic YWxpY2U6cCB3");
  tokens.expired = 1;
  EXPECT_EQ(one.manifest().text, "text");
  EXPECT_EQ(tokens.tokens, 2);
  EXPECT_EQ(logins_, 2);
}

TEST_F(OciRegistryTest, AnonymousTokensAndIdentityTokens) {
  TokenServer tokens;
  start([&](const std::string& request, std::size_t) { return tokens(request); });
  tokens.realm = server_->authority() + "/token?a=b";
  authorizer_.add(reference(), true);
  EXPECT_EQ(repository().manifest().text, "text");
  EXPECT_EQ(test::header_of(tokens.asked, "Authorization"), "");
  EXPECT_THAT(tokens.asked,
              HasSubstr("GET /token?a=b&service=the%20registry&scope=repository%3Aacme%2Fapp%3Apull%2Cpush "));
  tokens.expired = 1;
  login_ = Credentials{.username = {}, .password = {}, .identity_token = "id&1", .registry_token = {}};
  EXPECT_EQ(repository().manifest().text, "text");
  EXPECT_TRUE(tokens.asked.starts_with("POST /token?a=b ")) << tokens.asked;
  EXPECT_THAT(tokens.asked, HasSubstr("grant_type=refresh_token"));
  EXPECT_THAT(tokens.asked, HasSubstr("&refresh_token=id%261"));
}

TEST_F(OciRegistryTest, ALoginThatIsRefusedEnds) {
  TokenServer tokens;
  tokens.accepts = false;
  login_ = Credentials{.username = "alice", .password = "hidden", .identity_token = {}, .registry_token = {}};
  start([&](const std::string& request, std::size_t) { return tokens(request); });
  tokens.realm = server_->authority() + "/token";
  const std::string why = failure([&] { return repository().manifest(); });
  EXPECT_EQ(code_, ErrorCode::kPermission);
  EXPECT_THAT(why, HasSubstr("UNAUTHORIZED: log in"));
  EXPECT_THAT(why, Not(HasSubstr("hidden")));
  tokens.accepts = true;
  tokens.expired = 1000;  // the registry wants other tokens than its server gives
  failure([&] { return repository().manifest(); });
  EXPECT_EQ(code_, ErrorCode::kPermission);
}

TEST_F(OciRegistryTest, ALoginGoesNowhereElse) {
  TokenServer tokens;
  login_ = Credentials{.username = "alice", .password = "hidden", .identity_token = {}, .registry_token = {}};
  start([&](const std::string& request, std::size_t) { return tokens(request); });
  tokens.realm = "http://registry.example.com/token";
  EXPECT_THAT(failure([&] { return repository().manifest(); }), HasSubstr("isn't encrypted"));
  tokens.realm = server_->authority() + "/v2/acme/app/token";
  EXPECT_THAT(failure([&] { return repository().manifest(); }), HasSubstr("as the place to log in"));
  tokens.realm = "file:///etc/passwd";
  EXPECT_THAT(failure([&] { return repository().manifest(); }), HasSubstr("isn't a usable URL"));
  for (const std::string& request : server_->requests()) {
    EXPECT_EQ(test::header_of(request, "Authorization"), "") << request;
  }
  EXPECT_FALSE(authorizer_.covers(Url::parse(server_->authority() + "/v2/acme/apple/blobs/x")));
  EXPECT_FALSE(authorizer_.covers(Url::parse(server_->authority() + "/v2/other/blobs/x")));
  EXPECT_FALSE(authorizer_.covers(Url::parse("https://other.example.com/v2/acme/app/blobs/x")));
  authorizer_.add(Reference::parse("oci://example.com/acme/app"));
  EXPECT_TRUE(authorizer_.covers(Url::parse("https://example.com/v2/acme/app/blobs/x")));
  EXPECT_FALSE(authorizer_.covers(Url::parse("http://example.com/v2/acme/app/blobs/x")));
}

TEST_F(OciRegistryTest, BasicCredentialsAreSentOnce) {
  login_ = Credentials{.username = "alice", .password = "wrong", .identity_token = {}, .registry_token = {}};
  start([](const std::string&, std::size_t) {
    return Reply{.bytes = answer("401 Unauthorized", "", "WWW-Authenticate: Basic realm=\"x\"\r\n")};
  });
  failure([&] { return repository().manifest(); });
  EXPECT_EQ(lines().size(), 2U) << "without and with the login";
  failure([&] { return repository().manifest(); });
  EXPECT_EQ(lines().size(), 3U) << "the same login would be refused again";
}

}  // namespace
}  // namespace pkgfs::oci
