// SPDX-License-Identifier: MIT
// Risk: what is printed piece by piece is another text than the document printed as a whole.
#include "core/webc/json_writer.h"

#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/webc/manifest.h"
#include "tests/support/fixtures.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

using namespace std::string_literals;

constexpr auto kReplace = Json::error_handler_t::replace;

template <typename AnyJson>
std::string written(const AnyJson& json, const JsonWriter::Style& style) {
  std::ostringstream out;
  JsonWriter(out, style).value(json);
  return out.str();
}

/// nlohmann's text, but with hidden characters escaped.
template <typename AnyJson>
std::string dumped(const AnyJson& json, int indent) {
  return printable_json(json.dump(indent, ' ', false, kReplace));
}

void expect_as_dumped(const Json& json) {
  const nlohmann::json sorted(json);
  EXPECT_EQ(written(json, JsonWriter::kSorted), dumped(sorted, 2));
  EXPECT_EQ(written(sorted, JsonWriter::kSorted), dumped(sorted, 2));
  EXPECT_EQ(written(json, JsonWriter::kOrdered), dumped(json, 2));
  EXPECT_EQ(written(json, JsonWriter::kCompact), dumped(json, -1));
  std::ostringstream quoted;
  JsonWriter(quoted, JsonWriter::kSorted).quoted([&](JsonWriter& compact) { compact.value(json); });
  EXPECT_EQ(quoted.str(), nlohmann::json(dumped(json, -1)).dump());
}

TEST(JsonWriter, WritesWhatDumpWrites) {
  for (const char* text : {"null", "[]", "{}", "[[],{}]", R"({"b":{"z":[],"a":[1,-2,0.5,1e300]},"a":true,"":""})",
                           R"(["\"\\\/\b\f\n\r\t\u0001\u007f","äé€😀","\u2028"])"}) {
    expect_as_dumped(Json::parse(text));
  }
  expect_as_dumped(Json{{"bytes", Json::binary({})}, {"more", {1, Json::binary({0, 127, 255})}}});
  expect_as_dumped(Json{{"nan", std::nan("")}, {"inf", std::numeric_limits<double>::infinity()}});
}

TEST(JsonWriter, CutsNoCharacterOfALongText) {
  for (const std::string& part : {"a"s, "ä"s, "€"s, "😀"s, "\""s, "\n"s, "\x80"s, "\xff"s, "\xe2\x82"s, "\xf0\x9f"s}) {
    for (std::size_t shift = 0; shift < 5; ++shift) {
      std::string text(shift, 'x');
      while (text.size() < 9000) {
        text += part;
      }
      expect_as_dumped(Json{{text, text}});
    }
  }
}

class RandomJson {
 public:
  explicit RandomJson(unsigned seed) : random_(seed) {}

  Json make(int depth) {
    switch (random_() % (depth == 0 ? 5 : 8)) {
      case 0:
        return nullptr;
      case 1:
        return random_() % 2 == 0;
      case 2:
        return static_cast<std::int64_t>(random_()) - 1'000'000;
      case 3:
        return static_cast<double>(random_()) / 7;
      case 4:
        return text();
      case 5: {
        Json list = Json::array();
        for (auto i = random_() % 5; i != 0; --i) {
          list.push_back(make(depth - 1));
        }
        return list;
      }
      default: {
        Json map = Json::object();
        for (auto i = random_() % 5; i != 0; --i) {
          map[text()] = make(depth - 1);
        }
        return map;
      }
    }
  }

 private:
  std::string text() {
    static const std::vector<std::string> kParts{"a", "b", "\"", "\\", "\n", "ä", "\x1f", "\xc3", "😀"};
    std::string all;
    for (auto i = random_() % 4; i != 0; --i) {
      all += kParts[random_() % kParts.size()];
    }
    return all;
  }

  std::mt19937 random_;
};

TEST(JsonWriter, WritesWhatDumpWritesForRandomDocuments) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    expect_as_dumped(RandomJson(seed).make(5));
  }
}

TEST(JsonWriter, WritesEveryManifestAsToJsonMakesIt) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(pkgfs::test::fixtures() / "webc")) {
    if (entry.path().extension() != ".webc") {
      continue;
    }
    const auto container = Container::open(test::load(entry.path()));
    std::ostringstream out;
    JsonWriter writer(out, JsonWriter::kCompact);
    write_manifest(writer, container->manifest());
    EXPECT_EQ(out.str(), container->manifest().to_json().dump()) << entry.path();
    ++count;
  }
  EXPECT_GT(count, 50U);
}

TEST(JsonWriter, StopsWhenCancelled) {
  CancelFlag cancel;
  cancel.cancel();
  const CancelScope scope(cancel);
  EXPECT_THROW(static_cast<void>(written(Json(std::string(10'000, 'x')), JsonWriter::kSorted)), Error);
  EXPECT_THROW(static_cast<void>(written(Json::array({1, 2}), JsonWriter::kSorted)), Error);
}

}  // namespace
}  // namespace pkgfs::webc
