// SPDX-License-Identifier: MIT
#include "core/package/package_specifier.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/base/printable.h"

namespace pkgfs {
namespace {

const std::string kHex(64, 'a');

/// kind and parts of what `text` means, e.g. `named reg|ns|name|^1`; `-` is a missing part.
std::string meaning(const std::string& text) {
  const PackageSpecifier specifier = PackageSpecifier::parse(text);
  if (const NamedIdent* ident = specifier.named()) {
    std::string tag = "-";
    if (const auto* requirement = std::get_if<VersionReq>(&ident->tag)) {
      tag = requirement->to_string();
    } else if (const std::string* word = ident->named_tag()) {
      tag = "'" + *word + "'";
    }
    return "named " + ident->registry.value_or("-") + "|" + ident->namespace_.value_or("-") + "|" + ident->name + "|" +
           tag;
  }
  if (specifier.hash() != nullptr) {
    return "hash " + specifier.to_string();
  }
  return (specifier.url() != nullptr ? "url " : "path ") + specifier.to_string();
}

std::string reason(const std::string& text) {
  try {
    return "parsed as " + meaning(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    const std::string before = "could not parse value as package identifier: ";
    const std::string after = " (value: '" + printable(text) + "')";
    const std::string& message = error.message();
    EXPECT_TRUE(message.starts_with(before)) << message;
    EXPECT_TRUE(message.ends_with(after)) << message;
    return message.substr(before.size(), message.size() - before.size() - after.size());
  }
}

TEST(PackageSpecifier, AcceptedSpellings) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"name", "named -|-|name|-"},
      {"ns/name", "named -|ns|name|-"},
      {"ns/name@", "named -|ns|name|-"},
      {"ns/name@1.2", "named -|ns|name|^1.2"},
      {"ns/name@=1.2.3", "named -|ns|name|=1.2.3"},
      {"ns/name@^1.2", "named -|ns|name|^1.2"},
      {"ns/name@~1", "named -|ns|name|~1"},
      {"ns/name@*", "named -|ns|name|*"},
      {"ns/name@>=1, <2", "named -|ns|name|>=1, <2"},
      {"ns/name@latest", "named -|ns|name|*"},
      {"ns/name@stable", "named -|ns|name|'stable'"},
      {"ns/name@v1.2_rc-1", "named -|ns|name|'v1.2_rc-1'"},
      {"ns/name@1.2.3+b1", "named -|ns|name|^1.2.3"},
      {"ns/name @1", "named -|ns|name|^1"},
      {"ns /name", "named -|ns|name|-"},
      {" ns/name ", "named -|ns|name|-"},
      {"_/cowsay", "named -|_|cowsay|-"},
      {"reg.com:ns/name@1", "named reg.com|ns|name|^1"},
      {"reg:8080:ns/name", "named reg:8080|ns|name|-"},
      {":ns/name", "named -|ns|name|-"},
      {"ns:name", "named -|-|ns:name|-"},
      {"a/b/c", "named -|a/b|c|-"},
      {"reg.com/ns/name", "named -|reg.com/ns|name|-"},
      {"ns/name@1@2", "named -|ns|name@1|^2"},
      {"x.webc", "named -|-|x.webc|-"},
      {"dir/x.webc", "named -|dir|x.webc|-"},
      {"sha256:" + kHex, "hash sha256:" + kHex},
      {"sha256:" + std::string(64, 'A'), "hash sha256:" + kHex},
      {".", "path ."},
      {"./x", "path ./x"},
      {"../x", "path ../x"},
      {"/abs/x.webc", "path /abs/x.webc"},
      {"https://host/p", "url https://host/p"},
      {"https://host/ns/name@1.0.0", "url https://host/ns/name@1.0.0"},
      {"not a valid !! spec", "named -|-|not a valid !! spec|-"},
  };
  for (const auto& [text, expected] : rows) {
    EXPECT_EQ(meaning(text), expected) << text;
  }
}

TEST(PackageSpecifier, RefusedSpellings) {
  EXPECT_EQ(reason(""), "An empty string is not a valid package source");
  EXPECT_EQ(reason("@1"), "package name is required");
  EXPECT_EQ(reason("ns/"), "package name is required");
  EXPECT_EQ(reason(" "), "package name is required");
  EXPECT_EQ(reason("x:/name"), "namespace can not be empty");
  EXPECT_EQ(reason("http://"), "empty host");
  EXPECT_EQ(reason("://x"), "relative URL without a base");
}

// Risk: a mistyped requirement is taken for a tag, and the newest release instead of the wanted version.
TEST(PackageSpecifier, ATagThatIsNeitherARequirementNorAWordIsRefused) {
  EXPECT_EQ(reason("a/b@^^1"),
            "\"^^1\" is neither a version requirement (at character 2: unexpected character '^' while parsing major "
            "version number) nor a tag (a letter, then letters, digits, \".\", \"_\" and \"-\"); did you mean \"^1\"?");
  EXPECT_EQ(reason("a/b@>1 <2"),
            "\">1 <2\" is neither a version requirement (at character 4: expected comma after major version number, "
            "found '<') nor a tag (a letter, then letters, digits, \".\", \"_\" and \"-\"); did you mean \">1, <2\"?");
  const std::string hint = "a requirement is written like \"^1.2\", \"=1.2.3\" or \">=1, <2\"";
  for (const char* text :
       {"a/b@1 || 2", "a/b@!x", "a/b@$(x)", "a/b@\xc3\xa4", "z/a@^1 || ^2", "z/a@99999999999999999999.0.0", "a/b@1.02",
        "a/b@1.2.3.4", "a/b@1.2.3-01", "a/b@-1", "a/b@.1", "a/b@_1", "a/b@v99999999999999999999"}) {
    EXPECT_TRUE(reason(text).ends_with(hint)) << reason(text);
  }
  EXPECT_TRUE(reason("a/b@v1.2.3")
                  .ends_with(" nor a tag (a letter, then letters, digits, \".\", \"_\" and \"-\", and not `v` with a "
                             "digit behind it); did you mean \"1.2.3\"?"))
      << reason("a/b@v1.2.3");
  EXPECT_EQ(reason("z/a@99999999999999999999.0.0"),
            "\"99999999999999999999.0.0\" is neither a version requirement (at character 1: value of major version "
            "number exceeds u64::MAX) nor a tag (a letter, then letters, digits, \".\", \"_\" and \"-\"); " +
                hint);
}

TEST(PackageSpecifier, BuildMetadataIsKeptWithTheRequirement) {
  const auto ident = [](const char* text) { return *PackageSpecifier::parse(text).named(); };
  EXPECT_EQ(ident("ns/name@=1.2.3+b1").wanted_build(), Version::parse("1.2.3+b1"));
  EXPECT_EQ(ident("ns/name@=1.2.3-rc.1+b1").wanted_build(), Version::parse("1.2.3-rc.1+b1"));
  for (const char* text : {"ns/name@=1.2.3", "ns/name@1.2.3+b1", "ns/name@>=1.2.3+b1", "ns/name@=1.2.3+a, =1.2.3+b"}) {
    EXPECT_EQ(ident(text).wanted_build(), std::nullopt) << text;
  }
  for (const char* text : {"ns/name@=1.2.3+b1", "ns/name@^1.2.3+b1"}) {
    EXPECT_EQ(ident(text).to_string(), text);
    EXPECT_EQ(ident(ident(text).to_string().c_str()), ident(text));
  }
  EXPECT_NE(ident("ns/name@=1.2.3+b1"), ident("ns/name@=1.2.3+b2"));
}

TEST(PackageSpecifier, MalformedDigestIsNotAName) {
  const std::string message = "a package hash is written `sha256:` and 64 hex digits";
  for (const std::string& text : {std::string("sha256:abcd"), "SHA256:" + kHex, "sha256:" + kHex + "0",
                                  " sha256:" + kHex, std::string("sha256:abcd@1"), std::string("sha256:ns/name")}) {
    EXPECT_EQ(reason(text), message) << text;
  }
}

TEST(PackageSpecifier, DangerousNamesAreRefused) {
  using namespace std::string_literals;
  for (const std::string& text :
       {"a\"b"s, "a\\b"s, "C:\\x"s, "ns/a\nb"s, "n\0s/a"s, "ns/a\x7f"s, "ns\x1b/a"s, "ns/a@st\x1b"s, "re\"g:ns/a"s}) {
    EXPECT_NE(reason(text).find("contains a control character"), std::string::npos) << text;
  }
  for (const std::string text : {"a//b", "a/../b", "ns/..", "ns/.", "a/./b", "a//b/c", "x:./a"}) {
    EXPECT_NE(reason(text).find("can't be a part of a package name"), std::string::npos) << text;
  }
}

TEST(PackageSpecifier, FileUrlsArePaths) {
  EXPECT_EQ(meaning("file:///a/b.webc"), "path /a/b.webc");
  EXPECT_EQ(meaning("FILE://localhost/a%20b/%C3%BC%zz"), "path /a b/\xC3\xBC%zz");
  EXPECT_EQ(meaning("file:///a?x#y"), "path /a");
  EXPECT_EQ(reason("file://host/a"), "a file URL can't name a host");
  EXPECT_EQ(reason("file://"), "a file URL needs a path");
  EXPECT_EQ(reason("file:///a%00"), "a path can't contain a NUL");
}

TEST(PackageSpecifier, Urls) {
  EXPECT_EQ(meaning("HTTPS://Host.COM"), "url https://host.com/");
  EXPECT_EQ(meaning("http://u:P@H:8080/a b?q=1"), "url http://u:P@h:8080/a%20b?q=1");
  EXPECT_EQ(meaning("http://[::1]:80/x"), "url http://[::1]:80/x");
  EXPECT_EQ(meaning("ftp://host/x"), "url ftp://host/x");
  EXPECT_EQ(reason("http://h:99999/"), "invalid port number");
  EXPECT_EQ(reason("http://h:x/"), "invalid port number");
  EXPECT_EQ(reason("http://:80/"), "empty host");
  EXPECT_EQ(reason("http://a b/"), "invalid domain character");
  EXPECT_EQ(reason("1http://a/"), "relative URL without a base");
  EXPECT_EQ(reason("ht tp://a/"), "relative URL without a base");
  EXPECT_EQ(reason("http://a/\x01"), "a URL can't contain control characters");
}

TEST(PackageSpecifier, PrintsNormalForm) {
  EXPECT_EQ(PackageSpecifier::parse("ns/name@1.2").to_string(), "ns/name@^1.2");
  EXPECT_EQ(PackageSpecifier::parse("ns/name@latest").to_string(), "ns/name@*");
  EXPECT_EQ(PackageSpecifier::parse(" reg.com:ns / name @stable").to_string(), "reg.com:ns/name@stable");
  EXPECT_EQ(PackageSpecifier::parse("name").to_string(), "name");
}

TEST(NamedIdent, MatchesIds) {
  const NamedId release{"ns/name", Version::parse("1.2.3")};
  const NamedId pre{"ns/name", Version::parse("1.3.0-rc.1")};
  const auto ident = [](const char* text) { return *PackageSpecifier::parse(text).named(); };
  EXPECT_TRUE(ident("ns/name@1").matches(release));
  EXPECT_FALSE(ident("ns/name@2").matches(release));
  EXPECT_FALSE(ident("ns/name@1").matches(pre));
  EXPECT_FALSE(ident("name@1").matches(release));
  EXPECT_TRUE(ident("ns/name").matches(pre));  // no tag: any version
  EXPECT_FALSE(ident("ns/name@latest").matches(pre));
  EXPECT_FALSE(ident("ns/name@stable").matches(release));
  EXPECT_EQ(ident("ns/name@stable").requirement(), VersionReq{});
  EXPECT_EQ(ident("reg:ns/name").full_name(), "ns/name");
}

}  // namespace
}  // namespace pkgfs
