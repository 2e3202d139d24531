// SPDX-License-Identifier: MIT
// Risk: a name, manifest, login file or challenge is misread: another artifact is used, or a login goes to a registry
// that it isn't for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/oci/auth_file.h"
#include "core/oci/challenge.h"
#include "core/oci/manifest.h"
#include "core/oci/reference.h"

namespace pkgfs::oci {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kHex(64, 'a');

template <typename Call>
std::string failure(const Call& call) {
  try {
    static_cast<void>(call());
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(OciReference, HasANormalForm) {
  const std::vector<std::pair<std::string, std::string>> names{
      {"oci://example.com/app", "oci://example.com/app:latest"},
      {"oci://Example.COM:5000/a/b-c/d__e.f:1.2_X", "oci://example.com:5000/a/b-c/d__e.f:1.2_X"},
      {"oci://example.com:443/app", "oci://example.com/app:latest"},
      {"oci://[::1]:5000/app", "oci://[::1]:5000/app:latest"},
      {"oci://localhost:5000/app:t@sha256:" + kHex, "oci://localhost:5000/app@sha256:" + kHex},
      {"oci://docker.io/app", "oci://docker.io/library/app:latest"},
      {"oci://index.docker.io/a/b", "oci://docker.io/a/b:latest"}};
  for (const auto& [text, normal] : names) {
    EXPECT_EQ(Reference::parse(text).to_string(), normal);
    EXPECT_EQ(Reference::parse(normal).to_string(), normal);
  }
  EXPECT_EQ(Reference::parse("oci://example.com:5000/a/b:1").api_url("https"), "https://example.com:5000/v2/a/b/");
  EXPECT_EQ(Reference::parse("oci://docker.io/app").api_url("https"), "https://registry-1.docker.io/v2/library/app/");
}

TEST(OciReference, RefusesWhatCouldLeadElsewhere) {
  for (const std::string& text : std::vector<std::string>{"oci://",
                                                          "oci://host",
                                                          "oci://host/",
                                                          "oci:///app",
                                                          "oci://user@host/app",
                                                          "oci://user:pw@host/app",
                                                          "oci://host/../app",
                                                          "oci://host/a//b",
                                                          "oci://host/a/./b",
                                                          "oci://host/App",
                                                          "oci://host/a___b",
                                                          "oci://host/a.-b",
                                                          "oci://host/-a",
                                                          "oci://host/a?x",
                                                          "oci://host/a#x",
                                                          "oci://host/a%2fb",
                                                          "oci://host/a:",
                                                          "oci://host/a:b/c",
                                                          "oci://host/a:.b",
                                                          "oci://host/a:" + std::string(129, 'a'),
                                                          "oci://host:99999/app",
                                                          "oci://ho st/app",
                                                          "oci://host/" + std::string(256, 'a'),
                                                          "oci://host/a@sha256:" + std::string(64, 'A'),
                                                          "oci://host/a@sha256:" + std::string(63, 'a'),
                                                          "oci://host/a@sha512:" + kHex,
                                                          "oci://host/a@",
                                                          "https://host/app"}) {
    EXPECT_THAT(failure([&] { return Reference::parse(text); }), HasSubstr("names no artifact")) << text;
  }
}

Manifest sample() {
  Manifest manifest{.lock = {.media_type = std::string(kLockType), .digest = sha256("lock"), .size = 4},
                    .containers = {},
                    .id = "acme/app@1.0.0",
                    .name = "acme/app",
                    .version = "1.0.0"};
  manifest.containers.push_back(
      {.media_type = std::string(kContainerType), .digest = sha256("c"), .size = 7, .title = "acme_app-1.0.0.webc"});
  return manifest;
}

TEST(OciManifest, IsThatOfTheDocumentation) {
  const std::string text = print_manifest(sample());
  EXPECT_EQ(text, R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",)"
                  R"("artifactType":"application/vnd.pkgfs.package.v1",)"
                  R"("config":{"mediaType":"application/vnd.pkgfs.lock.v1+json","digest":")" +
                      digest_text(sha256("lock")) +
                      R"(","size":4},"layers":[{"mediaType":"application/vnd.pkgfs.container.v1","digest":")" +
                      digest_text(sha256("c")) +
                      R"(","size":7,"annotations":{"org.opencontainers.image.title":"acme_app-1.0.0.webc"}}],)"
                      R"("annotations":{"io.wasmer.package.id":"acme/app@1.0.0",)"
                      R"("org.opencontainers.image.title":"acme/app","org.opencontainers.image.version":"1.0.0"}})");
  const Manifest parsed = parse_manifest(text);
  EXPECT_EQ(parsed.lock.digest, sha256("lock"));
  ASSERT_EQ(parsed.containers.size(), 1U);
  EXPECT_EQ(parsed.containers[0].digest, sha256("c"));
  EXPECT_EQ(parsed.containers[0].size, 7U);
}

TEST(OciManifest, SaysWhatElseIsThere) {
  const auto why = [](const std::string& text) { return failure([&] { return parse_manifest(text); }); };
  const std::string image =
      R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[]})";
  EXPECT_THAT(why(image), HasSubstr("a container image"));
  EXPECT_THAT(why(image), HasSubstr("pkgfs export"));
  EXPECT_THAT(why(R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]})"),
              HasSubstr("an index of images"));
  EXPECT_THAT(why(R"({"schemaVersion":2,"artifactType":"application/vnd.cncf.helm",
                      "config":{"mediaType":"application/vnd.oci.empty.v1+json"},"layers":[]})"),
              HasSubstr("application/vnd.cncf.helm"));
  const auto with = [&](const std::string& old, const std::string& by) {
    std::string text = print_manifest(sample());
    text.replace(text.find(old), old.size(), by);
    return why(text);
  };
  EXPECT_THAT(with("pkgfs.container.v1", "oci.image.layer.v1.tar"), HasSubstr("a layer of the type"));
  EXPECT_THAT(with(digest_text(sha256("c")), "sha512:1"), HasSubstr("isn't a SHA-256"));
  EXPECT_THAT(with("\"size\":7", "\"size\":-7"), HasSubstr("layers.0.size"));
  EXPECT_THAT(with("\"size\":4", "\"size\":99999999999"), HasSubstr("99999999999"));
  EXPECT_THAT(with("\"schemaVersion\":2", "\"schemaVersion\":1"), HasSubstr("schemaVersion is 1"));
  EXPECT_THAT(why("[]"), Not(testing::IsEmpty()));
  EXPECT_THAT(why(std::string(kManifestBytes + 1, ' ')), Not(testing::IsEmpty()));
  Manifest twice = sample();
  twice.containers.push_back(twice.containers[0]);
  EXPECT_THAT(why(print_manifest(twice)), HasSubstr("is there twice"));
}

std::string login_at(const AuthFile& file, const std::string& name) {
  const AuthFile::Found found = file.find(Reference::parse("oci://" + name));
  return found.credentials ? found.credentials->username + "/" + found.credentials->password
                           : "helper " + found.helper + " " + found.server;
}

TEST(OciAuthFile, TheMostSpecificNameCounts) {
  const AuthFile file = AuthFile::parse(R"({
    "auths": {
      "example.com": {"auth": "aG9zdDoxOjI="},
      "example.com/a": {"username": "part", "password": "p"},
      "example.com/a/b": {"auth": "cmVwbzpw"},
      "https://old.example.com/v1/": {"auth": "b2xkOnA="},
      "https://index.docker.io/v1/": {"auth": "aHViOnA="},
      "empty.example.com": {}},
    "credHelpers": {"helped.example.com": "test"},
    "credsStore": "store"})");
  EXPECT_EQ(login_at(file, "example.com/x"), "host/1:2");
  EXPECT_EQ(login_at(file, "example.com/a/x"), "part/p");
  EXPECT_EQ(login_at(file, "example.com/a/b"), "repo/p");
  EXPECT_EQ(login_at(file, "example.com/a/b/c"), "repo/p");
  EXPECT_EQ(login_at(file, "example.com/ab"), "host/1:2");
  EXPECT_EQ(login_at(file, "old.example.com/x"), "old/p");
  EXPECT_EQ(login_at(file, "docker.io/x"), "hub/p");
  EXPECT_EQ(login_at(file, "helped.example.com/x"), "helper test helped.example.com");
  for (const char* other : {"empty.example.com/x", "example.com:5000/a", "sub.example.com/a", "example.co/a"}) {
    const std::string name = other;
    EXPECT_EQ(login_at(file, name), "helper store " + name.substr(0, name.find('/')));
  }
  const AuthFile::Found hub = AuthFile::parse(R"({"credsStore": "s"})").find(Reference::parse("oci://docker.io/x"));
  EXPECT_EQ(hub.server, "https://index.docker.io/v1/") << "helpers know Docker Hub by this name";
}

TEST(OciAuthFile, OfTheUrlsOnlyThatOfTheApiIsARegistry) {
  // As docker login 28 writes it. "dG9rOnA=" is tok:p.
  const AuthFile hub = AuthFile::parse(R"({"auths": {
    "https://index.docker.io/v1/": {"auth": "aHViOnA="},
    "https://index.docker.io/v1/access-token": {"auth": "dG9rOnA="},
    "https://index.docker.io/v1/refresh-token": {"auth": "dG9rOnA="}}})");
  EXPECT_EQ(login_at(hub, "docker.io/x"), "hub/p");
  const AuthFile both = AuthFile::parse(R"({"auths": {
    "example.com": {"auth": "aG9zdDpw"},
    "https://example.com/v2/": {"auth": "dG9rOnA="},
    "https://other.example.com/path": {"auth": "dG9rOnA="},
    "https://slash.example.com": {"auth": "aHViOnA="}}})");
  EXPECT_EQ(login_at(both, "example.com/x"), "host/p") << "the exact name comes first";
  EXPECT_EQ(login_at(both, "other.example.com/x"), "helper  other.example.com");
  EXPECT_EQ(login_at(both, "slash.example.com/x"), "hub/p");
  EXPECT_EQ(login_at(AuthFile::parse(R"({"auths": {"docker.io": {"auth": "aG9zdDpw"},
    "https://index.docker.io/v1/": {"auth": "aHViOnA="}}})"),
                     "docker.io/x"),
            "host/p");
}

TEST(OciAuthFile, ErrorsHaveNoSecret) {
  for (const std::string& text : std::vector<std::string>{
           "secret", "[\"secret\"]", R"({"auths": "secret"})", R"({"auths": {"h": {"auth": "secret"}}})",
           R"({"auths": {"h": "secret"}})", R"({"auths": {"h": {"username": "u", "password": ["secret"]}}})",
           R"({"auths": {"h": {"auth": 31415926}}})"}) {
    const std::string why = failure([&] { return AuthFile::parse(text); });
    EXPECT_THAT(why, Not(testing::IsEmpty())) << text;
    EXPECT_THAT(why, Not(HasSubstr("secret"))) << text;
    EXPECT_THAT(why, Not(HasSubstr("31415926"))) << text;
  }
  EXPECT_THAT(failure([] { return parse_helper_answer("secret"); }), Not(HasSubstr("secret")));
  const Credentials token = parse_helper_answer(R"({"Username": "<token>", "Secret": "t"})");
  EXPECT_EQ(token.identity_token, "t");
  EXPECT_EQ(token.username, "");
  EXPECT_FALSE(is_helper_name("../x"));
  EXPECT_FALSE(is_helper_name(""));
  EXPECT_TRUE(is_helper_name("ecr-login"));
}

TEST(OciChallenge, SeveralInOneHeader) {
  const auto all = parse_challenges(
      R"(Basic realm="a, \"b\"", Bearer realm="https://h/t?x=1",service=s , Scope="repository:a:pull,push", Digest)");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].scheme, "basic");
  EXPECT_EQ(all[0].parameter("realm"), R"(a, "b")");
  EXPECT_EQ(all[1].parameter("realm"), "https://h/t?x=1");
  EXPECT_EQ(all[1].parameter("service"), "s");
  EXPECT_EQ(all[1].parameter("scope"), "repository:a:pull,push");
  EXPECT_EQ(all[1].parameter("none"), "");
  EXPECT_EQ(all[2].scheme, "digest");
  for (const char* text : {"", ",,", "=", "\"", "Bearer realm=\"x", "Bearer realm", "a=b"}) {
    static_cast<void>(parse_challenges(text));
  }
  EXPECT_TRUE(parse_challenges("a=b").empty());
}

}  // namespace
}  // namespace pkgfs::oci
