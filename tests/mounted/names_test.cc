// SPDX-License-Identifier: MIT
// Risk: names are changed, folded, lost or unreachable on their way to the kernel (docs/rules/filesystem.md, 9.4).
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

class Names : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(Names, EveryStoredNameIsListedAndCanBeLookedUp) {
  MountedPackage mount(kPkgfs, single(GetParam()), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto golden = read_json(fixtures() / "webc" / (GetParam() + ".webc.json"));
  const std::string prefix = GetParam().ends_with("v3") ? "/data" : "";
  const Tree tree = list_tree(mount.path());
  std::size_t longest = 0;
  for (const auto& entry : golden.at("volumes").at(0).at("entries")) {
    const std::string path = prefix + entry.at("path").get<std::string>();
    EXPECT_TRUE(tree.contains(path)) << path;
    struct stat status{};
    EXPECT_EQ(::lstat((mount.path().string() + path).c_str(), &status), 0) << path << " without a listing before";
    longest = std::max(longest, std::filesystem::path(path).filename().string().size());
  }
  EXPECT_EQ(longest, 255U);
}

TEST_P(Names, CaseAndUnicodeFormsStayDistinct) {
  MountedPackage mount(kPkgfs, single(GetParam()), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string prefix = GetParam().ends_with("v3") ? "data/" : "";
  std::set<ino_t> numbers;
  for (const char* name : {"case", "Case", "CASE"}) {
    struct stat status{};
    ASSERT_EQ(::lstat((mount / (prefix + name)).c_str(), &status), 0) << name;
    numbers.insert(status.st_ino);
  }
  EXPECT_EQ(numbers.size(), 3U);
  EXPECT_FALSE(std::filesystem::exists(mount / (prefix + "cASE")));
}

INSTANTIATE_TEST_SUITE_P(Formats, Names, ::testing::Values("names-v1", "names-v2", "names-v3"),
                         [](const auto& name) { return test_name(name.param); });

class ListingOrder : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(ListingOrder, IsByBytesWithDotsFirst) {
  MountedPackage mount(kPkgfs, single(GetParam()), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::vector<std::filesystem::path> directories{mount.path()};
  for (const auto& [path, entry] : list_tree(mount.path())) {
    if (entry.type == "dir") {
      directories.push_back(mount.path().string() + path);
    }
  }
  for (const auto& directory : directories) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
    ASSERT_NE(stream, nullptr) << directory;
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream.get())) {  // NOLINT(concurrency-mt-unsafe)
      names.emplace_back(entry->d_name);
    }
    ASSERT_GE(names.size(), 2U);
    EXPECT_EQ(names[0], ".");
    EXPECT_EQ(names[1], "..");
    EXPECT_TRUE(std::is_sorted(names.begin() + 2, names.end())) << directory;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ListingOrder, ::testing::Values("order-v1", "order-v2", "order-v3", "random1-v3"),
                         [](const auto& name) { return test_name(name.param); });

/// Names that can't be in a directory are left out; their neighbours stay.
class UnusableNames : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(UnusableNames, AreLeftOutWithAWarning) {
  const std::string file = fixtures() / "bad" / (GetParam() + ".webc");
  MountedPackage mount(kPkgfs, file, {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Tree tree = list_tree(mount.path());
  EXPECT_FALSE(tree.empty());
  for (const auto& [path, entry] : tree) {
    const std::string name = std::filesystem::path(path).filename();
    EXPECT_TRUE(!name.empty() && name != "." && name != ".." && name.size() <= 255) << path;
  }
  MountedPackage strict(kPkgfs, file, {"--no-commands", "--strict"});
  expect_refused(strict);
  EXPECT_NE(strict.result().err.find(GetParam() + ".webc"), std::string::npos) << strict.result().describe();
}

std::vector<std::string> unusable() {
  std::vector<std::string> names;
  for (const char* version : {"v2", "v3"}) {
    for (const char* kind :
         {"dotdot", "dot", "empty", "slash", "absolute", "traverse", "nul", "utf8", "long", "verylong", "dotdot-dir"}) {
      names.push_back(std::string(version) + "-name-" + kind);
    }
  }
  for (const char* kind : {"dotdot", "slash", "emptyname", "utf8"}) {
    names.push_back(std::string("v1-dir-") + kind);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Files, UnusableNames, ::testing::ValuesIn(unusable()),
                         [](const auto& name) { return test_name(name.param); });

}  // namespace
}  // namespace pkgfs::test
