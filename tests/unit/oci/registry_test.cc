// SPDX-License-Identifier: MIT
// Risk: a registry that is slow, busy, wrong or hostile makes pkgfs take wrong bytes, send a blob to another server, or
// give a login to it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/net/http_client.h"
#include "core/oci/authorizer.h"
#include "core/oci/repository.h"
#include "tests/support/fixtures.h"
#include "tests/support/raw_server.h"

namespace pkgfs::oci {
namespace {

using test::RawServer;
using test::TempDir;
using testing::HasSubstr;
using testing::Not;
using Reply = RawServer::Reply;

std::string answer(const std::string& status, const std::string& body = {}, const std::string& headers = {}) {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// The method and path of a request.
std::string line_of(const std::string& request) { return request.substr(0, request.find(" HTTP/")); }

/// A request for which every server here has the same answer: whether it has https.
std::optional<Reply> probe(const std::string& request) {
  if (!request.starts_with("GET ") && !request.starts_with("HEAD ") && !request.starts_with("P")) {
    return Reply{};  // the beginning of TLS
  }
  return line_of(request) == "GET /v2/" ? std::optional(Reply{.bytes = answer("200 OK")}) : std::nullopt;
}

class OciRegistryTest : public ::testing::Test {
 protected:
  void start(RawServer::Answer given) {
    server_ = std::make_unique<RawServer>([given = std::move(given)](const std::string& request, std::size_t number) {
      const auto known = probe(request);
      return known ? *known : given(request, number);
    });
    authorizer_.add(reference());
  }
  [[nodiscard]] std::string host() const { return server_->authority().substr(std::string("http://").size()); }
  [[nodiscard]] Reference reference(const std::string& end = ":1") const {
    return Reference::parse("oci://" + host() + "/acme/app" + end);
  }
  [[nodiscard]] Repository repository(const std::string& end = ":1") { return {reference(end), client_, never_}; }
  template <typename Call>
  std::string failure(const Call& call) {
    try {
      static_cast<void>(call());
    } catch (const Error& error) {
      code_ = error.code();
      return error.what();
    }
    ADD_FAILURE() << "it succeeds";
    return {};
  }
  /// The requests for the repository, without probes.
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> found;
    for (const std::string& request : server_->requests()) {
      if (!probe(request)) {
        found.push_back(line_of(request));
      }
    }
    return found;
  }

  std::optional<Credentials> login_;
  std::atomic<int> logins_ = 0;
  Authorizer authorizer_{[this](const Reference&, const CancelFlag&) {
    ++logins_;
    return login_;
  }};
  HttpClient client_{{.user_agent = "test",
                      .proxy = {},
                      .ca_file = {},
                      .connect_timeout = std::chrono::milliseconds(200),  // also for TLS, which no server here has
                      .stall_timeout = std::chrono::seconds(2),
                      .retry = {.first_pause = std::chrono::milliseconds(1)},
                      .authorizer = &authorizer_}};
  const CancelFlag never_;
  std::unique_ptr<RawServer> server_;
  ErrorCode code_ = ErrorCode::kInternal;
};

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

/// A file of `size` bytes to send.
struct Upload {
  explicit Upload(std::size_t size) : text(size, 'x') {
    text[size / 2] = 'y';
    file = UniqueFd(::open(dir.write("file", text).c_str(), O_RDONLY | O_CLOEXEC));
  }
  [[nodiscard]] HttpUpload body() const { return {.fd = file.get(), .size = text.size(), .name = "file"}; }
  TempDir dir;
  std::string text;
  UniqueFd file;
};

TEST_F(OciRegistryTest, ABlobIsSentFromItsFile) {
  std::string location = "/upload/1?state=a%2Fb";
  bool is_there = false;
  start([&](const std::string& request, std::size_t) {
    if (request.starts_with("HEAD ")) {
      return Reply{.bytes = answer(is_there ? "200 OK" : "404 Not Found")};
    }
    if (request.starts_with("POST ")) {
      return Reply{.bytes = answer("202 Accepted", "", "Location: " + location + "\r\n")};
    }
    is_there = true;
    return Reply{.bytes = answer("201 Created")};
  });
  const Upload upload(300'000);
  const Sha256 digest = sha256(upload.text);
  EXPECT_EQ(repository().push_blob(digest, {}, upload.body()), Pushed::kSent);
  const std::string put = server_->requests().back();
  EXPECT_TRUE(put.starts_with("PUT /upload/1?state=a%2Fb&digest=" + digest_text(digest) + " ")) << put.substr(0, 200);
  EXPECT_TRUE(put.ends_with("\r\n\r\n" + upload.text));
  EXPECT_EQ(repository().push_blob(digest, {}, upload.body(), "acme/lib"), Pushed::kKnown) << "it is there";
  EXPECT_TRUE(server_->requests().back().starts_with("HEAD "));

  is_there = false;
  for (const char* elsewhere : {"http://example.com/upload", "ftp://example.com/", "//example.com/x", ""}) {
    location = elsewhere;
    EXPECT_THAT(failure([&] { return repository().push_blob(digest, {}, upload.body()); }), HasSubstr("Unable to push"))
        << elsewhere;
  }
}

TEST_F(OciRegistryTest, ALostConnectionAndABusyServerAreTriedAgain) {
  int puts = 0;
  start([&](const std::string& request, std::size_t) {
    if (request.starts_with("HEAD ")) {
      return Reply{.bytes = answer("404 Not Found")};
    }
    if (request.starts_with("POST ")) {
      return Reply{.bytes = answer("202 Accepted", "", "Location: /upload\r\n")};
    }
    ++puts;
    if (puts == 1) {
      return Reply{.bytes = {}, .end = Reply::End::kReset};
    }
    return Reply{.bytes = answer(puts == 2 ? "503 Service Unavailable" : "201 Created")};
  });
  const Upload upload(100'000);
  EXPECT_EQ(repository().push_blob(sha256(upload.text), {}, upload.body()), Pushed::kSent);
  EXPECT_EQ(puts, 3);
  EXPECT_TRUE(server_->requests().back().ends_with(upload.text)) << "whole again";
}

/// A registry that answers requests to take a blob from another repository with `mount`, and begins uploads otherwise.
/// It has the blob after a PUT, and after a mount if `keeps` is set.
struct MountingRegistry {
  std::string mount;
  bool keeps = false;
  RawServer::Reply::End end = {};
  bool has_blob = false;

  Reply operator()(const std::string& request) {
    if (request.starts_with("HEAD ")) {
      return {.bytes = answer(has_blob ? "200 OK" : "404 Not Found")};
    }
    if (request.find("?mount=") != std::string::npos) {
      has_blob = has_blob || keeps;
      return {.bytes = mount.empty() ? "" : answer(mount, "", "Location: /upload/of-mount\r\n"), .end = end};
    }
    if (request.starts_with("POST ")) {
      return {.bytes = answer("202 Accepted", "", "Location: /upload/anew\r\n")};
    }
    has_blob = true;
    return {.bytes = answer("201 Created")};
  }
};

TEST_F(OciRegistryTest, ABlobOfAnotherRepositoryIsMounted) {
  MountingRegistry registry{.mount = "201 Created"};
  start([&](const std::string& request, std::size_t) { return registry(request); });
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kMounted);
  const std::string blob = "/v2/acme/app/blobs/";
  EXPECT_THAT(lines(), testing::ElementsAre(
                           "HEAD " + blob + digest_text(sha256("text")),
                           "POST " + blob + "uploads/?mount=" + digest_text(sha256("text")) + "&from=acme/lib"));
}

TEST_F(OciRegistryTest, ABlobThatIsNotMountedIsSent) {
  MountingRegistry registry;
  start([&](const std::string& request, std::size_t) { return registry(request); });
  for (const char* status : {"202 Accepted", "401 Unauthorized", "403 Forbidden", "404 Not Found", "405 No", "400 Bad",
                             "500 Internal Server Error", "503 Service Unavailable"}) {
    registry = {.mount = status};
    EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kSent) << status;
    const std::string put = server_->requests().back();
    const char* const place = std::string_view(status) == "202 Accepted" ? "PUT /upload/of-mount" : "PUT /upload/anew";
    EXPECT_TRUE(put.starts_with(place)) << status << ": " << put;
    EXPECT_TRUE(put.ends_with("\r\n\r\ntext")) << status;
  }
  // The connection breaks, and the registry has done what it was asked, or not.
  registry = {.mount = "", .keeps = true, .end = Reply::End::kReset};
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kMounted);
  registry = {.mount = "", .end = Reply::End::kReset};
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kSent);
}

TEST_F(OciRegistryTest, WithoutAnotherRepositoryNoRegistryClaimsToHaveMounted) {
  start([](const std::string& request, std::size_t) {
    return Reply{.bytes = answer(request.starts_with("HEAD ") ? "404 Not Found" : "201 Created")};
  });
  EXPECT_THAT(failure([&] { return repository().push_blob(sha256("text"), "text", std::nullopt); }),
              HasSubstr("the registry answers 201"));
}

TEST_F(OciRegistryTest, ARefusalSaysWhatTheRegistrySaid) {
  start([](const std::string& request, std::size_t) {
    if (request.starts_with("HEAD ")) {
      return Reply{.bytes = answer("404 Not Found")};
    }
    if (request.starts_with("POST ")) {
      return Reply{.bytes = answer("202 Accepted", "", "Location: /upload\r\n")};
    }
    return Reply{.bytes =
                     answer("400 Bad Request", R"({"errors": [{"code": "DIGEST_INVALID", "message": "no\u001b"}]})")};
  });
  const std::string why = failure([&] { return repository().push_blob(sha256("text"), "text", std::nullopt); });
  EXPECT_THAT(why, HasSubstr("400 Bad Request (DIGEST_INVALID: no"));
  EXPECT_THAT(why, Not(HasSubstr("\x1b")));
  Upload cut(1000);
  EXPECT_THAT(failure([&] {
                HttpUpload longer = cut.body();
                longer.size = 2000;
                return repository().push_blob(sha256("text"), {}, longer);
              }),
              HasSubstr("became shorter"));
}

TEST_F(OciRegistryTest, AManifestIsStoredUnlessTheTagIsAtIt) {
  std::string at = "sha256:" + std::string(64, 'c');
  start([&](const std::string& request, std::size_t) {
    if (request.starts_with("PUT ")) {
      at = digest_text(sha256("text"));
    }
    return Reply{.bytes = answer(request.starts_with("PUT ") ? "201 Created" : "200 OK", "",
                                 "Docker-Content-Digest: " + at + "\r\n")};
  });
  EXPECT_TRUE(repository().push_manifest("text"));
  EXPECT_TRUE(server_->requests().back().ends_with("\r\n\r\ntext"));
  EXPECT_FALSE(repository().push_manifest("text"));
}

}  // namespace
}  // namespace pkgfs::oci
