// SPDX-License-Identifier: MIT
// The decision table of docs/rules/loading.md, 4.4 and the texts of 7, on packages in memory.
#include "core/tree/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/package/package_info.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kWasi = "https://webc.org/runner/wasi";

PackageId id_of(const std::string& name) { return NamedId{.full_name = name, .version = Version::parse("1.0.0")}; }

std::string signature(const std::string& text) {
  const Sha256 digest = sha256(text);
  return "sha256:" + base64_encode(digest);
}

Json atom_entry(const std::string& text) {
  return {{"kind", "https://webc.org/kind/wasm"}, {"signature", signature(text)}};
}

/// A root with `command` and a dependency "dep" under the alias "tools".
class Commands : public ::testing::Test {
 protected:
  /// Builds the root's only command, called "run".
  CommandSet build(const Json& command, const std::map<std::string, std::string>& root_atoms,
                   const std::map<std::string, std::string>& dep_atoms = {}, Json atoms = nullptr) {
    const auto manifest = [&](const std::map<std::string, std::string>& of) {
      Json json{{"atoms", Json::object()}};
      for (const auto& [name, text] : of) {
        json["atoms"][name] = atom_entry(text);
      }
      return json;
    };
    Json root = manifest(root_atoms);
    if (!atoms.is_null()) {
      root["atoms"] = std::move(atoms);
    }
    root["commands"]["run"] = command;
    packages_[id_of("root")] = std::make_shared<FakePackage>("root", root, root_atoms);
    packages_[id_of("dep")] = std::make_shared<FakePackage>("dep", manifest(dep_atoms), dep_atoms);
    Resolution resolution{.graph = {},
                          .order = {0, 1},
                          .package = {.root = id_of("root"),
                                      .commands = {{"run", {.name = "run", .package = id_of("root")}}},
                                      .entrypoint = {},
                                      .filesystem = {}}};
    const PackageInfo root_info{
        .id = id_of("root"), .commands = {"run"}, .entrypoint = {}, .dependencies = {}, .filesystem = {}};
    const PackageInfo dep_info{
        .id = id_of("dep"), .commands = {}, .entrypoint = {}, .dependencies = {}, .filesystem = {}};
    resolution.graph.nodes.push_back(
        {.pkg = root_info, .dist = std::nullopt, .edges = {{.alias = "tools", .target = 1}}});
    resolution.graph.nodes.push_back(
        {.pkg = dep_info, .dist = DistributionInfo{.url = "", .path = {}, .webc_sha256 = {}}, .edges = {}});
    resolution_ = std::make_unique<Resolution>(std::move(resolution));
    return build_commands(*resolution_, packages_);
  }

  static std::string error_of(const CommandSet& set) {
    return set.errors.size() == 1 ? set.errors.front().what() : "<" + std::to_string(set.errors.size()) + " errors>";
  }
  static std::string atom_of(const CommandSet& set) {
    if (set.commands.size() != 1) {
      return set.errors.empty() ? "<none>" : set.errors.front().what();
    }
    const auto bytes = set.commands.front().atom.bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  LoadedPackages packages_;
  std::unique_ptr<Resolution> resolution_;
};

TEST_F(Commands, AnAnnotationNamesTheAtom) {
  const Json command{{"runner", kWasi}, {"annotations", {{"atom", {{"name", "b"}}}}}};
  const CommandSet set = build(command, {{"a", "AA"}, {"b", "BBB"}});
  EXPECT_EQ(atom_of(set), "BBB");
  const LoadedCommand& run = set.commands.front();
  EXPECT_EQ(run.name, "run");
  EXPECT_EQ(run.metadata.runner, kWasi);
  EXPECT_EQ(run.module_hash, sha256("BBB"));
  EXPECT_EQ(run.package.to_string(), "root@1.0.0");
  EXPECT_EQ(run.origin_package.to_string(), "root@1.0.0");
}

TEST_F(Commands, AnAnnotationNamesTheDependency) {
  const Json by_atom{{"runner", kWasi}, {"annotations", {{"atom", {{"name", "x"}, {"dependency", "tools"}}}}}};
  CommandSet set = build(by_atom, {{"x", "ours"}}, {{"x", "theirs"}});
  EXPECT_EQ(atom_of(set), "theirs");
  EXPECT_EQ(set.commands.front().origin_package.to_string(), "dep@1.0.0");
  EXPECT_EQ(atom_owners(*resolution_, packages_), (std::set<PackageId>{id_of("dep")}));

  const Json by_wasi{{"runner", kWasi}, {"annotations", {{"wasi", {{"atom", "tools:x"}}}}}};
  EXPECT_EQ(atom_of(build(by_wasi, {}, {{"x", "theirs"}})), "theirs");
  const Json by_emscripten{{"runner", "https://webc.org/runner/emscripten"},
                           {"annotations", {{"emscripten", {{"atom", "x"}}}}}};
  EXPECT_EQ(atom_of(build(by_emscripten, {{"x", "ours"}})), "ours");
}

TEST_F(Commands, AnUnknownAliasIsAnError) {
  const Json command{{"runner", kWasi}, {"annotations", {{"atom", {{"name", "x"}, {"dependency", "bag"}}}}}};
  EXPECT_EQ(error_of(build(command, {})),
            "Unable to find the \"bag\" dependency for the \"run\" command in \"root@1.0.0\"");
}

TEST_F(Commands, AMissingAtomIsAnErrorThatSaysWhatThereIs) {
  const Json command{{"runner", kWasi}, {"annotations", {{"atom", {{"name", "c"}}}}}};
  EXPECT_EQ(error_of(build(command, {{"b", ""}, {"a", ""}})),
            "The 'run' command uses the 'c' atom, but it isn't present in the package: root@1.0.0 (available: a, b)");
  EXPECT_EQ(error_of(build(command, {})),
            "The 'run' command uses the 'c' atom, but it isn't present in the package: root@1.0.0 (available: none)");
}

TEST_F(Commands, WithoutAnyAnnotationTheRunnerDecides) {
  const auto plain = [](const char* runner) { return Json{{"runner", runner}, {"annotations", Json::object()}}; };
  EXPECT_EQ(atom_of(build(plain(kWasi), {{"run", "mine"}})), "mine");
  EXPECT_EQ(atom_of(build(plain("https://webc.org/runner/wasi/command@unstable_"), {{"run", "mine"}})), "mine");
  EXPECT_EQ(atom_of(build(plain("https://webc.org/runner/wcgi"), {{"run", "mine"}})), "mine");
  // The legacy rule: the first atom in byte order of names.
  EXPECT_EQ(atom_of(build(plain(kWasi), {{"z", "last"}, {"B", "first"}})), "first");
  EXPECT_EQ(error_of(build(plain(kWasi), {})), "container does not have any atom");
}

TEST_F(Commands, OtherAnnotationsRuleOutTheLegacyRule) {
  const Json command{{"runner", kWasi}, {"annotations", {{"wcgi", {{"dialect", "rfc-3875"}}}}}};
  EXPECT_EQ(atom_of(build(command, {{"run", "mine"}})), "mine");
  EXPECT_THAT(error_of(build(command, {{"other", "x"}})), HasSubstr("uses the 'run' atom, but it isn't present"));
}

TEST_F(Commands, AnUnknownRunnerIsSkippedWithAWarning) {
  const CapturedLog log;
  const CommandSet set =
      build({{"runner", "https://example.com/runner"}, {"annotations", Json::object()}}, {{"run", ""}});
  EXPECT_TRUE(set.commands.empty());
  EXPECT_TRUE(set.errors.empty());
  EXPECT_THAT(log.text(), HasSubstr("Skipping unsupported command \"run\""));
  EXPECT_THAT(log.text(), HasSubstr("https://example.com/runner"));
}

TEST_F(Commands, MalformedAnnotationsAreErrors) {
  const Json bad_atom{{"runner", kWasi}, {"annotations", {{"atom", 7}}}};
  EXPECT_THAT(error_of(build(bad_atom, {{"run", ""}})), HasSubstr("Unable to deserialize atom annotations"));
  const Json two_colons{{"runner", kWasi}, {"annotations", {{"wasi", {{"atom", "a:b:c"}}}}}};
  EXPECT_THAT(error_of(build(two_colons, {{"run", ""}})), HasSubstr("Invalid format"));
}

TEST_F(Commands, MalformedSignaturesAreErrors) {
  const Json command{{"runner", kWasi}, {"annotations", {{"atom", {{"name", "a"}}}}}};
  const auto signed_with = [&](const std::string& text) {
    const Json atoms{{"a", {{"kind", "https://webc.org/kind/wasm"}, {"signature", text}}}};
    const CommandSet set = build(command, {{"a", "x"}}, {}, atoms);
    return set.errors.empty() ? "" : set.errors.front().message();
  };
  EXPECT_EQ(signed_with("md5:abc"), "malformed atom signature");
  EXPECT_EQ(signed_with("sha256:!!!"), "malformed base64 encoded hash");
  EXPECT_EQ(signed_with("sha256:AAAA"), "sha256 hash must be 32 bytes");
  EXPECT_EQ(error_of(build(command, {{"a", "x"}}, {}, Json::object())), "failed to get atom: a");
}

TEST_F(Commands, FeaturesComeFromTheManifest) {
  const Json command{{"runner", kWasi}, {"annotations", {{"atom", {{"name", "a"}}}}}};
  const auto features = [&](const Json& wasm) {
    Json atoms{{"a", atom_entry("x")}};
    atoms["a"]["annotations"]["wasm"] = wasm;
    return build(command, {{"a", "x"}}, {}, atoms).commands.at(0).features;
  };
  EXPECT_EQ(features({{"features", {"simd", "threads"}}}), (std::vector<std::string>{"simd", "threads"}));
  EXPECT_TRUE(features({{"features", {1}}}).empty());
  EXPECT_TRUE(features("x").empty());
}

TEST_F(Commands, WhatTheResolutionSaysAndThePackageDoesntHaveIsAnError) {
  (void)build({{"runner", kWasi}, {"annotations", Json::object()}}, {{"run", ""}});
  Resolution resolution = *resolution_;
  resolution.package.commands = {{"gone", {.name = "was", .package = id_of("root")}},
                                 {"lost", {.name = "lost", .package = id_of("nowhere")}}};
  const CommandSet set = build_commands(resolution, packages_);
  ASSERT_EQ(set.errors.size(), 2U);
  EXPECT_EQ(set.errors[0].message(), "Unable to find the \"was\" command metadata in the \"root@1.0.0\" package");
  EXPECT_EQ(set.errors[1].message(), "Unable to find the \"nowhere@1.0.0\" package for the \"lost\" command");
}

}  // namespace
}  // namespace pkgfs::test
