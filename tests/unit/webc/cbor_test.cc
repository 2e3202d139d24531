// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

Json parse(std::string_view cbor) { return parse_cbor(test::to_bytes(cbor)); }

std::string refusal(std::string_view cbor) {
  try {
    return "accepted: " + parse(cbor).dump();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.message();
  }
}

TEST(Cbor, ReadsEveryKindOfItem) {
  EXPECT_EQ(parse("\x17"sv), 23);
  EXPECT_EQ(parse("\x18\xff"sv), 255);
  EXPECT_EQ(parse("\x1b\xff\xff\xff\xff\xff\xff\xff\xff"sv).dump(), "18446744073709551615");
  EXPECT_EQ(parse("\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"sv).dump(), "-9223372036854775808");
  EXPECT_TRUE(parse("\x3b\xff\xff\xff\xff\xff\xff\xff\xff"sv).is_number_float());
  EXPECT_EQ(parse("\x43\x01\x02\x03"sv), Json::binary({1, 2, 3}));
  EXPECT_EQ(parse("\x63\xe2\x82\xac"sv), "€");
  EXPECT_EQ(parse("\x82\x01\x81\x02"sv).dump(), "[1,[2]]");
  EXPECT_EQ(parse("\xa2\x61z\x01\x61"
                  "a\xf4"sv)
                .dump(),
            R"({"z":1,"a":false})");
  EXPECT_EQ(parse("\xf9\x3e\x00"sv).dump(), "1.5");
  EXPECT_EQ(parse("\xf9\x00\x01"sv).get<double>(), 5.960464477539063e-8);
  EXPECT_EQ(parse("\xf9\xfc\x00"sv).get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(parse("\xfa\x47\xc3\x50\x00"sv).dump(), "100000.0");
  EXPECT_EQ(parse("\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"sv).dump(), "1.1");
  EXPECT_TRUE(parse("\xf6"sv).is_null());
  EXPECT_EQ(parse("\xf5"sv), true);
}

TEST(Cbor, AcceptsWhatTheReferenceAccepts) {
  EXPECT_TRUE(parse("\xf7"sv).is_null()) << "undefined";
  EXPECT_EQ(parse("\xc0\x61x"sv), "x") << "tag 0";
  EXPECT_EQ(parse("\xc2\x41\x01"sv), Json::binary({1})) << "tag 2";
  EXPECT_EQ(parse("\xd9\xd9\xf7\xc1\x05"sv), 5) << "tags in front of tags";
  EXPECT_EQ(parse("\xa1\xc0\x61k\xc5\x01"sv).dump(), R"({"k":1})") << "tags in a map";
  EXPECT_EQ(parse("\x9f\x01\x9f\xff\xff"sv).dump(), "[1,[]]");
  EXPECT_EQ(parse("\xbf\x61k\xbf\xff\xff"sv).dump(), R"({"k":{}})");
  EXPECT_EQ(parse("\x7f\x61x\x60\x61y\xff"sv), "xy");
  EXPECT_EQ(parse("\x5f\x41\x01\x41\x02\xff"sv), Json::binary({1, 2}));
  EXPECT_EQ(parse("\x01garbage"sv), 1) << "bytes after the first item";
}

TEST(Cbor, NamesWhatIsWrongAndWhere) {
  EXPECT_EQ(refusal(""sv), "CBOR offset 0x0: ends in the middle of an item");
  EXPECT_EQ(refusal("\x82\x01"sv), "CBOR offset 0x0: claims 2 items, more than bytes are left");
  EXPECT_EQ(refusal("\x19\x01"sv), "CBOR offset 0x0: ends in the middle of an item");
  EXPECT_EQ(refusal("\x81\x1c"sv), "CBOR offset 0x1: reserved form of an item");
  EXPECT_EQ(refusal("\xff"sv), "CBOR offset 0x0: a break where an item should be");
  EXPECT_EQ(refusal("\xbf\x61k\xff"sv), "CBOR offset 0x3: a break where an item should be");
  EXPECT_EQ(refusal("\x61\xff"sv), "CBOR offset 0x0: text is not UTF-8");
  EXPECT_EQ(refusal("\x7f\x61\xe2\x62\x82\xac\xff"sv), "CBOR offset 0x0: text is not UTF-8");
  EXPECT_EQ(refusal("\x7f\x41x\xff"sv),
            "CBOR offset 0x0: a string of indefinite length holds something else than its chunks");
  EXPECT_EQ(refusal("\x7f\x7f\xff\xff"sv),
            "CBOR offset 0x0: a string of indefinite length holds something else than its chunks");
  EXPECT_EQ(refusal("\xa1\x01\x02"sv), "CBOR offset 0x1: a key is not text");
  EXPECT_EQ(refusal("\xa2\x61k\x01\x61k\x02"sv), "CBOR offset 0x0: duplicate field \"k\"");
  EXPECT_EQ(refusal("\xe0"sv), "CBOR offset 0x0: unknown simple value");
  EXPECT_EQ(refusal("\xdf\x01"sv), "CBOR offset 0x0: reserved form of an item");
}

TEST(Cbor, IsBounded) {
  EXPECT_NE(refusal("\x7b\x10\0\0\0\0\0\0\0"sv).find("longer than what is left"), std::string::npos);
  EXPECT_NE(refusal("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"sv).find("more than bytes are left"), std::string::npos);
  EXPECT_NE(refusal("\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"sv).find("more than bytes are left"), std::string::npos);
  const auto nested = [](std::size_t depth) { return std::string(depth, '\x81') + "\x01"; };
  EXPECT_NO_THROW((void)parse(nested(limits::kJsonDepth)));
  EXPECT_NE(refusal(nested(limits::kJsonDepth + 1)).find("nested deeper"), std::string::npos);
  EXPECT_NE(refusal(std::string(5'000'000, '\x9f')).find("nested deeper"), std::string::npos);
  EXPECT_EQ(parse(std::string(2'000'000, '\xc0') + "\x07"), 7) << "tags cost nothing";
  std::string texts = "\x9f";
  for (std::size_t i = 0; i < limits::kManifestItems; ++i) {
    texts +=
        "\x67"
        "seven..";
  }
  EXPECT_NE(refusal(texts + "\xff").find("more than 300000 items"), std::string::npos);
  EXPECT_EQ(refusal("\x9f" + std::string(200'000, '\x80') + "\xff"),
            "CBOR offset 0x20000: its 200002 bytes would take more than 8388608 bytes of memory");
}

TEST(Cbor, BigMapsAreNotQuadratic) {
  std::string cbor = "\xb9\xff\xff"s;
  for (int i = 0; i < 0xffff; ++i) {
    const std::string key = std::to_string(100'000 + i);
    cbor += "\x66" + key + "\x01";
  }
  EXPECT_EQ(parse(cbor).size(), 0xffffU);
}

}  // namespace
}  // namespace pkgfs::webc
