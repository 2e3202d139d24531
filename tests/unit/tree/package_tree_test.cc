// SPDX-License-Identifier: MIT
#include "core/tree/package_tree.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/load/container_package.h"
#include "core/package/package_info.h"
#include "core/vfs/walk.h"
#include "core/webc/writer.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

webc::WriterNode file_node(std::string name, std::string text) {
  webc::WriterNode node;
  node.name = std::move(name);
  node.kind = webc::EntryKind::kFile;
  node.content = std::move(text);
  return node;
}

webc::WriterNode directory_node(std::string name, std::vector<webc::WriterNode> children) {
  webc::WriterNode node;
  node.name = std::move(name);
  node.children = std::move(children);
  return node;
}

/// A container of version `version` with the commands "run" and "two" and what `fill` adds.
std::string write_package(const TempDir& dir, int version, const Json& fs,
                          const std::function<void(webc::Writer&)>& fill, Json commands = nullptr) {
  Json manifest;
  manifest["package"]["wapm"] = {{"name", "acme/x"}, {"version", "1.0.0"}};
  manifest["package"]["fs"] = fs;
  manifest["atoms"]["a"] = {{"kind", "https://webc.org/kind/wasm"}, {"signature", webc::atom_signature(sha256("AAA"))}};
  if (commands.is_null()) {
    for (const char* name : {"run", "two"}) {
      commands[name] = {{"runner", "https://webc.org/runner/wasi"}, {"annotations", {{"atom", {{"name", "a"}}}}}};
    }
  }
  manifest["commands"] = std::move(commands);
  webc::Writer writer(version == 2 ? webc::Version::kV2 : webc::Version::kV3, manifest);
  writer.add_atom("a", std::string("AAA"));
  fill(writer);
  const std::string path = (dir.path() / "x.webc").string();
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  (void)writer.write(fd.get());
  return path;
}

Json mapping(const std::string& volume, const std::string& mount, const Json& host = nullptr) {
  Json json{{"from", nullptr}, {"volume_name", volume}};
  if (!host.is_null()) {
    json["host_path"] = host;
  }
  json["mount_path"] = mount;
  return json;
}

void add_bin(webc::Writer& writer) {
  writer.add_volume("v",
                    directory_node("", {directory_node("bin", {file_node("two", "mine")}), file_node("t", "top")}));
}

TEST(PackageTreeTest, CommandsAreExecutableFilesBelowWhatPackagesBring) {
  const TempDir dir;
  const CapturedLog log;
  const PackageTree tree = load_alone(write_package(dir, 3, Json::array({mapping("v", "/")}), add_bin), {});
  EXPECT_EQ(content(*tree.file_system, "/bin/run"), "AAA");
  EXPECT_EQ(content(*tree.file_system, "/bin/two"), "mine");
  const auto run = vfs::find_path(*tree.file_system, "/bin/run");
  ASSERT_TRUE(run);
  EXPECT_EQ(run->attributes.mode, 0755);
  EXPECT_EQ(run->attributes.modified, 1);
  TreeOptions digest;
  digest.times = vfs::Times::kDigest;
  const PackageTree dated = load_alone(write_package(dir, 3, Json::array({mapping("v", "/a/b")}), add_bin), digest);
  const Sha256 hash = sha256("AAA");
  EXPECT_EQ(vfs::find_path(*dated.file_system, "/bin/run")->attributes.modified,
            vfs::digest_time(std::as_bytes(std::span(hash))));
  EXPECT_GT(vfs::find_path(*dated.file_system, "/bin")->attributes.modified, 1);
  EXPECT_GT(vfs::find_path(*dated.file_system, "/a")->attributes.modified, 1);
  EXPECT_THAT(log.text(), HasSubstr("the command \"two\" of \"acme/x@1.0.0\" isn't shown: \"acme/x@1.0.0\" already has "
                                    "\"/bin/two\""));
  EXPECT_THAT(log.text(), Not(HasSubstr("\"run\"")));
}

TEST(PackageTreeTest, CommandsAppearWhereTheOptionSays) {
  const TempDir dir;
  const std::string path = write_package(dir, 3, Json::array({mapping("v", "/m")}), add_bin);
  TreeOptions options;
  options.commands_dir = "opt/./cmd/";
  const PackageTree elsewhere = load_alone(path, options);
  EXPECT_EQ(content(*elsewhere.file_system, "/opt/cmd/run"), "AAA");
  EXPECT_EQ(listing(*load_alone(path, only_files()).file_system).size(), 4U);
}

TEST(PackageTreeTest, AFileInThePlaceOfTheCommandsDirectoryHidesThemWithAWarning) {
  const TempDir dir;
  const CapturedLog log;
  const PackageTree tree = load_alone(
      write_package(dir, 3, Json::array({mapping("v", "/")}),
                    [](webc::Writer& writer) { writer.add_volume("v", directory_node("", {file_node("bin", "f")})); }),
      {});
  EXPECT_EQ(content(*tree.file_system, "/bin"), "f");
  EXPECT_THAT(log.text(), HasSubstr("the command \"run\""));
}

TEST(PackageTreeTest, CommandsWithUnusableNamesAreNotShown) {
  const TempDir dir;
  const CapturedLog log;
  Json commands;
  for (const std::string& name : {std::string("a/b"), std::string(".."), std::string(300, 'x'), std::string("ok")}) {
    commands[name] = {{"runner", "https://webc.org/runner/wasi"}, {"annotations", {{"atom", {{"name", "a"}}}}}};
  }
  const PackageTree tree = load_alone(write_package(dir, 3, Json::array({mapping("v", "/m")}), add_bin, commands), {});
  EXPECT_EQ(tree.commands.size(), 4U);
  EXPECT_EQ(content(*tree.file_system, "/bin/ok"), "AAA");
  EXPECT_THAT(log.text(), HasSubstr("\"a/b\" of \"acme/x@1.0.0\" isn't shown in \"/bin\": its name is no file name"));
  EXPECT_THAT(log.text(), HasSubstr("\"..\" of"));
  EXPECT_FALSE(vfs::find_path(*tree.file_system, "/bin/a"));
}

TEST(PackageTreeTest, OnlyVersionsBelowThreeHaveSourcePaths) {
  const TempDir dir;
  const Json fs = Json::array({mapping("v", "/m", "/bin/")});
  PackageTree v2 = load_alone(write_package(dir, 2, fs, add_bin), only_files());
  EXPECT_EQ(content(*v2.file_system, "/m/two"), "mine");
  EXPECT_EQ(v2.mappings.at(0).source_path, "/bin");
  EXPECT_EQ(v2.webc_version, 2);
  PackageTree v3 = load_alone(write_package(dir, 3, fs, add_bin), only_files());
  EXPECT_EQ(content(*v3.file_system, "/m/t"), "top");
  EXPECT_EQ(v3.mappings.at(0).source_path, "/");
}

TEST(PackageTreeTest, AMissingSourcePathIsAWarningOrWithStrictAnError) {
  const TempDir dir;
  const std::string path = write_package(dir, 2, {mapping("v", "/m", "/gone"), mapping("v", "/n", "/t/x")}, add_bin);
  const std::string text =
      "The \"acme/x@1.0.0\" package maps \"/gone\" of its \"v\" volume, but that path doesn't exist";
  {
    const CapturedLog log;
    const PackageTree tree = load_alone(path, only_files());
    EXPECT_THAT(tree.mappings, IsEmpty());
    EXPECT_THAT(log.text(), HasSubstr(text));
    EXPECT_THAT(log.text(), HasSubstr("maps \"/t/x\""));
    EXPECT_EQ(log.text().find(text), log.text().rfind(text)) << "said twice";
  }
  TreeOptions strict = only_files();
  strict.strict = true;
  try {
    (void)load_alone(path, strict);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), text);
  }
}

TEST(PackageTreeTest, MountPathsThatClimbAboveTheRootAreErrors) {
  const TempDir dir;
  try {
    (void)load_alone(write_package(dir, 3, Json::array({mapping("v", "/a/../../b")}), add_bin), only_files());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Invalid guest mount path \"/a/../../b\""));
  }
}

TEST(PackageTreeTest, ConflictsAreErrorsWhenAskedFor) {
  const TempDir dir;
  const std::string path = write_package(dir, 3, {mapping("v", "/m"), mapping("w", "/m")}, [](webc::Writer& writer) {
    writer.add_volume("v", directory_node("", {file_node("same", "v")}));
    writer.add_volume("w", directory_node("", {file_node("same", "w")}));
  });
  TreeOptions options = only_files();
  EXPECT_EQ(content(*load_alone(path, options).file_system, "/m/same"), "v");
  options.conflicts = vfs::Conflicts::kError;
  EXPECT_THROW((void)load_alone(path, options), Error);
}

TEST(PackageTreeTest, StrictVisitsTheWholeTreeFirst) {
  TreeOptions strict;
  strict.strict = true;
  EXPECT_NO_THROW((void)load_alone((fixtures() / "webc/basic-v3.webc").string(), strict));
  const TempDir dir;
  dir.write("wasmer.toml", "[fs]\n\"/w\" = \"w\"\n");
  dir.write("w/a", "1");
  EXPECT_NO_THROW((void)load_alone(dir.path().string(), strict));
}

TEST(PackageTreeTest, LiveDirectoriesStandInFrontOfContainers) {
  const TempDir dir;
  const TempDir other;
  dir.write("wasmer.toml", "[dependencies]\n\"acme/x\" = \"*\"\n[fs]\n\"/m\" = \"w\"\n");
  dir.write("w/t", "live");
  dir.write("w/new", "live");
  const std::string dep = write_package(other, 3, Json::array({mapping("v", "/m")}), add_bin);
  const auto root = open_package(dir.path().string());
  const PackageInfo info = info_from_manifest(root->hash(), root->manifest(), 3);
  const auto dep_package = open_package(dep);
  const PackageId dep_id = NamedId{.full_name = "acme/x", .version = Version::parse("1.0.0")};
  PackageInfo dep_info = info_from_manifest(dep_id, dep_package->manifest(), 3);
  class One final : public Source {
   public:
    explicit One(PackageSummary only) : only_(std::move(only)) {}
    [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier&) override { return {only_}; }

   private:
    PackageSummary only_;
  };
  One source({.pkg = dep_info, .dist = {.url = "file://" + dep, .path = dep, .webc_sha256 = {}}});
  PackageLoader loader({});
  const PackageTree tree = load_package_tree(root, loader, resolve(info, source), {});
  EXPECT_EQ(content(*tree.file_system, "/m/t"), "live");
  EXPECT_EQ(content(*tree.file_system, "/m/new"), "live");
  EXPECT_EQ(content(*tree.file_system, "/m/bin/two"), "mine");
  EXPECT_EQ(content(*tree.file_system, "/bin/run"), "AAA");
  ASSERT_EQ(tree.mappings.size(), 2U);
  EXPECT_TRUE(tree.mappings[0].live);
  EXPECT_FALSE(tree.mappings[1].live);
  EXPECT_EQ(tree.package_ids.size(), 2U);
}

TEST(PackageTreeTest, AnUnnamedPackageIsNotHashedToShowIt) {
  const std::string path = (fixtures() / "sources/basic.webc").string();
  bool hashed = false;
  const auto package =
      std::make_shared<ContainerPackage>(path, webc::Container::open(MappedFile::open(path)), PackageHash([&] {
                                           hashed = true;
                                           return Sha256{};
                                         }),
                                         OpenOptions{});
  const PackageTree tree = load_alone(package, {});
  EXPECT_GT(listing(*tree.file_system).size(), 0U);
  EXPECT_FALSE(hashed);
  EXPECT_TRUE(tree.id.to_string().starts_with("sha256:000000"));
  EXPECT_TRUE(hashed);
}

TEST(PackageTreeTest, TheFootprintCountsWhatIsVisible) {
  const TempDir dir;
  const std::string path = write_package(dir, 3, {mapping("v", "/a"), mapping("v", "/b")}, [](webc::Writer& writer) {
    webc::WriterNode link;
    link.name = "l";
    link.kind = webc::EntryKind::kSymlink;
    link.target = "file";
    writer.add_volume("v", directory_node("", {file_node("file", "12345"), link, directory_node("d", {})}));
  });
  const PackageTree tree = load_alone(path, only_files());
  const Footprint size = footprint(*tree.file_system);
  EXPECT_EQ(size.bytes, 2 * (5 + 4));
  EXPECT_EQ(size.inodes, 1 + 2 * 4U);
}

TEST(PackageTreeTest, AnEntrypointIsInferredFromASingleCommand) {
  const auto inferred = [](const char* shape) {
    const PackageTree tree = load_alone((fixtures() / "webc" / shape).string(), {});
    try {
      return infer_entrypoint(tree);
    } catch (const Error& error) {
      return error.message();
    }
  };
  const CapturedLog log;
  EXPECT_EQ(inferred("entry-nocommands-v3.webc"), "The package doesn't contain any executable commands");
  EXPECT_THAT(inferred("entry-none-v3.webc"),
              HasSubstr("Unable to determine the package's entrypoint. Please choose one of [\""));
  EXPECT_THAT(inferred("entry-inferred-v3.webc"), Not(HasSubstr(" ")));
}

}  // namespace
}  // namespace pkgfs::test
