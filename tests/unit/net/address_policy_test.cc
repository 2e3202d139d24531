// SPDX-License-Identifier: MIT
// Risk: a server leads pkgfs to an address that only this machine or its network can reach.
#include "core/net/address_policy.h"

#include <gtest/gtest.h>

#include <string>

namespace pkgfs::test {
namespace {

TEST(AddressRange, KnowsWhatIsNotPublic) {
  const auto check = [](AddressRange range, std::initializer_list<const char*> addresses) {
    for (const char* text : addresses) {
      const auto address = Address::parse(text);
      ASSERT_TRUE(address) << text;
      EXPECT_EQ(range_of(address->get()), range) << text;
      EXPECT_EQ(range_of_host(std::string(text).find(':') == std::string::npos ? text : "[" + std::string(text) + "]"),
                range)
          << text;
    }
  };
  check(AddressRange::kLoopback, {"127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1",
                                  "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"});
  check(AddressRange::kLinkLocal,
        {"169.254.169.254", "168.63.129.16", "::ffff:168.63.129.16", "fe80::1", "febf::1", "::ffff:169.254.169.254"});
  check(AddressRange::kPrivate,
        {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "224.0.0.1",
         "255.255.255.255", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "64:ff9b:1::1", "2001::1", "::ffff:10.1.1.1"});
  check(AddressRange::kPublic,
        {"1.1.1.1", "172.32.0.1", "172.15.0.1", "100.128.0.1", "11.0.0.1", "169.253.0.1", "168.63.129.15",
         "168.63.129.17", "2606:4700::1111", "::ffff:1.1.1.1", "2002:101:101::1"});
  EXPECT_EQ(range_of_host("localhost"), AddressRange::kLoopback);
  EXPECT_EQ(range_of_host("a.localhost."), AddressRange::kLoopback);
  EXPECT_EQ(range_of_host("[fe80::1%25eth0]"), AddressRange::kLinkLocal);
  EXPECT_EQ(range_of_host("0x7f.1."), AddressRange::kLoopback) << "as a resolver reads it";
  EXPECT_EQ(range_of_host("example.com"), std::nullopt);
}

class AddressPolicyTest : public ::testing::Test {
 protected:
  [[nodiscard]] bool allows(const std::string& requested, const std::string& now, const std::string& address,
                            std::uint16_t port = 80) const {
    return !policy_.refusal({requested, now}, Address::parse(address, port)->get());
  }
  [[nodiscard]] bool allows(const std::string& url, const std::string& address) const {
    return allows(url, url, address);
  }
  void connect(const std::string& url, const std::string& address) {
    policy_.connected({url, url}, Address::parse(address)->get());
  }

  AddressPolicy policy_;
};

TEST_F(AddressPolicyTest, UnknownServersArePublic) {
  EXPECT_TRUE(allows("https://a.example/x", "1.1.1.1"));
  for (const char* address : {"127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"}) {
    EXPECT_FALSE(allows("https://a.example/x", address)) << address;
  }
}

TEST_F(AddressPolicyTest, AServerThatTheUserNamedMayBeAnywhereButDoesNotMove) {
  policy_.name("http://intranet.example/graphql");
  EXPECT_TRUE(allows("http://intranet.example/x", "10.0.0.1"));
  EXPECT_FALSE(allows("http://intranet.example:81/x", "10.0.0.1")) << "another port is another server";
  connect("http://intranet.example/x", "1.1.1.1");
  EXPECT_FALSE(allows("http://intranet.example/x", "127.0.0.1")) << "its name leads elsewhere now";
  EXPECT_TRUE(allows("http://intranet.example/x", "8.8.8.8"));
}

// Such as a public address of IPv6 and a private one of IPv4.
TEST_F(AddressPolicyTest, AServerThatTheUserNamedMayHaveAddressesInTwoRanges) {
  const std::string named = "http://intranet.example/graphql";
  policy_.name(named);
  connect(named, "2606:4700::1111");
  EXPECT_TRUE(allows(named, "10.0.0.1")) << "the user wrote this URL";
  EXPECT_FALSE(allows(named, "http://intranet.example/x", "10.0.0.1")) << "its name may lead elsewhere now";
  EXPECT_FALSE(allows(named, "http://other.example/graphql", "10.0.0.1"));
  EXPECT_TRUE(allows(named, "https://intranet.example/x", "10.0.0.1")) << "a certificate proves that it is the same";
  EXPECT_FALSE(allows(named, "https://other.example/x", "10.0.0.1"));
  policy_.announce("https://files.example/x", named);
  EXPECT_FALSE(allows("https://files.example/x", "10.0.0.1")) << "it was first seen in the public network";
}

TEST_F(AddressPolicyTest, ARedirectOfAPublicServerStaysPublic) {
  policy_.name("https://a.example/x");
  connect("https://a.example/x", "1.1.1.1");
  EXPECT_TRUE(allows("https://a.example/x", "https://cdn.example/x", "8.8.8.8"));
  EXPECT_FALSE(allows("https://a.example/x", "http://127.0.0.1/x", "127.0.0.1"));
}

TEST_F(AddressPolicyTest, WhatAServerAnnouncesReachesWhatTheServerReaches) {
  policy_.name("http://registry.corp/graphql");
  policy_.announce("http://files.corp/x", "http://registry.corp/graphql");
  EXPECT_FALSE(allows("http://files.corp/x", "10.0.0.2")) << "nothing is known of the registry yet";
  connect("http://registry.corp/graphql", "10.0.0.1");
  EXPECT_TRUE(allows("http://files.corp/x", "10.0.0.2"));
  EXPECT_FALSE(allows("http://files.corp/x", "127.0.0.1"));
  EXPECT_FALSE(allows("http://files.corp/x", "169.254.169.254"));
  policy_.announce("http://files.corp/y", "https://public.example/graphql");
  EXPECT_FALSE(allows("http://files.corp/y", "10.0.0.2")) << "a stranger announced it";
  policy_.announce("http://registry.corp/admin", "https://public.example/graphql");
  EXPECT_FALSE(allows("http://registry.corp/admin", "10.0.0.1")) << "not even at the registry";
}

TEST_F(AddressPolicyTest, LooksUpARegistryWhoseAnswerWasCached) {
  policy_.name("http://localhost:1/graphql");
  policy_.announce("http://files.example/x", "http://localhost:1/graphql");
  EXPECT_TRUE(allows("http://files.example/x", "127.0.0.1")) << "localhost needs no look-up";
  policy_.announce("http://files.example/y", "http://a.example/graphql");
  EXPECT_FALSE(policy_.look_up_origins("http://files.example/y")) << "the user didn't name it";
}

TEST_F(AddressPolicyTest, AProxyMayBeAnywhereButNotAnAddressBehindIt) {
  policy_.set_proxies({"http://user:secret@127.0.0.1:3128/"});
  const std::string url = "https://a.example/x";
  EXPECT_TRUE(allows(url, url, "127.0.0.1", 3128)) << "the proxy";
  EXPECT_FALSE(allows(url, "http://169.254.169.254/x", "127.0.0.1", 3128));
  EXPECT_FALSE(allows(url, "http://127.1./x", "127.0.0.1", 3128));
}

TEST_F(AddressPolicyTest, TheHostOfAProxyIsReachedAtItsPortOnly) {
  policy_.set_proxies({"user:p@ss@127.0.0.1:3128", "http://127.0.0.2", "HTTPS://127.0.0.3/", "http://[::1]:8080/",
                       "http://127.0.0.4:x"});
  const auto reached = [&](const std::string& address, std::uint16_t port) {
    return allows("http://evil.example:81/x", "http://evil.example:81/x", address, port);
  };
  EXPECT_TRUE(reached("127.0.0.1", 3128));
  EXPECT_TRUE(reached("127.0.0.2", 1080)) << "libcurl's default";
  EXPECT_TRUE(reached("127.0.0.3", 443));
  EXPECT_TRUE(reached("::1", 8080));
  for (const char* address : {"127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"}) {
    EXPECT_FALSE(reached(address, 81)) << address;
  }
  EXPECT_FALSE(reached("127.0.0.4", 1080)) << "no port";
}

// A proxy would look up the host, so that nothing here could tell its address.
TEST_F(AddressPolicyTest, WhatCannotBeReadIsRefusedBehindAProxy) {
  policy_.set_proxies({"http://127.0.0.1:3128/"});
  const std::string url = "http://a.example/x";
  for (const char* now : {"http://user@169.254.169.254/x", "http://user:secret@127.0.0.1/x", "http://a b/",
                          "//127.0.0.1/x", "127.0.0.1:80/x", "http://\xEF\xBC\x91\xEF\xBC\x92\xEF\xBC\x97.0.0.1/x"}) {
    const auto why = policy_.refusal({url, now}, Address::parse("127.0.0.1", 3128)->get());
    ASSERT_TRUE(why) << now;
    EXPECT_EQ(why->find("secret"), std::string::npos) << *why;
  }
  EXPECT_TRUE(allows(url, "http://xn--bcher-kva.example/x", "127.0.0.1", 3128));
  const std::string international = "http://\xC3\xBC.example/x";
  EXPECT_FALSE(allows(url, international, "127.0.0.1", 3128));
  EXPECT_TRUE(allows(url, international, "1.1.1.1")) << "its address is known";
  policy_.name(international);
  EXPECT_TRUE(allows(international, international, "127.0.0.1", 3128)) << "the user wrote it";
}

}  // namespace
}  // namespace pkgfs::test
