// SPDX-License-Identifier: MIT
// Every root of every registry set: the trees of fixtures/expected and the packages of fixtures/trees/registry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/source/local_registry_source.h"
#include "core/tree/package_tree.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

/// Where pkgfs answers although both runtimes fail, or with another text.
struct Difference {
  std::string text;
  std::string reason;
};

/// By set without the format, and root.
const std::map<std::string, Difference>& differing_errors() {
  static const std::string kPresence =
      "one text names the command, the package and what there is (docs/rules/loading.md, 4.1 step 7)";
  static const std::map<std::string, Difference> kTable{
      {"commands acme/badatom@1.0.0",
       {"The 'mine' command uses the 'plier' atom, but it isn't present in the package: acme/tools@1.5.0 "
        "(available: hammer, saw)",
        kPresence}},
      {"commands acme/legacydep@1.0.0", {"", kPresence}},
      {"commands acme/noatom@1.0.0", {"", kPresence}},
      {"commands acme/runners@1.0.0", {"", kPresence}},
  };
  return kTable;
}

/// Roots that the runtimes can't resolve and pkgfs can.
const std::set<std::string>& resolved_after_all() {
  static const std::set<std::string> kRoots{
      // `sha256:…` is a hash and no URL (docs/rules/resolution.md, 3.2).
      "identity acme/useshash@1.0.0",
      "identity acme/useshash2@1.0.0",
  };
  return kRoots;
}

struct Loaded {
  std::unique_ptr<LocalRegistrySource> source;
  std::unique_ptr<PackageLoader> loader;
  std::shared_ptr<const Package> root;
  Resolution resolution;
};

Loaded resolve_root(const std::filesystem::path& registry, const std::string& root) {
  Loaded loaded{
      .source = std::make_unique<LocalRegistrySource>(registry.string()),
      .loader = std::make_unique<PackageLoader>(OpenOptions{}),
      .root = nullptr,
      .resolution = {.graph = {},
                     .order = {},
                     .package = {.root = PackageHash(Sha256{}), .commands = {}, .entrypoint = {}, .filesystem = {}}}};
  const PackageSummary summary = query_latest(*loaded.source, PackageSpecifier::parse(root));
  loaded.root = loaded.loader->load(summary);
  loaded.resolution = resolve(summary.pkg, *loaded.source);
  return loaded;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

void check_package(const PackageTree& tree, const Json& golden) {
  Json commands = Json::array();
  for (const auto& command : tree.commands) {
    Json item{{"atom_len", command.atom.length},
              {"atom_sha256", to_hex(sha256(command.atom.bytes()))},
              {"hash", to_upper_hex(command.module_hash)},
              {"name", command.name},
              {"origin", nullptr},
              {"runner", command.metadata.runner}};
    commands.push_back(item);
  }
  Json wanted = golden["commands"];
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i]["origin"].is_null() && i < tree.commands.size()) {
      EXPECT_EQ(tree.commands[i].package.to_string(), wanted[i]["origin"]["package"].get<std::string>());
      EXPECT_EQ(tree.commands[i].origin_package.to_string(), wanted[i]["origin"]["atom_package"].get<std::string>());
    }
    wanted[i]["origin"] = nullptr;
  }
  EXPECT_EQ(commands.dump(1), wanted.dump(1));
  EXPECT_EQ(tree.id.to_string(), golden["id"].get<std::string>());
  std::set<std::string> ids;
  for (const auto& id : tree.package_ids) {
    ids.insert(lower(id.to_string()));
  }
  std::set<std::string> wanted_ids;
  for (const auto& id : golden["package_ids"]) {
    wanted_ids.insert(lower(id.get<std::string>()));
  }
  EXPECT_EQ(ids, wanted_ids);
  EXPECT_EQ(tree.entrypoint ? Json(*tree.entrypoint) : Json(nullptr), golden["entrypoint_cmd"]);
  Json inferred;
  try {
    inferred = infer_entrypoint(tree);
  } catch (const Error& error) {
    inferred["error"] = error.message();
  }
  EXPECT_EQ(inferred, golden["infer_entrypoint"]);
}

void check_tree(PackageTree& tree, const Json& expected, const std::string& warnings) {
  Json shown = Json::array();
  for (const auto& item : listing(*tree.file_system)) {
    shown.push_back(item);
  }
  Json wanted = expected["tree"];
  std::map<std::string, Json> by_path;
  for (const auto& item : wanted) {
    by_path[item["path"].get<std::string>()] = item;
  }
  std::map<std::string, Json> shown_by_path;
  for (const auto& item : shown) {
    shown_by_path[item["path"].get<std::string>()] = item;
  }
  for (const auto& [path, item] : by_path) {
    ASSERT_TRUE(shown_by_path.contains(path)) << path << " is missing";
    for (const auto& [key, value] : item.items()) {
      EXPECT_EQ(shown_by_path[path][key], value) << path << " " << key;
    }
  }
  for (const auto& [path, item] : shown_by_path) {
    EXPECT_TRUE(by_path.contains(path)) << path << " is too much";
  }
  const Footprint size = footprint(*tree.file_system);
  EXPECT_EQ(size.bytes, expected["footprint"].get<std::uint64_t>());
  EXPECT_EQ(size.inodes, by_path.size() + 1);
  EXPECT_EQ(tree.mappings.size() + expected["warnings"].size(), expected["filesystem"].size());
  for (const auto& warning : expected["warnings"]) {
    const auto text = warning.get<std::string>();
    ASSERT_TRUE(text.starts_with("missing source "));
    EXPECT_THAT(warnings, HasSubstr("maps \"" + text.substr(15) + "\" of its"));
    EXPECT_THAT(warnings, HasSubstr("but that path doesn't exist"));
  }
  if (expected["warnings"].empty()) {
    EXPECT_THAT(warnings, ::testing::Not(HasSubstr("doesn't exist")));
  }
}

class RegistryGolden : public ::testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] std::string set() const { return GetParam().substr(0, GetParam().find(' ')); }
  [[nodiscard]] std::string root() const { return GetParam().substr(GetParam().find(' ') + 1); }
  /// Without `-v2` and `-v3`.
  [[nodiscard]] std::string key() const {
    const std::string name = set();
    return (name.ends_with("-v2") || name.ends_with("-v3") ? name.substr(0, name.size() - 3) : name) + " " + root();
  }
};

TEST_P(RegistryGolden, LoadsAsTheReferenceDoes) {
  const auto registry = fixtures() / "registry" / set();
  const auto expected_file = fixtures() / "expected" / (set() + ".json");
  const Json expected =
      std::filesystem::exists(expected_file) ? read_json(expected_file).value(root(), Json()) : Json();
  const Json older = read_json(fixtures() / "trees/registry" / (set() + ".wasix-0.28.json"))[root()];
  const Json newer = read_json(fixtures() / "trees/registry" / (set() + ".wasix-0.704.json"))[root()];
  const bool unresolvable = expected.contains("resolution_fails");
  const CapturedLog log;

  if (unresolvable && !resolved_after_all().contains(key())) {
    EXPECT_THROW((void)resolve_root(registry, root()), Error);
    return;
  }
  Loaded loaded = resolve_root(registry, root());
  if (unresolvable) {
    EXPECT_NO_THROW((void)load_package_tree(loaded.root, *loaded.loader, loaded.resolution, only_files()));
    return;
  }
  if (expected.contains("error")) {
    try {
      (void)load_package_tree(loaded.root, *loaded.loader, loaded.resolution, only_files());
      FAIL() << "loads, but should say " << expected["error"];
    } catch (const Error& error) {
      EXPECT_EQ(error.message(), expected["error"].get<std::string>());
      EXPECT_EQ(error.code(), ErrorCode::kLoad);
    }
    return;
  }
  PackageTree tree = load_package_tree(loaded.root, *loaded.loader, loaded.resolution, only_files());
  if (!expected.is_null()) {
    check_tree(tree, expected, log.text());
  }
  if (older["result"] == "ok" || newer["result"] == "ok") {
    EXPECT_TRUE(tree.command_errors.empty());
    check_package(tree, (older["result"] == "ok" ? older : newer)["package"]);
    return;
  }
  const Json& failed = older["result"] == "error" ? older : newer;
  const std::string text = failed["error"][0];
  if (tree.command_errors.empty()) {  // about the file system, where pkgfs has no such limits
    EXPECT_EQ(set(), "mixed");
    return;
  }
  const auto difference = differing_errors().find(key());
  const std::string& message = tree.command_errors.front().message();
  if (difference == differing_errors().end()) {
    EXPECT_EQ(message, text);
  } else if (difference->second.text.empty()) {
    const std::string atom = text.substr(text.rfind(' ') + 1);
    EXPECT_THAT(message, HasSubstr("uses the '" + atom + "' atom, but it isn't present in the package: "));
  } else {
    EXPECT_EQ(message, difference->second.text);
  }
  TreeOptions strict = only_files();
  strict.strict = true;
  EXPECT_THROW((void)load_package_tree(loaded.root, *loaded.loader, loaded.resolution, strict), Error);
}

std::vector<std::string> all_roots() {
  std::vector<std::string> roots;
  for (const auto& dir : std::filesystem::directory_iterator(fixtures() / "registry")) {
    const Json listed = read_json(dir.path() / "roots.json");
    for (const auto& root : listed["roots"]) {
      roots.push_back(dir.path().filename().string() + " " + root["root"].get<std::string>());
    }
  }
  std::ranges::sort(roots);
  return roots;
}

INSTANTIATE_TEST_SUITE_P(AllRoots, RegistryGolden, ::testing::ValuesIn(all_roots()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace pkgfs::test
