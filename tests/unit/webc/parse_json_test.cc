// SPDX-License-Identifier: MIT
// Risk: a document from outside takes minutes or all memory, can't be interrupted, or is read as another value than it
// has.
#include "core/webc/parse_json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/webc/manifest.h"
#include "tests/unit/webc/counted_memory.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

using namespace std::string_literals;
using pkgfs::test::CountedMemory;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string json_refusal(std::string_view text, const JsonLimits& limits = kAnyJson) {
  try {
    return "accepted: " + parse_json(text, limits).dump().substr(0, 100);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.message();
  }
}

std::string repeated(const std::string& part, std::size_t count) {
  std::string text;
  text.reserve(part.size() * count);
  for (std::size_t i = 0; i < count; ++i) {
    text += part;
  }
  return text;
}

/// `{"key100000":0,"key100001":0,…}`
std::string keys(std::size_t count) {
  std::string text = "{";
  for (std::size_t i = 0; i < count; ++i) {
    text += (i == 0 ? "\"key" : ",\"key") + std::to_string(100'000 + i) + "\":0";
  }
  return text + "}";
}

TEST(ParseJson, GivesWhatThePlainParserGives) {
  for (const char* text :
       {"null", " true ", "[]", "{}", "-1", "18446744073709551615", "-9223372036854775808", "1.5e3", "\"\"",
        R"("a\u00e9\n\ud83d\ude00")", R"([1,[2,{"a":[{}]}],"x"])", R"({"z":1,"a":{"y":[],"b":null},"m":false})",
        "\xef\xbb\xbf{}", R"({"a":1,"b":2,"a":3,"c":4,"a":5,"c":6})"}) {
    EXPECT_EQ(parse_json(text).dump(), Json::parse(text).dump()) << text;
  }
}

TEST(ParseJson, SaysWhereTheTextIsWrong) {
  EXPECT_EQ(json_refusal(""),
            "parse error at line 1, column 1: syntax error while parsing value - unexpected end of input; expected "
            "'[', '{', or a literal");
  EXPECT_THAT(json_refusal("{} x"), StartsWith("parse error at line 1, column 4: "));
  EXPECT_THAT(json_refusal("\"\xff\""), HasSubstr("invalid string"));
  EXPECT_THAT(json_refusal(R"("\ud800")"), HasSubstr("surrogate"));
  EXPECT_THAT(json_refusal("1e999"), HasSubstr("number overflow"));
  EXPECT_EQ(json_refusal("{}\0{"s), "a NUL at byte 3");
  EXPECT_LT(json_refusal("[\"" + repeated("ä", 100'000)).size(), 620U) << "it quotes the wrong token";
}

TEST(ParseJson, IsStrictWhereAsked) {
  EXPECT_EQ(json_refusal(R"({"a":{"b":1,"c":2,"b":1}})", kLockJson), "duplicate field \"b\"");
  EXPECT_EQ(json_refusal("\xef\xbb\xbf{}", kLockJson), "a byte order mark");
  EXPECT_EQ(parse_json(R"({"b":1,"a":{"b":2}})", kLockJson).dump(), R"({"b":1,"a":{"b":2}})");
}

TEST(ParseJson, IsBounded) {
  const auto nested = [](std::size_t depth) { return repeated("[", depth) + "0" + repeated("]", depth); };
  EXPECT_NO_THROW(static_cast<void>(parse_json(nested(limits::kJsonDepth))));
  EXPECT_EQ(json_refusal(nested(limits::kJsonDepth + 1)), "nested deeper than 64 levels");
  EXPECT_EQ(json_refusal(repeated("{\"a\":", 1'000'000)), "nested deeper than 64 levels");
  const JsonLimits few{.bytes = 100, .items = 5, .growth = 1, .memory = 10'000'000, .is_strict = false};
  EXPECT_EQ(json_refusal(std::string(101, ' '), few), "longer than 100 bytes");
  EXPECT_EQ(json_refusal(R"({"a":1,"b":[]})", few), "accepted: {\"a\":1,\"b\":[]}") << "keys and values count";
  EXPECT_EQ(json_refusal(R"({"a":1,"b":[0]})", few), "more than 5 items");
  const std::string text = "[0" + repeated(",0", 499'998) + "]";
  EXPECT_EQ(json_refusal(text), "its 999999 bytes would take more than 8388608 bytes of memory");
}

/// The most memory for each byte of text, whether the text is accepted or refused.
std::size_t growth(const std::string& text, const JsonLimits& limits = kAnyJson) {
  const CountedMemory memory;
  try {
    static_cast<void>(parse_json(text, limits));
  } catch (const Error&) {  // that is fine as well
  }
  return memory.peak() / text.size();
}

TEST(ParseJson, TakesMemoryInProportion) {
  for (const char* part :
       {"[],", "{},", "0,", "\"\",", "\"sixteen letters.\",", "[[]],", "{\"\":0},", "1.5,", "null,"}) {
    EXPECT_LE(growth("[" + repeated(part, 1'500'000 / std::string(part).size()) + "0]"), 8U) << part;
  }
  EXPECT_LE(growth(keys(150'000)), 8U);
  EXPECT_LE(growth("[\"" + std::string(5'000'000, 'x') + "\"]"), 8U) << "the parser holds a string twice";
  EXPECT_LE(growth("{\"" + std::string(5'000'000, 'x') + "\":0}"), 8U);
}

/// What a registry says of the largest package within the limits, with the shortest names.
TEST(ParseJson, AllMappingsAndCommandsWithinTheLimitsPass) {
  std::string mappings = R"({"package":{"fs":[)";
  for (std::size_t i = 0; i < limits::kMappings; ++i) {
    mappings +=
        fmt::format(R"({}{{"from":null,"volume_name":"v","host_path":"/","mount_path":"/{}"}})", i == 0 ? "" : ",", i);
  }
  mappings += "]}}";
  {
    const CountedMemory memory;
    std::size_t begun = 0;
    std::size_t added = 0;
    std::vector<FsEntry> entries;  // as a description of the package keeps them, beside the value
    EXPECT_TRUE(manifest_from_json(parse_json(mappings, kManifestJson))
                    .take_fs(
                        [&](std::size_t count) {
                          entries.reserve(count);
                          begun += count;
                        },
                        [&](FsEntry&& entry) {
                          entries.push_back(std::move(entry));
                          ++added;
                        }));
    EXPECT_EQ(begun, limits::kMappings);
    EXPECT_EQ(added, limits::kMappings);
    EXPECT_LT(memory.peak(), 8 * mappings.size());
  }
  EXPECT_EQ(manifest_from_json(parse_json(mappings, kManifestJson)).fs()->size(), limits::kMappings);
  std::string commands = R"({"commands":{)";
  for (std::size_t i = 0; i < limits::kCommands; ++i) {
    commands += fmt::format(R"({}"{}":{{"runner":"r","annotations":{{}}}})", i == 0 ? "" : ",", i);
  }
  EXPECT_EQ(parse_json(commands + "}}", kManifestJson)["commands"].size(), limits::kCommands);
}

TEST(ParseJson, AllocatesEachContainerOnceWhateverTheNesting) {
  // 60 levels, in each of which the next level is the first of nine members: vectors that grow would copy it four
  // times.
  const std::string leaf = keys(10'000);
  const std::string text =
      repeated("{\"a\":", 60) + leaf + repeated(R"(,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0})", 60);
  const CountedMemory memory;
  static_cast<void>(parse_json(text));
  EXPECT_LT(memory.allocations(), 6'000U);
}

TEST(ParseJson, KeysTakeLinearTime) {  // n log n; with a look-up among all keys before, these took a minute
  timespec begin{};
  timespec end{};
  const std::string text = keys(120'000);
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  EXPECT_EQ(parse_json(text).size(), 120'000U);
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  EXPECT_LT(end.tv_sec - begin.tv_sec, 10);
}

TEST(ParseJson, StopsSoonWhenCancelled) {
  const std::vector<std::string> texts{"\"" + std::string(1'000'000, 'x') + "\"", keys(20'000),
                                       std::string(1'000'000, ' ') + "0", "[" + repeated("0,", 100'000) + "0]"};
  CancelFlag cancel;
  const CancelScope scope(cancel);
  for (const std::string& text : texts) {
    EXPECT_NO_THROW(static_cast<void>(parse_json(text)));
  }
  cancel.cancel();
  for (const std::string& text : texts) {
    const CountedMemory memory;
    try {
      static_cast<void>(parse_json(text));
      ADD_FAILURE() << text.substr(0, 20);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    }
    EXPECT_LT(memory.peak(), 1'500'000U) << "it read the first 64 KiB at most";
  }
}

TEST(Cbor, TakesMemoryInProportion) {
  const auto grown = [](const std::string& cbor) {
    const std::vector<std::byte> bytes = test::to_bytes(cbor);
    const CountedMemory memory;
    try {
      static_cast<void>(parse_manifest(bytes));
    } catch (const Error&) {  // refused
    }
    return memory.peak();
  };
  const std::string begin = "\xa1\x67package\xa1\x61x\x9f"s;
  for (const std::string& part :
       {"\xa0"s, "\x80"s, "\x01"s, "\x60"s, "\x41x"s, "\xa1\x61x\xa0"s, "\x70sixteen letters."s}) {
    const std::string cbor = begin + repeated(part, 500'000 / part.size()) + "\xff";
    EXPECT_LE(grown(cbor), 24 * cbor.size()) << part;
  }
  std::string longest = begin;
  for (int i = 0; i < 290'000; ++i) {
    longest += "\x78\x38"s + std::string(0x38, 'x');
  }
  EXPECT_LE(grown(longest + "\xff"), 40U << 20U) << "within 64 MB with the program and the mapped file";
}

}  // namespace
}  // namespace pkgfs::webc
