// SPDX-License-Identifier: MIT
// Risk: a package of a stranger gets what only a package that the user chose may have, or is used although it is
// damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/base/limits.h"
#include "core/tree/package_tree.h"
#include "tests/support/containers/bulk_package.h"
#include "tests/support/containers/package_builder.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr OpenOptions kUntrusted{.untrusted = true};

/// "mounted", or the error and its code.
std::string outcome(const std::string& path, const OpenOptions& open, const TreeOptions& options = only_files()) {
  try {
    (void)load_alone(path, options, open);
  } catch (const Error& error) {
    return std::string(error.what()) + (error.code() == ErrorCode::kCorrupt ? " (damage)" : "");
  }
  return "mounted";
}

TEST(Strangers, HaveLowerLimitsForPaths) {
  const TempDir dir;
  const std::string deep = BulkPackage{.mount_paths = {deep_path(65)}}.write(dir.path());
  EXPECT_EQ(outcome(deep, {}), "mounted");
  EXPECT_THAT(outcome(deep, kUntrusted),
              HasSubstr("The \"acme/x@1.0.0\" package exceeds the limit of 64 directories in "
                        "a mount path for packages of strangers: 65"));
  const std::string name(250, 'n');
  const std::string longer =
      BulkPackage{.mount_paths = {"/" + name + "/" + name + "/" + name + "/" + name + "/" + name}}.write(dir.path());
  EXPECT_EQ(outcome(longer, {}), "mounted");
  EXPECT_THAT(outcome(longer, kUntrusted), HasSubstr("the limit of 1024 bytes in the path of a mapping for packages of "
                                                     "strangers: 1255"));
}

PackageInfo described(const std::string& name, std::size_t mappings, std::size_t commands = 0) {
  PackageInfo info{NamedId{.full_name = name, .version = Version::parse("1.0.0")}, {}, {}, {}, {}};
  info.filesystem.resize(mappings, {.volume_name = "v", .mount_path = "/", .original_path = {}, .dependency_name = {}});
  info.commands = numbered("c", commands);
  return info;
}

/// The error of a tree with a package of this machine and two of a registry.
std::string error_of(PackageInfo local, PackageInfo first, PackageInfo second) {
  const DistributionInfo here{.url = "file:///x.webc", .path = "/x.webc", .webc_sha256 = {}};
  const DistributionInfo there{.url = "https://example.com/x.webc", .path = {}, .webc_sha256 = {}};
  Resolution resolution{.graph = {}, .order = {0, 1, 2}, .package = {local.id, {}, {}, {}}};
  resolution.graph.nodes.push_back({.pkg = std::move(local), .dist = here, .edges = {}});
  resolution.graph.nodes.push_back({.pkg = std::move(first), .dist = there, .edges = {}});
  resolution.graph.nodes.push_back({.pkg = std::move(second), .dist = there, .edges = {}});
  PackageLoader loader({});
  try {
    (void)load_package_tree(nullptr, loader, resolution, {});
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

TEST(Strangers, HaveLowerLimitsTogether) {
  EXPECT_EQ(error_of(described("me/root", 5'000), described("a/one", 600), described("a/two", 600)),
            "The \"a/two@1.0.0\" package exceeds the limit of 1000 mappings in a tree for packages of strangers: 1200");
  EXPECT_EQ(error_of(described("me/root", 0, 9'000), described("a/one", 0, 1'200), described("a/two", 0, 1'200)),
            "The \"a/two@1.0.0\" package exceeds the limit of 2000 commands in a tree for packages of strangers: 2400");
  EXPECT_THAT(error_of(described("me/root", 5'000), described("a/one", 500), described("a/two", 500)),
              HasSubstr("Unable to load the package"))
      << "the limits are no obstacle";
  EXPECT_EQ(error_of(described("me/root", 9'500), described("a/one", 300), described("a/two", 300)),
            "The \"a/two@1.0.0\" package exceeds the limit of 10000 mappings in a tree for local packages: 10100");
}

/// A package whose mapping shows a directory that is damaged.
std::string damaged_mapping(const TempDir& dir) {
  PackageBuilder builder("acme/x@1.0.0", webc::Version::kV2);
  builder.file("v", "d/e/file", "x").mount("/m", "v", std::nullopt, "/d/e").mount("/n", "v");
  std::vector<std::byte> bytes = builder.bytes();
  constexpr std::byte kDirectoryTag{0x1e};
  *std::find(bytes.rbegin(), bytes.rend(), kDirectoryTag) = std::byte{0x77};  // of "e"
  return dir.write("damaged.webc", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

TEST(Strangers, MapNothingThatIsDamaged) {
  const TempDir dir;
  const std::string path = damaged_mapping(dir);
  const CapturedLog log;
  EXPECT_EQ(outcome(path, {}), "mounted");
  EXPECT_THAT(log.text(), HasSubstr("but that path can't be read"));
  EXPECT_THAT(outcome(path, kUntrusted),
              HasSubstr("\" package maps \"/d/e\" of its \"v\" volume, but that path can't be "
                        "read: Input/output error (damage)"));
}

TEST(Strangers, MayMapWhatIsNotThere) {
  const TempDir dir;
  PackageBuilder builder("acme/x@1.0.0", webc::Version::kV2);
  builder.file("v", "file", "x").mount("/m", "v", std::nullopt, "/gone").mount("/n", "v");
  const std::string path = dir.path() / "x.webc";
  builder.write(path);
  EXPECT_EQ(outcome(path, kUntrusted), "mounted") << "that is no damage";
}

TEST(Strangers, LinksThatLeadOutCanBeRefused) {
  const TempDir dir;
  PackageBuilder builder("acme/x@1.0.0");
  builder.file("v", "file", "x").link("v", "in/near", "../file").mount("/m", "v");
  const std::string sound = dir.path() / "sound.webc";
  builder.write(sound);
  builder.link("v", "in/far", "../../etc/passwd");
  const std::string path = dir.path() / "x.webc";
  builder.write(path);
  TreeOptions options = only_files();
  options.strict = true;
  EXPECT_EQ(outcome(path, {}, options), "mounted");
  options.refuses_escapes = true;
  EXPECT_EQ(outcome(sound, {}, options), "mounted");
  for (const bool raw : {false, true}) {
    options.raw_links = raw;
    EXPECT_THAT(outcome(path, {}, options), HasSubstr("the link \"/m/in/far\" of "));
    EXPECT_THAT(outcome(path, {}, options), HasSubstr("leads out of its volume to \"../../etc/passwd\" (damage)"));
  }
  options.view = View::kPackage;
  EXPECT_THAT(outcome(path, {}, options), HasSubstr("leads out of its volume"));
}

}  // namespace
}  // namespace pkgfs::test
