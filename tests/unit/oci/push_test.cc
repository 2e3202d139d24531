// SPDX-License-Identifier: MIT
// Risk: a registry that is slow, busy, wrong or hostile makes pkgfs send a blob to another server, not at all, or
// again.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "tests/support/fixtures.h"
#include "tests/unit/oci/registry_fixture.h"

namespace pkgfs::oci {
namespace {

using test::TempDir;
using testing::HasSubstr;
using testing::Not;
using Reply = test::RawServer::Reply;

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
  Reply::End end = {};
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
  MountingRegistry registry{.mount = "201 Created", .keeps = true};
  start([&](const std::string& request, std::size_t) { return registry(request); });
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kMounted);
  const std::string blob = "/v2/acme/app/blobs/";
  const std::string head = "HEAD " + blob + digest_text(sha256("text"));
  EXPECT_THAT(lines(),
              testing::ElementsAre(
                  head, "POST " + blob + "uploads/?mount=" + digest_text(sha256("text")) + "&from=acme/lib", head));
}

TEST_F(OciRegistryTest, ABlobThatIsNotMountedIsSent) {
  MountingRegistry registry;
  start([&](const std::string& request, std::size_t) { return registry(request); });
  // The first one has no blob after it said so.
  for (const char* status : {"201 Created", "202 Accepted", "401 Unauthorized", "403 Forbidden", "404 Not Found",
                             "405 No", "400 Bad", "500 Internal Server Error", "503 Service Unavailable"}) {
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

TEST_F(OciRegistryTest, ALoginThatMayNotReadTheOtherRepositoryStillPushes) {
  MountingRegistry registry{.mount = "401 Unauthorized"};
  login_ = Credentials{.username = "alice", .password = "p", .identity_token = {}, .registry_token = {}};
  start([&](const std::string& request, std::size_t) {
    const bool is_in =
        request.starts_with("PUT /upload") || test::header_of(request, "Authorization") == "Basic YWxpY2U6cA==";
    const bool is_mount = request.find("?mount=") != std::string::npos;
    return is_in && !is_mount
               ? registry(request)
               : Reply{.bytes = answer("401 Unauthorized", "", "WWW-Authenticate: Basic realm=\"x\"\r\n")};
  });
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kSent);
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kKnown);
}

TEST_F(OciRegistryTest, AFailedLoginForBothRepositoriesStillPushes) {
  // What the server of tokens answers when it is asked for another token than the first one.
  for (const char* second : {"403 Forbidden", "404 Not Found", "500 Internal Server Error"}) {
    MountingRegistry registry{.mount = "401 Unauthorized"};
    int asked = 0;
    start([&](const std::string& request, std::size_t) {
      if (request.starts_with("GET /token")) {
        return Reply{.bytes = ++asked == 1 ? answer("200 OK", R"({"token": "t"})") : answer(second)};
      }
      const bool is_mount = request.find("?mount=") != std::string::npos;
      if (request.starts_with("PUT /upload") ||
          (test::header_of(request, "Authorization") == "Bearer t" && !is_mount)) {
        return registry(request);
      }
      return Reply{.bytes = answer("401 Unauthorized", "",  // for each request the same
                                   "WWW-Authenticate: Bearer realm=\"" + server_->authority() + "/token\"\r\n")};
    });
    authorizer_.add(reference(), true);
    Repository one = repository();
    EXPECT_EQ(one.push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kSent) << second;
    registry.has_blob = false;
    const int before = asked;
    EXPECT_EQ(one.push_blob(sha256("more"), "more", std::nullopt, "acme/lib"), Pushed::kSent) << second;
    EXPECT_LE(asked - before, 1) << second;
  }
}

TEST_F(OciRegistryTest, ARegistryThatHangsIsAskedOnceToTakeBlobs) {
  MountingRegistry registry{.mount = "", .end = Reply::End::kHang};
  start([&](const std::string& request, std::size_t) { return registry(request); });
  Repository one = repository();
  for (const char* text : {"text", "more"}) {
    registry.has_blob = false;
    EXPECT_EQ(one.push_blob(sha256(text), text, std::nullopt, "acme/lib"), Pushed::kSent);
  }
  const auto all = lines();
  EXPECT_EQ(std::ranges::count_if(all, [](const auto& line) { return line.find("?mount=") != std::string::npos; }), 1);
}

TEST_F(OciRegistryTest, ATokenForBothRepositoriesIsAskedFor) {
  MountingRegistry registry{.mount = "201 Created", .keeps = true};
  std::vector<std::string> asked;
  start([&](const std::string& request, std::size_t) {
    if (request.starts_with("GET /token")) {
      asked.push_back(line_of(request));
      return Reply{.bytes = answer("200 OK", R"({"token": "t)" + std::to_string(asked.size()) + "\"}")};
    }
    // The first token is for this repository alone.
    const bool is_mount = request.find("?mount=") != std::string::npos;
    if (test::header_of(request, "Authorization") >= (is_mount ? "Bearer t2" : "Bearer t1")) {
      return registry(request);
    }
    const std::string scope = std::string("repository:acme/app:pull") + (is_mount ? " repository:acme/lib:pull" : "");
    return Reply{.bytes = answer("401 Unauthorized", "",
                                 "WWW-Authenticate: Bearer realm=\"" + server_->authority() + "/token\",scope=\"" +
                                     scope + "\"\r\n")};
  });
  authorizer_.add(reference(), true);
  EXPECT_EQ(repository().push_blob(sha256("text"), "text", std::nullopt, "acme/lib"), Pushed::kMounted);
  const std::string own = "scope=repository%3Aacme%2Fapp%3Apull%2Cpush";
  EXPECT_THAT(asked,
              testing::ElementsAre("GET /token?" + own, "GET /token?scope=repository%3Aacme%2Flib%3Apull&" + own));
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
