// SPDX-License-Identifier: MIT
#include "core/webc/manifest.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace pkgfs::webc {
namespace {

Manifest read(const char* json) { return manifest_from_json(Json::parse(json)); }

template <typename Call>
std::string refusal(Call call) {
  try {
    (void)call();
    return "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    std::string text;
    for (const std::string& message : error.chain()) {
      text += (text.empty() ? "" : " / ") + message;
    }
    return text;
  }
}
std::string refused(const char* json) {
  return refusal([&] { return read(json); });
}

TEST(Manifest, RefusesWrongTypes) {
  EXPECT_EQ(refused("[]"), "invalid type: sequence, expected a map");
  EXPECT_EQ(refused(R"({"use":null})"), "use: invalid type: null, expected a map");
  EXPECT_EQ(refused(R"({"use":{"a":1}})"), "use.a: data did not match any variant of untagged enum UrlOrManifest");
  EXPECT_EQ(refused(R"({"use":{"a":{"entrypoint":1}}})"),
            "use.a: data did not match any variant of untagged enum UrlOrManifest / "
            "entrypoint: invalid type: integer `1`, expected a string");
  EXPECT_EQ(refused(R"({"package":7})"), "package: invalid type: integer `7`, expected a map");
  EXPECT_EQ(refused(R"({"atoms":{"a":{"signature":""}}})"), "atoms.a: missing field `kind`");
  EXPECT_EQ(refused(R"({"atoms":{"a":{"kind":"wasm","signature":""}}})"), "atoms.a.kind: relative URL without a base");
  EXPECT_EQ(refused(R"({"atoms":{"a":{"kind":"x:y","signature":"","annotations":null}}})"),
            "atoms.a.annotations: invalid type: null, expected a map");
  EXPECT_EQ(refused(R"({"commands":{"c":{"runner":"r"}}})"), "commands.c: missing field `annotations`");
  EXPECT_EQ(refused(R"({"commands":{"c":{"runner":true,"annotations":{}}}})"),
            "commands.c.runner: invalid type: boolean `true`, expected a string");
  EXPECT_EQ(refused(R"({"bindings":{}})"), "bindings: invalid type: map, expected a sequence");
  EXPECT_EQ(refused(R"({"bindings":[{"name":"n","kind":"k"}]})"), "bindings.0: missing field `annotations`");
  EXPECT_EQ(refused(R"({"entrypoint":[]})"), "entrypoint: invalid type: sequence, expected a string");
}

TEST(Manifest, IgnoresWhatItDoesNotKnow) {
  const Manifest manifest = read(R"({"origin":1,"entrypoint":null,"new":{"x":[]}})");
  EXPECT_FALSE(manifest.entrypoint);
  EXPECT_EQ(manifest.to_json().dump(), "{}");
}

TEST(Manifest, VendoredManifestsAreBounded) {
  Json json = Json::object();
  for (int i = 0; i < 10'000; ++i) {
    Json outer = Json::object();
    outer["use"]["a"] = std::move(json);
    json = std::move(outer);
  }
  EXPECT_NE(refusal([&] { return manifest_from_json(std::move(json)); }).find("UrlOrManifest"), std::string::npos);
}

TEST(Manifest, KeepsOrderAndVendoredManifests) {
  const char* text = R"({"use":{"z":"acme/z@1","a":{"package":{"x":1},"entrypoint":"e"}},)"
                     R"("commands":{"z":{"runner":"r","annotations":{}},"a":{"runner":"r","annotations":{}}}})";
  EXPECT_EQ(read(text).to_json().dump(), text);
}

TEST(Manifest, ReadsWapm) {
  const auto wapm = read(R"({"package":{"wapm":{"name":"a/b","version":null,"private":true,"other":[],
      "license-file":{"volume":"metadata","path":"/LICENSE"},"readme":null}}})")
                        .wapm();
  ASSERT_TRUE(wapm);
  EXPECT_EQ(wapm->name, "a/b");
  EXPECT_FALSE(wapm->version);
  EXPECT_TRUE(wapm->is_private);
  EXPECT_EQ(wapm->license_file->path, "/LICENSE");
  EXPECT_FALSE(wapm->readme);
  EXPECT_FALSE(read("{}").wapm());
  const auto bad = [](const char* json) { return refusal([&] { return read(json).wapm(); }); };
  EXPECT_EQ(bad(R"({"package":{"wapm":{"private":null}}})"),
            "Failed to deserialize package annotation 'wapm': private: invalid type: null, expected a boolean");
  EXPECT_EQ(bad(R"({"package":{"wapm":{"readme":{"path":"x"}}}})"),
            "Failed to deserialize package annotation 'wapm': readme: missing field `volume`");
}

TEST(Manifest, ReadsFs) {
  const auto fs = read(R"({"package":{"fs":[{"from":null,"volume_name":"v","original_path":"/o","mount_path":"/m"},
      {"from":"dep","volume_name":"w","host_path":"/h","mount_path":"/n"}]}})")
                      .fs();
  ASSERT_TRUE(fs);
  ASSERT_EQ(fs->size(), 2U);
  EXPECT_EQ((*fs)[0].host_path, "/o");
  EXPECT_FALSE((*fs)[0].from);
  EXPECT_EQ((*fs)[1].from, "dep");
  EXPECT_EQ((*fs)[1].host_path, "/h");
  EXPECT_FALSE(read("{}").fs());
  EXPECT_TRUE(read(R"({"package":{"fs":[]}})").fs()->empty());
  const auto bad = [](const char* json) { return refusal([&] { return read(json).fs(); }); };
  EXPECT_EQ(bad(R"({"package":{"fs":{}}})"),
            "Failed to deserialize package annotation 'fs': invalid type: map, expected a sequence");
  EXPECT_EQ(bad(R"({"package":{"fs":[{"mount_path":"/"}]}})"),
            "Failed to deserialize package annotation 'fs': 0: missing field `volume_name`");
  EXPECT_EQ(bad(R"({"package":{"fs":[{"volume_name":"v","host_path":"a","original_path":"b","mount_path":"/"}]}})"),
            "Failed to deserialize package annotation 'fs': 0: duplicate field `host_path`");
}

std::optional<AtomRef> atom(const char* annotations) {
  return command_atom({.name = "c", .runner = "r", .annotations = Json::parse(annotations)});
}

TEST(CommandAtom, PrefersTheAtomAnnotation) {
  const auto own = atom(R"({"wasi":{"atom":"old"},"atom":{"name":"new","dependency":null}})");
  EXPECT_EQ(own->name, "new");
  EXPECT_FALSE(own->dependency);
  EXPECT_EQ(atom(R"({"atom":{"name":"n","dependency":"d"}})")->dependency, "d");
  EXPECT_EQ(atom(R"({"wasi":{"atom":"d:n"},"emscripten":{"atom":"e"}})")->dependency, "d");
  EXPECT_EQ(atom(R"({"wasi":{"atom":"n","main_args":5}})")->name, "n") << "an unknown key";
  EXPECT_EQ(atom(R"({"emscripten":{"atom":"e"}})")->name, "e");
  EXPECT_FALSE(atom("{}"));
  EXPECT_FALSE(atom(R"({"emscripten":{}})"));
}

TEST(CommandAtom, IgnoresUnreadableRunnerAnnotations) {
  EXPECT_EQ(atom(R"({"wasi":{"atom":1},"emscripten":{"atom":"e"}})")->name, "e");
  EXPECT_EQ(atom(R"({"wasi":{"atom":"w","main-args":[1]},"emscripten":{"atom":"e"}})")->name, "e");
  EXPECT_FALSE(atom(R"({"wasi":[]})"));
}

TEST(CommandAtom, RefusesMalformedOnes) {
  EXPECT_EQ(refusal([] { return atom(R"({"atom":{"dependency":"d"}})"); }),
            "Unable to deserialize atom annotations / Failed to deserialize annotation 'atom': missing field `name`");
  EXPECT_EQ(refusal([] { return atom(R"({"atom":null})"); }),
            "Unable to deserialize atom annotations / "
            "Failed to deserialize annotation 'atom': invalid type: null, expected a map");
  EXPECT_EQ(refusal([] { return atom(R"({"wasi":{"atom":"a:b:c"}})"); }),
            "Unable to deserialize atom annotations / Invalid format");
}

}  // namespace
}  // namespace pkgfs::webc
