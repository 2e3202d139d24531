// SPDX-License-Identifier: MIT
// Risk: a small package of a stranger takes seconds or gigabytes, or prints thousands of lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include "core/base/limits.h"
#include "core/tree/package_tree.h"
#include "core/vfs/walk.h"
#include "tests/support/containers/bulk_package.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

/// What an optimised build needs a few hundredths of; this one isn't optimised, and the machine may be busy.
constexpr double kSeconds = 10;

/// "mounted" and the number of inodes, or the error; what it took is judged.
std::string outcome(const std::string& path) {
  const std::clock_t start = std::clock();
  std::string text;
  try {
    const PackageTree tree = load_alone(path, {});
    text = "mounted " + std::to_string(footprint(*tree.file_system).inodes);
  } catch (const Error& error) {
    text = error.what();
  }
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, kSeconds);
  return text;
}

TEST(Proportion, NestedMappingsUpToTheDepthAreMounted) {
  const TempDir dir;
  // The root, 249 directories and a file in each of them.
  EXPECT_EQ(outcome(BulkPackage{.mount_paths = nested_paths(249)}.write(dir.path())), "mounted 499");
  EXPECT_EQ(
      outcome(BulkPackage{.mount_paths = nested_paths(499)}.write(dir.path())),
      "The \"acme/x@1.0.0\" package exceeds the limit of 256 directories in a mount path for local packages: 257");
}

TEST(Proportion, OneDeepMappingIsRefused) {
  const TempDir dir;
  EXPECT_EQ(outcome(BulkPackage{.mount_paths = {deep_path(50'000)}}.write(dir.path())),
            "The \"acme/x@1.0.0\" package exceeds the limit of 4096 bytes in the path of a mapping for local packages: "
            "100000");
}

TEST(Proportion, AsManyMappingsAsAllowedAreMounted) {
  const TempDir dir;
  EXPECT_EQ(outcome(BulkPackage{.mount_paths = std::vector<std::string>(limits::kMappings, "/m")}.write(dir.path())),
            "mounted 3");
  EXPECT_EQ(outcome(BulkPackage{.mount_paths = numbered("/m", limits::kMappings)}.write(dir.path())), "mounted 20001");
  EXPECT_EQ(
      outcome(BulkPackage{.mount_paths = std::vector<std::string>(limits::kMappings + 1, "/m")}.write(dir.path())),
      "The \"acme/x@1.0.0\" package exceeds the limit of 10000 mappings in a tree for local packages: 10001");
}

TEST(Proportion, ManyMappingsOfDirectoriesOfOneVolume) {
  const TempDir dir;
  const std::vector<std::string> names = numbered("d", 5'000);
  BulkPackage made{.directories = names};
  for (const std::string& name : names) {
    made.mount_paths.push_back("/m/" + name);
    made.sources.push_back("/" + name);
  }
  EXPECT_EQ(outcome(made.write(dir.path(), webc::Version::kV2)), "mounted 5002");
}

TEST(Proportion, BrokenCommandsAreToldOnce) {
  const TempDir dir;
  const CapturedLog log;
  const PackageTree tree =
      load_alone(BulkPackage{.mount_paths = {"/"}, .commands = numbered("c", 20'000)}.write(dir.path()), {});
  EXPECT_EQ(tree.command_errors.size(), limits::kCommands);
  EXPECT_EQ(tree.command_errors.front().message(), "container does not have any atom");
  EXPECT_EQ(outcome(BulkPackage{.commands = numbered("c", 20'001)}.write(dir.path())),
            "The \"acme/x@1.0.0\" package exceeds the limit of 20000 commands in a tree for local packages: 20001");
}

TEST(Proportion, MissingSourcesAreToldOnce) {
  const TempDir dir;
  const CapturedLog log;
  BulkPackage made{.mount_paths = numbered("/m", 100)};
  made.sources = numbered("/gone", 100);
  EXPECT_EQ(outcome(made.write(dir.path(), webc::Version::kV2)), "mounted 1");
  EXPECT_THAT(log.text(), HasSubstr("maps \"/gone100002\" of its \"/data\" volume, but that path doesn't exist"));
  EXPECT_THAT(log.text(),
              HasSubstr("and 97 more mappings show a path that doesn't exist or can't be read (100 in all)"));
  EXPECT_EQ(std::ranges::count(log.text(), '\n'), 4);
}

TEST(Proportion, AMappingThatRepeatsAnotherAddsNothing) {
  const TempDir dir;
  const std::string path = BulkPackage{.mount_paths = {"/m", "/m", "/n"}}.write(dir.path());
  TreeOptions options = only_files();
  options.conflicts = vfs::Conflicts::kError;  // nothing hides anything else
  const PackageTree tree = load_alone(path, options);
  EXPECT_EQ(tree.mappings.size(), 3U);
  EXPECT_EQ(content(*tree.file_system, "/m/hello"), "hi");
  EXPECT_EQ(content(*tree.file_system, "/n/hello"), "hi");
}

// Risk: the sum over many packages knows no limit.
TEST(Proportion, LimitsAreThoseOfTheWholeTree) {
  const auto package = [](const std::string& name, std::size_t mappings) {
    PackageInfo info{NamedId{.full_name = name, .version = Version::parse("1.0.0")}, {}, {}, {}, {}};
    info.filesystem.resize(mappings,
                           {.volume_name = "v", .mount_path = "/", .original_path = {}, .dependency_name = {}});
    return info;
  };
  Resolution resolution{.graph = {}, .order = {0, 1}, .package = {package("root", 0).id, {}, {}, {}}};
  resolution.graph.nodes.push_back({.pkg = package("root", 6'000), .dist = {}, .edges = {}});
  resolution.graph.nodes.push_back({.pkg = package("dep", 6'000), .dist = {}, .edges = {}});
  PackageLoader loader({});
  try {
    (void)load_package_tree(std::make_shared<FakePackage>("root", Json::object(), std::map<std::string, std::string>()),
                            loader, resolution, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(),
              "The \"dep@1.0.0\" package exceeds the limit of 10000 mappings in a tree for local packages: 12000");
  }
}

}  // namespace
}  // namespace pkgfs::test
