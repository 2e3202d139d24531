// SPDX-License-Identifier: MIT
#include "core/base/hash.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/key_hash.h"

namespace pkgfs {
namespace {

std::span<const std::uint8_t> raw(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TEST(Hash, KnownSha256Values) {
  EXPECT_EQ(to_hex(sha256(std::string_view{})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(std::string_view{"abc"})),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_upper_hex(sha256(std::string_view{"abc"})).substr(0, 8), "BA7816BF");
}

TEST(Hash, PiecesGiveTheSameAsTheWhole) {
  const std::string text(100'003, 'x');
  Sha256Hasher hasher;
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  for (std::size_t at = 0; at < bytes.size(); at += 777) {
    hasher.update(bytes.subspan(at, std::min<std::size_t>(777, bytes.size() - at)));
  }
  EXPECT_EQ(hasher.finish(), sha256(text));
}

TEST(Hash, HexIsReadInEitherCaseAndNothingElseIs) {
  const Sha256 digest = sha256(std::string_view{"abc"});
  EXPECT_EQ(sha256_from_hex(to_hex(digest)), digest);
  EXPECT_EQ(sha256_from_hex(to_upper_hex(digest)), digest);
  const std::string hex = to_hex(digest);
  for (const std::string& bad : {std::string(), hex.substr(1), hex + "0", "g" + hex.substr(1), " " + hex.substr(1),
                                 "0x" + hex.substr(2), hex.substr(1) + "-"}) {
    EXPECT_FALSE(sha256_from_hex(bad).has_value()) << bad;
  }
}

TEST(Hash, TheDigestOfAKeyIsTheSame) {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(sha256_of_key(text), sha256(text)) << text.size();
    text += static_cast<char>(i);
  }
}

TEST(Base64, Rfc4648Vectors) {
  const std::vector<std::pair<std::string, std::string>> vectors{{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"},
                                                                 {"\xff\xfe\xfd", "//79"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(base64_encode(raw(plain)), encoded);
    EXPECT_EQ(base64_decode(encoded), plain);
  }
}

TEST(Base64, OnlyTheExactSpellingIsAccepted) {
  for (const std::string bad : {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "====", "=", "Zm9v ", " Zm9v", "Zm9v\n",
                                "Zm9v\n\n\n\n", "    ", "Zm-v", "Z=9v", "Zm9vZg==Zm9v"}) {
    EXPECT_FALSE(base64_decode(bad).has_value()) << "'" << bad << "'";
  }
  EXPECT_FALSE(base64_decode(std::string("Zm\0v", 4)).has_value());
}

}  // namespace
}  // namespace pkgfs
