// SPDX-License-Identifier: MIT
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/package/wasmer_toml.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using webc::Json;

PackageFiles in_directory(const fs::path& dir, std::string shown) {
  return {[dir](const std::string& path) {
            if (!fs::exists(dir / path)) {
              throw Error(ErrorCode::kNotFound, "No such file or directory (os error 2)");
            }
            return test::read_text(dir / path);
          },
          [dir](const std::string& path) { return fs::exists(dir / path); }, std::move(shown)};
}

PackageFiles in_memory(std::map<std::string, std::string> files) {
  return {[files](const std::string& path) {
            if (!files.contains(path)) {
              throw Error(ErrorCode::kNotFound, "missing");
            }
            return files.at(path);
          },
          [files](const std::string& path) { return files.contains(path); }, "/pkg"};
}

const std::string kWasm("\0asm\1\0\0\0", 8);

Json derive(const std::string& toml, const std::map<std::string, std::string>& files = {{"m.wasm", kWasm}}) {
  return derive_manifest(parse_wasmer_toml(toml), in_memory(files)).to_json();
}

std::vector<std::string> error_chain(const std::string& toml,
                                     const std::map<std::string, std::string>& files = {{"m.wasm", kWasm}}) {
  try {
    return {derive(toml, files).dump()};
  } catch (const Error& error) {
    return error.chain();
  }
}

TEST(DeriveManifest, GoldenSources) {
  const test::TempDir dir;
  const fs::path sources = test::fixtures() / "sources";
  ASSERT_EQ(std::system(
                ("tar -xzf '" + (sources / "sources.tar.gz").string() + "' -C '" + dir.path().string() + "'").c_str()),
            0);
  int good = 0;
  int bad = 0;
  for (const auto& entry : fs::directory_iterator(sources)) {
    const std::string file = entry.path().filename();
    if (!file.ends_with(".dir.json")) {
      continue;
    }
    const std::string name = file.substr(0, file.find('.'));
    const Json golden = test::read_json(entry.path());
    SCOPED_TRACE(name);
    // The parser's test covers the place of a TOML error; tests/unit/load covers the other errors.
    if (name == "bad-dependency" || name == "bad-missingfs" || name == "bad-nomanifest" || name == "bad-toml" ||
        name == "bad-type" || name == "bad-version") {
      continue;
    }
    const WasmerToml toml = parse_wasmer_toml(test::read_text(dir.path() / name / "wasmer.toml"));
    const PackageFiles files = in_directory(dir.path() / name, "<DIR>/" + name);
    if (!golden.contains("error")) {
      EXPECT_EQ(derive_manifest(toml, files).to_json().dump(), golden.at("manifest_json").get<std::string>());
      ++good;
      continue;
    }
    try {
      (void)derive_manifest(toml, files);
      ADD_FAILURE() << "derived";
    } catch (const Error& error) {
      std::vector<std::string> chain = {R"(Unable to load the "wasmer.toml" manifest)"};
      chain.insert(chain.end(), error.chain().begin(), error.chain().end());
      EXPECT_EQ(Json(chain), golden.at("error"));
    }
    ++bad;
  }
  EXPECT_GE(good, 14);
  EXPECT_EQ(bad, 2);
}

TEST(DeriveManifest, Dependencies) {
  EXPECT_EQ(derive("[dependencies]\n'z/z' = '1'\n'a/a' = '=1.2.3+b'\n").at("use").dump(),
            R"({"z/z":"z/z@^1","a/a":"a/a@=1.2.3"})");
  for (const std::string name : {"a", "a/b/c", "a b/c", "a/ü", "a/b@1"}) {
    EXPECT_EQ(error_chain("[dependencies]\n\"" + name + "\" = '1'\n").at(0),
              "The dependency, \"" + name + R"(", isn't in the "namespace/name" format)");
  }
}

TEST(DeriveManifest, PackageAnnotations) {
  const std::string toml =
      "[package]\nname = 'a/b'\nversion = '1.0.0'\nlicense = 'MIT'\nlicense-file = './x/../LICENSE'\n"
      "readme = '../README'\nprivate = true\n";
  EXPECT_EQ(derive(toml, {{"./x/../LICENSE", ""}, {"../README", ""}}).at("package").dump(),
            R"({"wapm":{"license":"MIT","license-file":{"volume":"metadata","path":"/LICENSE"},)"
            R"("readme":{"volume":"metadata","path":"/README"},"private":true}})");
  EXPECT_EQ(derive(toml, {}).at("package").dump(), R"({"wapm":{"license":"MIT","private":true}})");
  // A file outside of the package isn't in its metadata.
  EXPECT_EQ(derive("[package]\nreadme = '/etc/passwd'\n", {{"/etc/passwd", ""}}).at("package").dump(),
            R"({"wapm":{}})");
  EXPECT_TRUE(derive("").empty());
}

TEST(DeriveManifest, Atoms) {
  const auto module = [](const std::string& kind) {
    return "[[module]]\nname = 'm'\nsource = 'm.wasm'\n" + (kind.empty() ? "" : "kind = '" + kind + "'\n");
  };
  const auto kind = [&](const std::string& name) {
    return derive(module(name)).at("atoms").at("m").at("kind").get<std::string>();
  };
  EXPECT_EQ(kind(""), "https://webc.org/kind/wasm");
  EXPECT_EQ(kind("wasm"), "https://webc.org/kind/wasm");
  EXPECT_EQ(kind("tensorflow-SavedModel"), "https://webc.org/kind/tensorflow-SavedModel");
  EXPECT_EQ(kind("x:y"), "x:y");
  EXPECT_EQ(error_chain(module("other")).at(0), R"(Unknown atom kind, "other")");
  EXPECT_EQ(error_chain(module(""), {}),
            (std::vector<std::string>{R"(Unable to read the "m" module's file from "/pkg/m.wasm")", "missing"}));
  EXPECT_EQ(derive(module("") + "annotations.suggested_compiler_optimizations.pass_params = true\n", {{"m.wasm", ""}})
                .at("atoms")
                .at("m")
                .at("annotations")
                .dump(),
            R"({"suggested_compiler_optimizations":{"pass_params":true}})");
  // Sorted by name; of two with one name the later counts.
  const Json atoms = derive(
                         "[[module]]\nname = 'z'\nsource = 'a'\n[[module]]\nname = 'a'\nsource = 'a'\n"
                         "[[module]]\nname = 'z'\nsource = 'b'\n",
                         {{"a", "abc"}, {"b", ""}})
                         .at("atoms");
  EXPECT_EQ(atoms.begin().key(), "a");
  EXPECT_EQ(atoms.at("a").at("signature"), "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
  EXPECT_EQ(atoms.at("z").at("signature"), "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

TEST(DeriveManifest, Runners) {
  const auto runner = [](const std::string& name) {
    return derive("[[command]]\nname = 'c'\nmodule = 'm'\nrunner = '" + name + "'\n")
        .at("commands")
        .at("c")
        .at("runner")
        .get<std::string>();
  };
  EXPECT_EQ(runner("wasi"), "https://webc.org/runner/wasi");
  EXPECT_EQ(runner("wasi@unstable_"), "https://webc.org/runner/wasi");
  EXPECT_EQ(runner("generic"), "https://webc.org/runner/wasi");
  EXPECT_EQ(runner("wcgi"), "https://webc.org/runner/wcgi");
  EXPECT_EQ(runner("wasm4"), "https://webc.org/runner/wasm4");
  EXPECT_EQ(runner("dproxy"), "https://webc.org/runner/dproxy");
  EXPECT_EQ(runner("https://example.com/r"), "https://example.com/r");
}

TEST(DeriveManifest, OldCommands) {
  const std::string module = "[[module]]\nname = 'm'\nsource = 'm.wasm'\n";
  const auto command = [&](const std::string& abi, const std::string& more) {
    return derive(module + (abi.empty() ? "" : "abi = '" + abi + "'\n") + "[[command]]\nname = 'c'\n" + more +
                  "[dependencies]\n'a/b' = '1'\n")
        .at("commands")
        .at("c")
        .dump();
  };
  EXPECT_EQ(command("", "module = 'm'\nmain_args = ' -a   b\t'\npackage = 'p'\n"),
            R"({"runner":"https://webc.org/runner/wasi","annotations":{"atom":{"name":"m"},)"
            R"("wasi":{"atom":"m","package":"p","main-args":["-a","b"]}}})");
  EXPECT_EQ(command("wasm4", "module = 'm'\n"),
            R"({"runner":"https://webc.org/runner/wasm4","annotations":{"atom":{"name":"m"}}})");
  EXPECT_EQ(command("wasm4", "module = 'a/b:x'\n"),
            R"({"runner":"https://webc.org/runner/wasi","annotations":{"atom":{"name":"x","dependency":"a/b"},)"
            R"("wasi":{"atom":"a/b:x"}}})");
  EXPECT_EQ(error_chain("[[command]]\nname = 'c'\nmodule = 'm'\n").at(0),
            R"(The "c" command uses a non-existent module, "m")");
  EXPECT_EQ(error_chain("[[command]]\nname = 'c'\nmodule = 'a/b:m'\n").at(0),
            R"(The "c" command references the undeclared dependency "a/b")");
}

TEST(DeriveManifest, MergesAnnotations) {
  const auto annotations = [](const std::string& custom) {
    return error_chain("[[command]]\nname = 'c'\nmodule = 'm'\nrunner = 'wasi'\nannotations = " + custom + "\n").at(0);
  };
  const auto with = [](const std::string& text) {
    return R"({"commands":{"c":{"runner":"https://webc.org/runner/wasi","annotations":{"atom":{"name":"m"},)" + text +
           R"(}}},"entrypoint":"c"})";
  };
  EXPECT_EQ(annotations("{ z = 1, a = [1] }"), with(R"("wasi":{"atom":"m"},"z":1,"a":[1])"));
  EXPECT_EQ(annotations("{ wasi = { env = ['A=B'], atom = 'm' } }"), with(R"("wasi":{"atom":"m","env":["A=B"]})"));
  EXPECT_EQ(annotations("{ first = {}, wasi = { z = [1] }, atom = { dependency = 'd' } }"),
            R"({"commands":{"c":{"runner":"https://webc.org/runner/wasi","annotations":{"atom":{"name":"m",)"
            R"("dependency":"d"},"wasi":{"atom":"m","z":[1]},"first":{}}}},"entrypoint":"c"})");
  EXPECT_EQ(annotations("{ wasi = { atom = 'x' } }"),
            R"(Unable to merge in user-defined "wasi" annotations for the "c" command)");
  EXPECT_EQ(annotations("{ wasi = 1 }"), R"(Unable to merge in user-defined "wasi" annotations for the "c" command)");
  const auto conflict = [](const std::string& command) {
    return error_chain("[[command]]\nname = 'c'\nmodule = 'm'\nrunner = 'wasi'\n" + command + "\n").at(1);
  };
  EXPECT_EQ(conflict("annotations = { wasi = { atom = 'x' } }"),
            R"(the key "module" makes "wasi.atom" "m", but the key "annotations.wasi.atom" has "x")");
  EXPECT_EQ(conflict("annotations = { wasi = 1 }"),
            R"(the key "module" makes "wasi" {"atom":"m"}, but the key "annotations.wasi" has 1)");
  EXPECT_EQ(annotations("'text'"), with(R"("wasi":{"atom":"m"})"));
}

TEST(DeriveManifest, AnnotationsFromAFile) {
  const auto toml = [](const std::string& kind) {
    return "[[command]]\nname = 'c'\nmodule = 'm'\nrunner = 'x'\nannotations = { file = 'a', kind = '" + kind + "' }\n";
  };
  const auto annotations = [&](const std::string& kind, const std::string& text) {
    return derive(toml(kind), {{"a", text}}).at("commands").at("c").at("annotations").dump();
  };
  EXPECT_EQ(annotations("json", R"({"b": [null, 1.5], "a": {}})"), R"({"atom":{"name":"m"},"b":[null,1.5],"a":{}})");
  EXPECT_EQ(annotations("yaml", R"({"b": 1})"), R"({"atom":{"name":"m"},"b":1})");
  const std::string outer = "Unable to deserialize custom annotations from the wasmer.toml manifest";
  EXPECT_EQ(error_chain(toml("json"), {}),
            (std::vector<std::string>{outer, R"(Error reading "c".annotation ("/pkg/a"): missing)"}));
  EXPECT_EQ(error_chain(toml("json"), {{"a", "{"}}).at(0), outer);
  EXPECT_EQ(error_chain(toml("json"), {{"a", std::string(100'000, '[')}}).at(1),
            R"(Error reading "c".annotation ("/pkg/a"): nested deeper than 64 levels)");
  EXPECT_EQ(error_chain(toml("json"), {{"a", std::string((1U << 20U) + 1, ' ')}}).at(0), outer);
  const test::CapturedLog log;
  EXPECT_EQ(annotations("yaml", "b: 1\n"), R"({"atom":{"name":"m"}})");
  EXPECT_NE(log.text().find("YAML isn't supported"), std::string::npos);
}

TEST(DeriveManifest, Bindings) {
  const std::string module = "[[module]]\nname = 'm'\nsource = 'm.wasm'\n[module.bindings]\n";
  const auto bindings = [&](const std::string& text) {
    return derive(module + text, {{"m.wasm", kWasm}, {"d/../x.wit", ""}}).at("bindings").dump();
  };
  EXPECT_EQ(bindings("wit-bindgen = '0.1.0'\nwit-exports = 'd/../x.wit'\n"),
            R"([{"name":"library-bindings","kind":"wit@0.1.0","annotations":)"
            R"({"wit":{"exports":"metadata://x.wit","module":"m"}}}])");
  EXPECT_EQ(bindings("wai-version = '0.2.0'\n"), R"([{"name":"library-bindings","kind":"wai@0.2.0","annotations":)"
                                                 R"({"wai":{"exports":null,"module":"m","imports":[]}}}])");
  EXPECT_EQ(error_chain(module + "wit-bindgen = '0.1.0'\nwit-exports = 'no.wit'\n").at(0),
            R"(The "/pkg/no.wit" mentioned in the manifest doesn't exist)");
  EXPECT_EQ(error_chain(module + "wai-version = '0.1.0'\nimports = ['/etc/x']\n").at(0),
            R"("/etc/x" is outside of "/pkg")");
}

TEST(DeriveManifest, Entrypoint) {
  const std::string one = "[[command]]\nname = 'a'\nmodule = 'm'\nrunner = 'x'\n";
  const std::string two = "[[command]]\nname = 'b'\nmodule = 'm'\nrunner = 'x'\n";
  EXPECT_EQ(derive(one).at("entrypoint"), "a");
  EXPECT_FALSE(derive(one + two).contains("entrypoint"));
  EXPECT_EQ(derive("[package]\nentrypoint = 'b'\n" + one + two).at("entrypoint"), "b");
}

TEST(WasmFeatures, DefaultsAndExceptions) {
  const std::vector<std::string> defaults = {"simd",        "bulk-memory", "reference-types",
                                             "multi-value", "threads",     "multi-memory"};
  std::vector<std::string> exceptions = defaults;
  exceptions.insert(exceptions.end() - 1, "exception-handling");
  using namespace std::string_literals;
  EXPECT_EQ(wasm_features(kWasm), defaults);
  EXPECT_EQ(wasm_features(kWasm + "\0\5\4name"s), defaults);
  EXPECT_EQ(wasm_features(kWasm + "\0\x0d\x0cmy-exception"s), exceptions);
  EXPECT_EQ(wasm_features(kWasm + "\x0d\3\1\0\0"s), exceptions);
  EXPECT_TRUE(wasm_features("").empty());
  EXPECT_TRUE(wasm_features("\0asm"s).empty());
  EXPECT_TRUE(wasm_features(kWasm + "\0"s).empty());
  EXPECT_TRUE(wasm_features(kWasm + "\0\5\4nam"s).empty());
  EXPECT_TRUE(wasm_features(kWasm + "\0\xff\xff\xff\xff\xff\xff"s).empty());
  EXPECT_TRUE(wasm_features(kWasm + "\x55\0"s).empty());
}

}  // namespace
}  // namespace pkgfs
