// SPDX-License-Identifier: MIT
// `pkgfs diff` against the trees that `pkgfs tree --json` shows, and against what a test changed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::run;
using ::testing::HasSubstr;

std::string registry_of(const std::string& set) { return (test::fixtures() / "registry" / set).string(); }
std::string container(const std::string& name) { return (test::fixtures() / "webc" / name).string(); }

/// The entries of `tree --json` by path, without their times. Fails the test if the tree can't be read.
std::map<std::string, json> tree_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"tree", "--json"});
  const test::Run result = run(arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  std::map<std::string, json> entries;
  json parsed = json::parse(result.out);
  for (json& entry : parsed) {
    entry.erase("mtime_ns");
    const std::string path = entry["path"];
    entries.emplace(path, std::move(entry));
  }
  return entries;
}

/// The paths that differ, each with the letter of `pkgfs diff`.
std::map<std::string, char> expected_paths(const std::map<std::string, json>& before,
                                           const std::map<std::string, json>& after) {
  std::map<std::string, char> paths;
  for (const auto& [path, entry] : before) {
    const auto found = after.find(path);
    if (found == after.end()) {
      paths[path] = 'D';
    } else if (found->second != entry) {
      paths[path] = 'M';
    }
  }
  for (const auto& [path, entry] : after) {
    if (!before.contains(path)) {
      paths[path] = 'A';
    }
  }
  return paths;
}

std::map<std::string, char> paths_in(const json& report) {
  std::map<std::string, char> paths;
  for (const json& file : report["files"]) {
    paths[file["path"]] = file["before"].is_null() ? 'A' : file["after"].is_null() ? 'D' : 'M';
  }
  return paths;
}

void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

TEST(Diff, FindsWhatTheTreesShow) {
  std::size_t differing = 0;
  for (const char* set : {"versions-v3", "versions-v2", "collide-v3", "diamond-v2", "nested-v3", "paths-v3"}) {
    std::vector<std::string> packages;
    for (const auto& file : fs::recursive_directory_iterator(test::fixtures() / "registry" / set)) {
      if (file.path().extension() == ".webc" && file.path().stem() != "notaversion") {
        packages.push_back(file.path().string());
      }
    }
    std::ranges::sort(packages);
    ASSERT_GE(packages.size(), 2U) << set;
    for (std::size_t i = 1; i < packages.size(); ++i) {
      SCOPED_TRACE(packages[i - 1] + " " + packages[i]);
      const test::Run tree = run({"tree", "--registry", registry_of(set), packages[i - 1]});
      if (tree.code != 0 || run({"tree", "--registry", registry_of(set), packages[i]}).code != 0) {
        continue;  // its dependencies conflict
      }
      const auto paths = expected_paths(tree_of({"--registry", registry_of(set), packages[i - 1]}),
                                        tree_of({"--registry", registry_of(set), packages[i]}));
      const test::Run result = run({"diff", "--json", "--registry", registry_of(set), packages[i - 1], packages[i]});
      ASSERT_LE(result.code, 1) << result.err;
      const json report = json::parse(result.out);
      EXPECT_EQ(paths_in(report), paths);
      EXPECT_EQ(result.code, paths.empty() && report["dependencies"].empty() && report["commands"].empty() ? 0 : 1);
      differing += paths.empty() ? 0 : 1;
      EXPECT_EQ(run({"diff", "--registry", registry_of(set), packages[i], packages[i]}).code, 0);
    }
  }
  EXPECT_GT(differing, 10U);
}

TEST(Diff, ComparesWithAnExtractedDirectory) {
  const test::TempDir place;
  const std::string directory = (place.path() / "tree").string();
  const std::string package = container("names-v3.webc");
  ASSERT_EQ(run({"extract", package, directory}).code, 0);
  const test::Run same = run({"diff", package, directory});
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  EXPECT_EQ(same.out, "");

  std::string file;
  for (const auto& [path, entry] : tree_of({package})) {
    if (entry["type"] == "file" && entry["len"] > 0) {
      file = path;
    }
  }
  std::string text = test::read_text(directory + file);
  text[0] = static_cast<char>(text[0] ^ 1);
  fs::permissions(directory + file, fs::perms::owner_write, fs::perm_options::add);
  const auto mode = fs::status(directory + file).permissions();
  put(directory + file, text);
  fs::permissions(directory + file, mode & ~fs::perms::owner_write);
  fs::create_directory(directory + "/new");
  put(directory + "/new/file", "12345");
  fs::create_symlink("a target", directory + "/link");
  const test::Run changed = run({"diff", package, directory});
  EXPECT_EQ(changed.code, 1) << changed.err;
  EXPECT_THAT(changed.out, HasSubstr("  M " + file));
  EXPECT_THAT(changed.out, HasSubstr("  A /new/\n  A /new/file  5 bytes\n"));
  EXPECT_THAT(changed.out, HasSubstr("  A /link  -> a target\n"));
  EXPECT_THAT(changed.out, HasSubstr("3 added, 0 removed, 1 changed; +5 bytes, -0 bytes\n"));
  const test::Run sum = run({"diff", "--stat", directory, package});
  EXPECT_EQ(sum.code, 1);
  EXPECT_THAT(sum.out, HasSubstr("0 added, 3 removed, 1 changed"));
  EXPECT_THAT(sum.out, ::testing::Not(HasSubstr("/new")));
}

TEST(Diff, ComparesLockFiles) {
  const test::TempDir place;
  const std::string before = (place.path() / "before.lock").string();
  const std::string after = (place.path() / "after.lock").string();
  const auto lock = [](const std::string& file, const std::string& package) {
    return run({"resolve", "--registry", registry_of("versions-v3"), "--lock", file, package}).code;
  };
  ASSERT_EQ(lock(before, "acme/many@=1.0.0"), 0);
  ASSERT_EQ(lock(after, "acme/many@=1.2.3"), 0);
  const test::Run locks = run({"diff", "--json", "--registry", registry_of("versions-v3"), before, after});
  const test::Run packages =
      run({"diff", "--json", "--registry", registry_of("versions-v3"), "acme/many@=1.0.0", "acme/many@=1.2.3"});
  EXPECT_EQ(locks.code, 1) << locks.err;
  EXPECT_EQ(locks.out, packages.out);

  ASSERT_EQ(run({"resolve", "--lock", before, container("names-v3.webc")}).code, 0);
  const test::Run local = run({"diff", before, after});
  EXPECT_EQ(local.code, 8);
  EXPECT_THAT(local.err, HasSubstr("only its path may name it"));
  put(before, "{\"version\": 1");
  EXPECT_THAT(run({"diff", before, after}).err, HasSubstr("Unable to use the lock file"));
}

TEST(Diff, DamageIsNoDifference) {
  // Of a directory whose listing is damaged, nothing is known. So what only the other tree shows isn't a difference.
  const fs::path bad = test::fixtures() / "bad";
  const std::string whole = (bad / "v3-ok.webc").string();
  const std::string listing = (bad / "v3-dir-len-small.webc").string();
  for (const bool is_first : {false, true}) {
    const test::Run result = run({"diff", "--json", is_first ? listing : whole, is_first ? whole : listing});
    EXPECT_EQ(result.code, 4);
    EXPECT_THAT(result.err, HasSubstr("pkgfs: error: \"/m\" in the tree"));
    EXPECT_EQ(paths_in(json::parse(result.out)), (std::map<std::string, char>{}));
  }
  const test::Run entry = run({"diff", whole, (bad / "v3-dir-off-big.webc").string()});
  EXPECT_EQ(entry.code, 4);
  EXPECT_THAT(entry.err, HasSubstr("\"/m/x\" in the tree"));
  EXPECT_THAT(entry.out, HasSubstr("  A /m/ok  1 byte\n"));
  EXPECT_THAT(entry.out, ::testing::Not(HasSubstr("/m/x")));
}

TEST(Diff, AMissingOperandIsTold) {
  EXPECT_EQ(run({"diff", container("names-v3.webc")}).code, 2);
  EXPECT_EQ(run({"diff", "/nowhere/a.webc", container("names-v3.webc")}).code, 3);
}

}  // namespace
}  // namespace pkgfs
