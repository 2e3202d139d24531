// SPDX-License-Identifier: MIT
// Risk: a text from outside prints a line of its own, drives a terminal, or makes a message endless.
#include "core/base/printable.h"

#include <string>

#include <gtest/gtest.h>

#include "core/base/utf8.h"

namespace pkgfs {
namespace {

TEST(Printable, WhatDrivesATerminalIsEscaped) {
  EXPECT_EQ(printable("a\tb\x7f\x1b[2J"), R"(a\x09b\x7f\x1b[2J)");
  EXPECT_EQ(printable("a\nb\rc"), R"(a\x0ab\x0dc)");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), R"(a\x00b)");
  EXPECT_EQ(printable("\u009b1m \u0085 ü"), R"(\xc2\x9b1m \xc2\x85 ü)") << "U+009B starts a sequence, too";
}

TEST(Printable, WhatReordersTextOrEndsALineIsEscaped) {
  for (char32_t c = 0x2028; c <= 0x202e; ++c) {
    const std::string text{'\xe2', '\x80', static_cast<char>(0x80 + (c & 0x3f))};
    EXPECT_EQ(printable(text).substr(0, 8), R"(\xe2\x80)") << static_cast<unsigned>(c);
  }
  EXPECT_EQ(printable("\u2066a\u2069"), R"(\xe2\x81\xa6a\xe2\x81\xa9)");
  EXPECT_EQ(printable("a\u2027\u202f\u2065\u206a…"), "a\u2027\u202f\u2065\u206a…");
}

TEST(Printable, WhatHasNoWidthIsEscaped) {
  EXPECT_EQ(printable("a\u200bb\u200cc\u200dd"), R"(a\xe2\x80\x8bb\xe2\x80\x8cc\xe2\x80\x8dd)");
  EXPECT_EQ(printable("\u200e\u200f\u061c"), R"(\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c)") << "marks that reorder";
  EXPECT_EQ(printable("\u2060\ufeff"), R"(\xe2\x81\xa0\xef\xbb\xbf)");
  EXPECT_EQ(printable("\u061b\u061d\u200a\u2010\u205f\ufefe\uff00"), "\u061b\u061d\u200a\u2010\u205f\ufefe\uff00");
  EXPECT_EQ(printable_json("[\"\u061c\u200b\u200f\u2060\ufeffü؛ｱ\"]"), R"(["\u061c\u200b\u200f\u2060\ufeffü؛ｱ"])");
}

TEST(Printable, WhatIsNotUtf8IsEscaped) {
  EXPECT_EQ(printable("a\xff"), R"(a\xff)");
  EXPECT_EQ(printable("\xc3"), R"(\xc3)") << "cut";
  EXPECT_EQ(printable("\xc0\xaf"), R"(\xc0\xaf)") << "overlong";
  EXPECT_EQ(printable("\xed\xa0\x80"), R"(\xed\xa0\x80)") << "a lone surrogate";
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), R"(\xf4\x90\x80\x80)") << "beyond U+10FFFF";
  EXPECT_EQ(printable("\xe2\x80ü"), R"(\xe2\x80)"
                                    "ü");
}

TEST(Printable, TwiceIsAsOnce) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
  }
  all += "\u202e ü …";
  EXPECT_EQ(printable(printable(all)), printable(all));
  EXPECT_TRUE(is_utf8(printable(all)));
}

TEST(Printable, KeepsNewlinesWhenAsked) { EXPECT_EQ(printable("a\nb\x1b\r", true), "a\nb\\x1b\\x0d"); }

TEST(Shortened, KeepsBothEnds) {
  EXPECT_EQ(shortened("abcdefg", 7), "abcdefg");
  EXPECT_EQ(shortened("abcdefgh", 7), "abc…fgh");
  EXPECT_EQ(shortened("abcdefgh", 6), "abc…gh");
  EXPECT_EQ(shortened("abc", 1), "…");
  EXPECT_EQ(shortened("abc", 0), "");
  EXPECT_EQ(shortened(std::string(300, 'x')).size(), 199 + std::string_view("…").size());
}

TEST(Shortened, CountsCharactersAndCutsNone) {
  EXPECT_EQ(shortened("üüüüü", 5), "üüüüü");
  EXPECT_EQ(shortened("üüüüüü", 5), "üü…üü");
  EXPECT_EQ(shortened("\xff\xff\xff\xff", 3), "\xff…\xff") << "a byte that isn't UTF-8 counts as one";
  EXPECT_EQ(shortened(std::string(1000, '\x80'), 3), "\x80…\x80");
}

TEST(Utf8, FirstCodePoint) {
  EXPECT_EQ(first_code_point("").bytes, 0U);
  EXPECT_EQ(first_code_point("a").value, U'a');
  EXPECT_EQ(first_code_point("üb").value, U'ü');
  EXPECT_EQ(first_code_point("…").bytes, 3U);
  EXPECT_EQ(first_code_point("\xf0\x9f\x98\x80").value, U'\U0001F600');
}

}  // namespace
}  // namespace pkgfs
