// SPDX-License-Identifier: MIT
#include "core/net/url.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace pkgfs::test {
namespace {

TEST(Url, IsTakenApart) {
  const Url url = Url::parse("HTTPS://Registry.Wasmer.IO:8443/graphql?x=1");
  EXPECT_EQ(url.scheme(), "https");
  EXPECT_EQ(url.host(), "registry.wasmer.io");
  EXPECT_EQ(url.authority(), "registry.wasmer.io:8443");
  EXPECT_EQ(url.path(), "/graphql");
  EXPECT_EQ(url.text(), "HTTPS://Registry.Wasmer.IO:8443/graphql?x=1");
}

TEST(Url, PortOfTheSchemeIsNoPartOfTheAuthority) {
  EXPECT_EQ(Url::parse("https://a.b:443").authority(), Url::parse("https://a.b/").authority());
  EXPECT_EQ(Url::parse("http://a.b:80").authority(), "a.b");
  EXPECT_EQ(Url::parse("http://a.b:443").authority(), "a.b:443");
  EXPECT_EQ(Url::parse("http://a.b").path(), "/");
}

TEST(Url, LoopbackIsWhatStaysOnTheMachine) {
  for (const char* text : {"http://localhost", "http://x.localhost:1/", "http://127.0.0.1:80", "http://127.9.9.9/",
                           "http://[::1]:8080/", "http://LOCALHOST"}) {
    EXPECT_TRUE(Url::parse(text).is_loopback()) << text;
  }
  for (const char* text : {"http://localhost.evil.example", "http://128.0.0.1", "http://127.0.0.1.example",
                           "http://[::2]", "http://notlocalhost"}) {
    EXPECT_FALSE(Url::parse(text).is_loopback()) << text;
  }
}

TEST(Url, WhatCurlCanNormaliseIsNormalised) {
  // Both read a number as an address; what decides about tokens must agree with what connects.
  EXPECT_TRUE(Url::parse("http://2130706433/").is_loopback());
  EXPECT_TRUE(Url::parse("http://0x7f.1/").is_loopback());
}

TEST(Url, WithoutASchemeIsRefusedWithTheReason) {
  for (const char* text : {"//host/x", "host:80/x", "host", "user:secret@host/x", "//user:secret@host/x"}) {
    try {
      static_cast<void>(Url::parse(text));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("doesn't begin with http:// or https://"), std::string::npos);
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
    }
  }
}

TEST(Url, NonsenseIsRefused) {
  for (const char* text : {"", "a", "file:///etc/passwd", "ftp://a/", "http://", "http://a b/", "http://a\n/",
                           "http://user:secret@a/", "http://user@a/", "javascript:1", "http://a:99999/"}) {
    EXPECT_THROW(static_cast<void>(Url::parse(text)), Error) << text;
  }
}

TEST(Url, PasswordsAreNotRepeated) {
  for (const char* text : {"http://user:secret@host/path", "http://user:secret@host:x/", "ftp://user:secret@host"}) {
    try {
      static_cast<void>(Url::parse(text));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(without_password("http://a:b@c/d@e"), "http://a:…@c/d@e");
  EXPECT_EQ(without_password("http://c:1/d@e"), "http://c:1/d@e");
  EXPECT_EQ(without_password("http://a@c"), "http://a@c");
  EXPECT_EQ(without_password("acme/app@1"), "acme/app@1");
  EXPECT_EQ(without_password("registry:acme/app@1"), "registry:acme/app@1");
  EXPECT_EQ(without_password("ns:name@1"), "ns:name@1");
}

}  // namespace
}  // namespace pkgfs::test
