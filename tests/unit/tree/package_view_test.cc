// SPDX-License-Identifier: MIT
// Risk: a part of a package can't be reached in the package view, or two parts have one path.
#include "core/tree/package_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <set>

#include "core/load/container_package.h"
#include "core/vfs/walk.h"
#include "core/webc/writer.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TreeOptions package_view() {
  TreeOptions options;
  options.view = View::kPackage;
  return options;
}

std::vector<std::string> paths(vfs::FileSystem& fs) {
  std::vector<std::string> all;
  for (const Json& entry : listing(fs)) {
    all.push_back(entry["path"]);
  }
  return all;
}

std::shared_ptr<const Package> pack(const std::vector<std::string>& volumes, const std::vector<std::string>& atoms) {
  Json manifest;
  manifest["package"]["wapm"] = {{"name", "acme/x"}, {"version", "1.0.0"}};
  manifest["unknown-key"] = 7;
  for (const std::string& atom : atoms) {
    manifest["atoms"][atom] = {{"kind", "https://webc.org/kind/wasm"},
                               {"signature", webc::atom_signature(sha256(atom))}};
  }
  webc::Writer writer(webc::Version::kV3, manifest);
  for (const std::string& atom : atoms) {
    writer.add_atom(atom, atom);
  }
  for (const std::string& volume : volumes) {
    webc::WriterNode file;
    file.name = "f";
    file.kind = webc::EntryKind::kFile;
    file.content = "of " + volume;
    webc::WriterNode root;
    root.children.push_back(std::move(file));
    writer.add_volume(volume, std::move(root));
  }
  auto source = std::make_shared<MemoryBytes>("x", writer.to_bytes());
  return std::make_shared<ContainerPackage>("x", webc::Container::open(std::move(source)), std::nullopt, OpenOptions{});
}

TEST(PackageView, ShowsAtomsVolumesAndManifest) {
  const PackageTree tree = load_alone(pack({"/web", "metadata", "/a/b"}, {"run"}), package_view());
  EXPECT_THAT(paths(*tree.file_system),
              ElementsAre("/atoms", "/atoms/run", "/manifest.json", "/metadata", "/metadata/f", "/volumes",
                          "/volumes/a%2Fb", "/volumes/a%2Fb/f", "/volumes/web", "/volumes/web/f"));
  EXPECT_EQ(content(*tree.file_system, "/atoms/run"), "run");
  EXPECT_EQ(content(*tree.file_system, "/volumes/a%2Fb/f"), "of /a/b");
  const Json manifest = Json::parse(content(*tree.file_system, "/manifest.json"));
  EXPECT_EQ(manifest["package"]["wapm"]["name"], "acme/x");
  EXPECT_EQ(manifest["unknown-key"], 7) << "as it is stored";
  EXPECT_TRUE(tree.file_system->is_immutable());
}

TEST(PackageView, EveryVolumeHasADirectoryOfItsOwn) {
  const std::vector<std::string> volumes{"web",   "/web", "//web", "%2Fweb", "metadata", "/metadata",
                                         "/../x", "a\nb", "a",     "/a/f",   "/a"};
  const PackageTree tree = load_alone(pack(volumes, {}), package_view());
  std::set<std::string> found;
  for (const std::string& path : paths(*tree.file_system)) {
    if (path.ends_with("/f")) {
      EXPECT_TRUE(found.insert(content(*tree.file_system, path)).second) << path;
    }
  }
  for (const std::string& volume : volumes) {
    EXPECT_TRUE(found.contains("of " + volume)) << volume;
  }
}

/// A root with the dependencies acme/gone, whose container isn't there, and acme/here.
Resolution with_dependencies(const TempDir& dir) {
  const auto id = [](const char* name) { return PackageId(NamedId{name, Version::try_parse("1.0.0").value()}); };
  const auto at = [&](const std::string& name) {
    const std::string path = (dir.path() / name).string();
    return DistributionInfo{.url = "file://" + path, .path = path, .webc_sha256 = std::nullopt};
  };
  std::filesystem::copy_file(fixtures() / "webc/bundle-v1.webc", dir.path() / "here.webc");
  DependencyGraph graph;
  const auto add = [&](const char* name, std::optional<DistributionInfo> dist) {
    PackageInfo info{.id = id(name), .commands = {}, .entrypoint = {}, .dependencies = {}, .filesystem = {}};
    graph.nodes.push_back({.pkg = std::move(info), .dist = std::move(dist), .edges = {}});
  };
  add("acme/x", std::nullopt);
  add("acme/gone", at("gone.webc"));
  add("acme/here", at("here.webc"));
  ResolvedPackage package{.root = id("acme/x"), .commands = {}, .entrypoint = {}, .filesystem = {}};
  package.filesystem.push_back(
      {.mount_path = "/", .volume_name = "atom", .original_path = std::nullopt, .package = id("acme/gone")});
  return {.graph = std::move(graph), .order = {0, 1, 2}, .package = std::move(package)};
}

TEST(PackageView, ADependencyThatCannotBeLoadedIsLeftOut) {
  const TempDir dir;
  const Resolution resolution = with_dependencies(dir);
  const CapturedLog log;
  PackageLoader loader({});
  const PackageTree tree = load_package_tree(pack({"web"}, {}), loader, resolution, package_view());
  EXPECT_EQ(content(*tree.file_system, "/volumes/web/f"), "of web");
  EXPECT_THAT(paths(*tree.file_system), Contains("/packages/acme/here@1.0.0/manifest.json"));
  EXPECT_THAT(paths(*tree.file_system), Not(Contains(HasSubstr("gone"))));
  const std::string text = log.text();
  EXPECT_THAT(text, HasSubstr("the dependency \"acme/gone@1.0.0\" isn't shown: "));
  EXPECT_THAT(text, HasSubstr("No such file"));
  EXPECT_EQ(text.find("isn't shown"), text.rfind("isn't shown")) << text;
}

TEST(PackageView, WithoutItsRootOrStrictlyItIsAnError) {
  const TempDir dir;
  Resolution resolution = with_dependencies(dir);
  PackageLoader loader({});
  TreeOptions strict = package_view();
  strict.strict = true;
  EXPECT_THROW((void)load_package_tree(pack({"web"}, {}), loader, resolution, strict), Error);
  resolution.package.root = resolution.graph.nodes[1].pkg.id;
  EXPECT_THROW((void)load_package_tree(nullptr, loader, resolution, package_view()), Error);
}

TEST(PackageView, NamesBecomeFileNames) {
  EXPECT_EQ(to_file_name("plain-1.0 ü"), "plain-1.0 ü");
  EXPECT_EQ(to_file_name("a/b%c\n"), "a%2Fb%25c%0A");
  EXPECT_EQ(to_file_name("."), "%2E");
  EXPECT_EQ(to_file_name(".."), "%2E%2E");
  EXPECT_EQ(to_file_name("..."), "...");
  EXPECT_EQ(to_file_name(""), "%");
  EXPECT_EQ(to_file_name(std::string(255, 'x')), std::string(255, 'x'));
  EXPECT_EQ(to_file_name(std::string(256, 'x')).size(), 255U);
  EXPECT_NE(to_file_name(std::string(300, 'x') + "1"), to_file_name(std::string(300, 'x') + "2"));
}

TEST(PackageView, OfALiveDirectoryIsLive) {
  const TempDir dir;
  dir.write("wasmer.toml", "[package]\nname='a/b'\nversion='1.0.0'\nreadme='R.md'\n[fs]\n\"/x\" = \"data\"\n");
  dir.write("R.md", "read me");
  dir.write("data/f", "1");
  const PackageTree tree = load_alone(dir.path().string(), package_view());
  EXPECT_EQ(content(*tree.file_system, "/volumes/data/f"), "1");
  EXPECT_EQ(content(*tree.file_system, "/metadata/R.md"), "read me");
  EXPECT_TRUE(Json::parse(content(*tree.file_system, "/manifest.json"))["package"].contains("fs"));
  dir.write("data/new", "2");
  EXPECT_EQ(content(*tree.file_system, "/volumes/data/new"), "2");
}

}  // namespace
}  // namespace pkgfs::test
