// SPDX-License-Identifier: MIT
#include "core/package/wasmer_toml.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string error_text(const std::string& toml) {
  try {
    (void)parse_wasmer_toml(toml);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.message();
  }
  return "no error";
}

/// The last line: what is wrong.
std::string toml_reason(const std::string& toml) {
  std::string text = error_text(toml);
  if (text.ends_with('\n')) {
    text.pop_back();
  }
  return text.substr(text.rfind('\n') + 1);
}

TEST(ParseWasmerToml, Everything) {
  const WasmerToml toml = parse_wasmer_toml(R"(
[package]
name = "acme/x"
version = "1.2.3"
description = "d"
license = "MIT"
license-file = "LICENSE"
readme = "README.md"
repository = "https://r"
homepage = "https://h"
entrypoint = "run"
private = true
wasmer-extra-flags = "ignored"
unknown = { a = 1 }

[dependencies]
"z/z" = "1"
"a/a" = ">=1, <2"

[fs]
"/zz" = "zz"
"/a" = "aa"
b = "c"

[[module]]
name = "m"
source = "m.wasm"
abi = "wasi"
kind = "wasm"
interfaces = { wasi = "0.1" }
[module.bindings]
wit-bindgen = "0.1.0"
wit-exports = "m.wit"
[module.annotations]
suggested_compiler_optimizations = { pass_params = true }

[[command]]
name = "old"
module = "m"
main_args = "-a  -b"
package = "p"

[[command]]
name = "run"
module = "a/a:m"
runner = "wasi"
extra = 1
[command.annotations.wasi]
z = 1
a = [1.5, true, 1979-05-27, "s"]

[[command]]
name = "file"
module = "m"
runner = "wcgi"
annotations = { file = "a.json", kind = "json" }

[something.else]
x = 1
)");
  ASSERT_TRUE(toml.package);
  EXPECT_EQ(toml.package->name, "acme/x");
  EXPECT_EQ(toml.package->version, "1.2.3");
  EXPECT_EQ(toml.package->description, "d");
  EXPECT_EQ(toml.package->license, "MIT");
  EXPECT_EQ(toml.package->license_file, "LICENSE");
  EXPECT_EQ(toml.package->readme, "README.md");
  EXPECT_EQ(toml.package->repository, "https://r");
  EXPECT_EQ(toml.package->homepage, "https://h");
  EXPECT_EQ(toml.package->entrypoint, "run");
  EXPECT_TRUE(toml.package->is_private);
  EXPECT_EQ(toml.dependencies, (Pairs{{"z/z", "1"}, {"a/a", ">=1, <2"}}));  // as in the file
  EXPECT_EQ(toml.fs, (Pairs{{"/zz", "zz"}, {"/a", "aa"}, {"b", "c"}}));
  ASSERT_EQ(toml.modules.size(), 1U);
  EXPECT_EQ(toml.modules[0].name, "m");
  EXPECT_EQ(toml.modules[0].source, "m.wasm");
  EXPECT_EQ(toml.modules[0].abi, "wasi");
  EXPECT_EQ(toml.modules[0].kind, "wasm");
  ASSERT_TRUE(toml.modules[0].bindings);
  EXPECT_TRUE(toml.modules[0].bindings->wit);
  EXPECT_EQ(toml.modules[0].bindings->version, "0.1.0");
  EXPECT_EQ(toml.modules[0].bindings->exports, "m.wit");
  EXPECT_EQ(toml.modules[0].annotations.dump(), R"({"suggested_compiler_optimizations":{"pass_params":true}})");
  ASSERT_EQ(toml.commands.size(), 3U);
  EXPECT_FALSE(toml.commands[0].runner);
  EXPECT_EQ(toml.commands[0].main_args, "-a  -b");
  EXPECT_EQ(toml.commands[0].package, "p");
  EXPECT_EQ(toml.commands[1].module, "a/a:m");
  EXPECT_EQ(toml.commands[1].runner, "wasi");
  EXPECT_EQ(toml.commands[1].annotations.dump(), R"({"wasi":{"z":1,"a":[1.5,true,"1979-05-27","s"]}})");
  ASSERT_TRUE(toml.commands[2].annotations_file);
  EXPECT_EQ(*toml.commands[2].annotations_file, (std::pair<std::string, std::string>("a.json", "json")));
}

TEST(ParseWasmerToml, NothingIsRequired) {
  const WasmerToml toml = parse_wasmer_toml("");
  EXPECT_FALSE(toml.package);
  EXPECT_TRUE(toml.modules.empty());
  EXPECT_TRUE(parse_wasmer_toml("[package]\n").package);
  EXPECT_EQ(parse_wasmer_toml("[[module]]\nname = 'm'\nsource = 's'\n").modules.at(0).abi, "none");
}

TEST(ParseWasmerToml, ShowsTheLine) {
  EXPECT_EQ(error_text("[package]\nname = 5\n"),
            "TOML parse error at line 2, column 8\n  |\n2 | name = 5\n  |        ^\n"
            "invalid type: integer `5`, expected a string\n");
  EXPECT_EQ(error_text("\n\n\n\n\n\n\n\n\n[package]\r\nversion = \"one\" # x\r\n"),
            "TOML parse error at line 11, column 11\n   |\n11 | version = \"one\" # x\n   |           ^^^^^\n"
            "unexpected character 'o' while parsing major version number\n");
  // A terminal gets no control characters from the file, and no endless lines.
  EXPECT_NE(error_text("[package]\nname = \x1b[31m\n").find("2 | name = ?[31m\n"), std::string::npos);
  EXPECT_LT(error_text("name = [" + std::string(100'000, ' ') + "\n").size(), 500U);
}

TEST(ParseWasmerToml, GoldenErrors) {
  const test::TempDir dir;
  ASSERT_EQ(std::system(("tar -xzf '" + (test::fixtures() / "sources" / "sources.tar.gz").string() + "' -C '" +
                         dir.path().string() + "'")
                            .c_str()),
            0);
  for (const char* name : {"bad-dependency", "bad-type", "bad-version", "bad-toml"}) {
    const auto golden = test::read_json(test::fixtures() / "sources" / (std::string(name) + ".dir.json"));
    const std::string expected = golden.at("error").back().get<std::string>();
    const std::string got = error_text(test::read_text(dir.path() / name / "wasmer.toml"));
    if (std::string(name) == "bad-toml") {
      // Another TOML parser, so another place and reason; the line is the same.
      EXPECT_TRUE(got.starts_with("TOML parse error at line 1, column ")) << got;
      EXPECT_NE(got.find("\n1 | [package\n"), std::string::npos) << got;
      continue;
    }
    EXPECT_EQ(got, expected) << name;
  }
}

TEST(ParseWasmerToml, WrongTypes) {
  EXPECT_EQ(toml_reason("package = 1.0"), "invalid type: floating point `1.0`, expected struct Package");
  EXPECT_EQ(toml_reason("dependencies = true"), "invalid type: boolean `true`, expected a map");
  EXPECT_EQ(toml_reason("fs = 'x'"), "invalid type: string \"x\", expected a map");
  EXPECT_EQ(toml_reason("[module]\nname = 'x'"), "invalid type: map, expected a sequence");
  EXPECT_EQ(toml_reason("module = [1]"), "invalid type: integer `1`, expected struct Module");
  EXPECT_EQ(toml_reason("[fs]\na = []"), "invalid type: sequence, expected path string");
  EXPECT_EQ(toml_reason("[package]\nprivate = 'x'"), "invalid type: string \"x\", expected a boolean");
  EXPECT_EQ(toml_reason("[package]\nname = 1979-05-27"), "invalid type: datetime, expected a string");
  EXPECT_EQ(toml_reason("[package]\nversion = 1"), "invalid type: integer `1`, expected a string");
  EXPECT_EQ(toml_reason("[dependencies]\n'a/b' = {}"), "invalid type: map, expected a string");
  EXPECT_EQ(toml_reason("[[module]]\nname = 'm'"), "missing field `source`");
  EXPECT_EQ(toml_reason("[[command]]\nmodule = 'm'"), "missing field `name`");
  EXPECT_EQ(toml_reason("[[command]]\nname = 'c'\nmodule = 'm'\nextra = 1"), "missing field `runner`");
  EXPECT_EQ(toml_reason("[[command]]\nname = 'c'\nmodule = 'a:b:c'"), "Invalid format");
  EXPECT_EQ(toml_reason("[[module]]\nname = 'm'\nsource = 's'\nabi = 'x'"),
            "unknown variant `x`, expected one of `emscripten`, `none`, `wasi`, `wasm4`");
}

TEST(ParseWasmerToml, Bindings) {
  const std::string module = "[[module]]\nname = 'm'\nsource = 's'\n[module.bindings]\n";
  const std::string both = R"(expected one of "wit-bindgen" or "wai-version" to be provided, but not both)";
  EXPECT_EQ(toml_reason(module), both);
  EXPECT_EQ(toml_reason(module + "wit-bindgen = '0.1.0'\nwai-version = '0.1.0'\n"), both);
  EXPECT_EQ(toml_reason(module + "wit-bindgen = '0.1.0'\n"), "missing field `wit-exports`");
  EXPECT_EQ(toml_reason(module + "wai-version = '0'\n"), "unexpected end of input while parsing major version number");
  EXPECT_EQ(toml_reason(module + "wai-version = '0.1.0'\nimports = [1]\n"),
            "invalid type: integer `1`, expected path string");
  const auto bindings = parse_wasmer_toml(module + "wai-version = '0.1.0'\nimports = ['b', 'a']\n").modules[0].bindings;
  ASSERT_TRUE(bindings);
  EXPECT_FALSE(bindings->exports);
  EXPECT_EQ(bindings->imports, (std::vector<std::string>{"b", "a"}));
}

TEST(ParseWasmerToml, RefusesNulInPaths) {
  const std::string message = "a path can't contain a NUL";
  EXPECT_EQ(toml_reason(R"([fs]
"/x" = "a\u0000b")"),
            message);
  EXPECT_EQ(toml_reason(R"([fs]
"/x\u0000" = "a")"),
            message);
  EXPECT_EQ(toml_reason("[[module]]\nname = 'm'\nsource = \"a\\u0000\"\n"), message);
}

std::string repeated(const std::string& text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) {
    result += text;
  }
  return result;
}

TEST(ParseWasmerToml, BoundsNestingAndSize) {
  EXPECT_EQ(toml_reason("x = " + repeated("[", 100'000)), "nested too deep");
  EXPECT_EQ(toml_reason("x = " + repeated("{a=", 100'000)), "nested too deep");
  EXPECT_EQ(toml_reason("[" + repeated("a.", 100'000) + "a]\n"), "nested too deep");
  EXPECT_EQ(toml_reason("a = \"\"\"x\"\"\"\n" + repeated("\"a\" . ", 100'000) + "a = 1\n"), "nested too deep");
  EXPECT_TRUE(error_text("# no more\n\nx = '[[' # [[[\ny = [[[\n" + repeated("[", 40))
                  .starts_with("TOML parse error at line 5, column "));
  EXPECT_NE(error_text(repeated("#", (1U << 20U) + 1)).find("more than"), std::string::npos);
  std::string commands;
  for (int i = 0; i <= 4096; ++i) {
    commands += "[[command]]\nname = '" + std::to_string(i) + "'\nmodule = 'm'\nrunner = 'x'\n";
  }
  EXPECT_EQ(toml_reason(commands), "more than 4096 entries");
  // Brackets and dots in strings and comments don't count.
  const std::string harmless = "# " + repeated("[.", 1000) + "\n[package]\ndescription = \"\"\"\\\"\n" +
                               repeated("[. ", 1000) + "\"\"\"\nname = '" + repeated("{.", 1000) + "'\n";
  EXPECT_TRUE(parse_wasmer_toml(harmless).package);
}

}  // namespace
}  // namespace pkgfs
