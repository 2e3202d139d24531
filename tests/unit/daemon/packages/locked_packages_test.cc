// SPDX-License-Identifier: MIT
// Risk: an edited lock file changes what a mount shows, and nothing tells.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/containers/package_builder.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
using Pointer = Json::json_pointer;

/// `run` of run.h: a batch of files also has that of tests/support/process.h.
test::Run run_pkgfs(std::vector<std::string> arguments) {
  constexpr test::Run (*kRun)(std::vector<std::string>) = &test::run;
  return kRun(std::move(arguments));
}

class LockedPackages : public ::testing::Test {
 protected:
  TempDir dir_;
  std::string lock_ = (dir_.path() / "app.lock").string();

  [[nodiscard]] Json write_lock(const std::string& package, const fs::path& registry) const {
    const test::Run written = run_pkgfs({"resolve", "--lock", lock_, "--registry", registry.string(), package});
    EXPECT_EQ(written.code, 0) << written.err;
    return read_json(lock_);
  }
  [[nodiscard]] test::Run tree(const Json& lock, const std::string& package,
                               const std::vector<std::string>& more = {}) const {
    dir_.write("app.lock", lock.dump());
    std::vector<std::string> arguments{"tree", "--lock", lock_, package};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_pkgfs(arguments);
  }
  /// All that a user sees of a package.
  [[nodiscard]] std::vector<std::string> seen(const Json& lock, const std::string& package) const {
    std::vector<std::string> texts;
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--json"}, {"--view=package"}}) {
      const test::Run result = tree(lock, package, more);
      if (result.code != 0) {
        EXPECT_THAT(result.err, HasSubstr(lock_)) << "the message names the file";
        return {};
      }
      texts.push_back(result.out);
    }
    return texts;
  }
  /// Tries `edited`. Returns whether it was refused.
  bool try_edit(const Json& edited, const std::string& what, const std::string& package,
                const std::vector<std::string>& before) const {
    SCOPED_TRACE(what);
    const std::vector<std::string> after = seen(edited, package);
    EXPECT_TRUE(after.empty() || after == before) << "an edit changes the tree";
    return after.empty();
  }
  void try_all_edits(const Json& lock, const std::string& package) const;
};

/// The pointers to all values below `value`.
std::vector<Pointer> pointers(const Json& value, const Pointer& at = Pointer("")) {
  std::vector<Pointer> all;
  for (const auto& [key, member] : value.items()) {
    const Pointer below = value.is_array() ? at / static_cast<std::size_t>(std::stoul(key)) : at / key;
    all.push_back(below);
    if (member.is_structured()) {  // a scalar would be its own only item
      const auto inner = pointers(member, below);
      all.insert(all.end(), inner.begin(), inner.end());
    }
  }
  return all;
}

/// Other values for a scalar: those that other members with its name have, and some of its own.
std::vector<Json> others(const Json& document, const Pointer& at) {
  std::vector<Json> values{"", "/", "x", nullptr, 1, true, Json::array()};
  for (const Pointer& other : pointers(document)) {
    if (other.back() == at.back() && document[other].is_primitive()) {
      if (std::ranges::find(values, document[other]) == values.end()) {
        values.push_back(document[other]);
      }
    }
  }
  if (document[at].is_string()) {
    values.push_back(document[at].get<std::string>() + "x");
  }
  std::erase(values, document[at]);
  return values;
}

void LockedPackages::try_all_edits(const Json& lock, const std::string& package) const {
  const std::vector<std::string> before = seen(lock, package);
  ASSERT_FALSE(before.empty());
  std::size_t tried = 0;
  std::size_t refused = 0;
  for (const Pointer& at : pointers(lock)) {
    const std::string where = at.to_string();
    if (lock[at].is_primitive()) {
      for (const Json& value : others(lock, at)) {
        Json edited = lock;
        edited[at] = value;
        refused += try_edit(edited, where + " = " + value.dump(), package, before) ? 1 : 0;
        ++tried;
      }
    }
    Json without = lock;
    Json& parent = without[at.parent_pointer()];
    if (parent.is_array()) {
      parent.erase(std::stoul(at.back()));
      Json twice = lock;
      twice[at.parent_pointer()].push_back(lock[at]);
      refused += try_edit(twice, where + " twice", package, before) ? 1 : 0;
      ++tried;
    } else {
      parent.erase(at.back());
    }
    refused += try_edit(without, where + " removed", package, before) ? 1 : 0;
    ++tried;
  }
  EXPECT_GT(tried, 50U);
  EXPECT_GT(refused, tried * 9 / 10) << "of " << tried;
}

TEST_F(LockedPackages, NoEditOfAChainChangesTheTree) {
  try_all_edits(write_lock("acme/app@2.0.0", fixtures() / "registry/chain-v3"), "acme/app@2.0.0");
}

TEST_F(LockedPackages, NoEditOfAliasesChangesTheTree) {
  try_all_edits(write_lock("acme/two", fixtures() / "registry/alias-v3"), "acme/two");
}

TEST_F(LockedPackages, NoEditOfAnOriginalPathChangesTheTree) {
  try_all_edits(write_lock("acme/o1", fixtures() / "registry/orig-v2"), "acme/o1");
}

// A directory is locked by its path: neither commands nor mounts of it are in the file.
TEST_F(LockedPackages, NoEditOfADirectoryWithDependenciesChangesTheTree) {
  dir_.write("dir/wasmer.toml",
             "[package]\nname = \"me/dir\"\nversion = \"1.0.0\"\n"
             "[dependencies]\n\"acme/lib\" = \"^1\"\n[fs]\n\"/data\" = \"data\"\n");
  dir_.write("dir/data/file", "text");
  const std::string package = (dir_.path() / "dir").string();
  try_all_edits(write_lock(package, fixtures() / "registry/chain-v3"), package);
}

/// As an earlier pkgfs wrote it.
Json version_one(Json lock) {
  lock["pkgfs_lock"] = 1;
  for (Json& package : lock["packages"]) {
    package.erase("registry");
  }
  return lock;
}

TEST_F(LockedPackages, NoEditOfVersionOneChangesTheTree) {
  try_all_edits(version_one(write_lock("acme/app@2.0.0", fixtures() / "registry/chain-v3")), "acme/app@2.0.0");
}

TEST_F(LockedPackages, ARegistryMayNameAPackageOtherwise) {
  const fs::path registry = fixtures() / "registry/identity-v3";
  for (const std::string package : {"acme/liar", "acme/unnamed", "acme/uses", "acme/useshash"}) {
    SCOPED_TRACE(package);
    const Json lock = write_lock(package, registry);
    const test::Run locked = tree(lock, package);
    EXPECT_EQ(locked.code, 0) << locked.err;
    EXPECT_EQ(locked.out, run_pkgfs({"tree", "--registry", registry.string(), package}).out);
    const bool has_liar = package == "acme/liar" || package == "acme/uses";  // its container has another name
    EXPECT_EQ(tree(version_one(lock), package).code, has_liar ? 4 : 0);
  }
}

TEST_F(LockedPackages, APackageMustBeWhatItsDependentsAskFor) {
  Json lock = write_lock("acme/app@2.0.0", fixtures() / "registry/chain-v3");
  for (const char* member : {"id", "url", "sha256", "registry", "commands", "entrypoint", "filesystem"}) {
    std::swap(lock["packages"][1][member], lock["packages"][2][member]);
  }
  std::swap(lock["packages"][1]["dependencies"], lock["packages"][2]["dependencies"]);
  lock["packages"][0]["dependencies"][0]["id"] = lock["packages"][1]["id"];
  const test::Run result = tree(lock, "acme/app@2.0.0");
  EXPECT_EQ(result.code, 4) << result.out;
}

TEST_F(LockedPackages, ADirectoryIsNoAnswerToAName) {
  dir_.write("dir/wasmer.toml", "[package]\nname = \"acme/lib\"\nversion = \"1.0.0\"\n");
  Json lock = write_lock("acme/app@2.0.0", fixtures() / "registry/chain-v3");
  lock["packages"].erase(2);
  Json& lib = lock["packages"][1];
  lib["url"] = "file://" + (dir_.path() / "dir").string();
  lib["sha256"] = nullptr;
  lib["dependencies"] = Json::array();
  const test::Run result = tree(lock, "acme/app@2.0.0");
  EXPECT_EQ(result.code, 8) << result.out;
  EXPECT_THAT(result.err, HasSubstr("only a dependency that names this path may lead there"));
}

/// Another working directory.
class InDirectory {
 public:
  explicit InDirectory(const fs::path& path) : before_(fs::current_path()) { fs::current_path(path); }
  ~InDirectory() { fs::current_path(before_); }
  InDirectory(const InDirectory&) = delete;
  InDirectory& operator=(const InDirectory&) = delete;

 private:
  fs::path before_;
};

constexpr const char* kPrivate = "[package]\nname = \"me/private\"\nversion = \"1.0.0\"\n[fs]\n\"/s\" = \"s\"\n";

// Risk: a lock file makes a stranger's package, which is in the cache, one of the user's own.
TEST_F(LockedPackages, ALockFileAloneMakesNoLocalPackage) {
  dir_.write("private/wasmer.toml", kPrivate);
  dir_.write("private/s/private.txt", "s3cret");
  PackageBuilder builder("zorg/portal@1.0.0");
  builder.use("a", dir_.path() / "private").mount("/s", "/s", "a");
  const fs::path registry = dir_.path() / "registry";
  const std::string file = builder.publish(registry);
  const Json lock = write_lock("zorg/portal", registry);
  const test::Run stranger = tree(lock, "zorg/portal");
  EXPECT_EQ(stranger.code, 8) << stranger.out;
  EXPECT_THAT(stranger.err, HasSubstr("only a lock file says that this package lies on this machine"));
  EXPECT_EQ(stranger.out.find("private.txt"), std::string::npos);
  for (const auto& [package, more] : {std::pair<std::string, std::vector<std::string>>{file, {}},
                                      {"zorg/portal", {"--registry", registry.string()}}}) {
    const test::Run own = tree(lock, package, more);
    EXPECT_EQ(own.code, 0) << own.err;
    EXPECT_THAT(own.out, HasSubstr("private.txt")) << package;
  }
}

TEST_F(LockedPackages, ARegistryThatIsNotAskedGivesNoPackage) {
  Json lock = write_lock("acme/app@2.0.0", fixtures() / "registry/chain-v3");
  lock["packages"][1]["registry"]["url"] = "https://other.example/graphql";
  const test::Run file = tree(lock, "acme/app@2.0.0");
  EXPECT_EQ(file.code, 8) << file.out;
  EXPECT_THAT(file.err, HasSubstr("has no file of this machine"));
  lock["packages"][1]["url"] = "https://other.example/lib.webc";
  const test::Run url = tree(lock, "acme/app@2.0.0");
  EXPECT_EQ(url.code, 8) << url.out;
  EXPECT_THAT(url.err, HasSubstr("--registry=https://other.example/graphql adds it"));
}

// Risk: a lock file is of use only in the directory where it was written.
TEST_F(LockedPackages, ARelativePathDoesNotDependOnTheWorkingDirectory) {
  dir_.write("work/libs/dep/wasmer.toml", kPrivate);
  dir_.write("work/libs/dep/s/file", "text");
  dir_.write("work/libs/other/wasmer.toml", kPrivate);
  const std::string root = dir_.path() / "work/bin/root.webc";
  fs::create_directories(dir_.path() / "work/bin");
  for (const auto& [where, path] : {std::pair("work", "./libs/dep"), {"work/bin", "../libs/dep"}}) {
    PackageBuilder builder("me/root@1.0.0");
    builder.use("d", path).mount("/s", "/s", "d");
    builder.write(root);
    const Json lock = [&] {
      const InDirectory there(dir_.path() / where);
      return write_lock(root, fixtures() / "registry/chain-v3");
    }();
    const test::Run result = tree(lock, root);
    EXPECT_EQ(result.code, 0) << path << result.err;
    EXPECT_THAT(result.out, HasSubstr("file"));
    Json edited = lock;
    edited["packages"][1]["url"] = "file://" + (dir_.path() / "work/libs/other").string();
    EXPECT_EQ(tree(edited, root).code, 8) << "another directory than the one that the package names";
  }
}

TEST_F(LockedPackages, APathMayBeWrittenInEveryWayThatNamesAPackage) {
  dir_.write("pkg/wasmer.toml", kPrivate);
  dir_.write("pkg/s/file", "text");
  const InDirectory there(dir_.path());
  const Json lock = write_lock("./pkg", fixtures() / "registry/chain-v3");
  for (const std::string& text : {std::string("./pkg"), std::string("pkg"), std::string("./pkg/wasmer.toml"),
                                  "file://" + (dir_.path() / "pkg").string()}) {
    const test::Run result = tree(lock, text);
    EXPECT_EQ(result.code, 0) << text << result.err;
  }
  EXPECT_EQ(tree(lock, "me/private").code, 8) << "only the path names a directory";
}

TEST_F(LockedPackages, APathMayHaveCharactersThatMeanSomethingInAUrl) {
  dir_.write("100%20?a#b/pkg/wasmer.toml", kPrivate);
  dir_.write("100%20?a#b/pkg/s/file", "text");
  const std::string package = dir_.path() / "100%20?a#b/pkg";
  const test::Run result = tree(write_lock(package, fixtures() / "registry/chain-v3"), package);
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST_F(LockedPackages, AnOutsideFileOfTheRootMayBeAllowed) {
  dir_.write("README.md", "text");
  dir_.write("pkg/wasmer.toml", "[package]\nname = \"me/p\"\nversion = \"1.0.0\"\nreadme = \"../README.md\"\n");
  const std::string package = dir_.path() / "pkg";
  EXPECT_EQ(run_pkgfs({"resolve", "--allow-outside", "--lock", lock_, package}).code, 0);
  const Json lock = read_json(lock_);
  EXPECT_EQ(tree(lock, package, {"--allow-outside"}).code, 0);
  EXPECT_EQ(tree(lock, package).code, 8);
}

TEST_F(LockedPackages, APathThatCannotBeReadIsAClearError) {
  dir_.write("dep/wasmer.toml", kPrivate);
  dir_.write("dep/s/file", "text");
  PackageBuilder builder("me/root@1.0.0");
  builder.use("d", dir_.path() / "dep");
  const std::string root = dir_.path() / "root.webc";
  builder.write(root);
  const Json lock = write_lock(root, fixtures() / "registry/chain-v3");
  fs::remove_all(dir_.path() / "dep");
  fs::create_symlink("dep", dir_.path() / "dep");
  const test::Run result = tree(lock, root);
  EXPECT_THAT(result.err, HasSubstr("Unable to open the package \"" + (dir_.path() / "dep").string() +
                                    "\": Too many levels of symbolic links"));
  EXPECT_EQ(result.err.find("filesystem error"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace pkgfs::test
