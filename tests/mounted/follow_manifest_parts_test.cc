// SPDX-License-Identifier: MIT
// Risk: with --follow-manifest, an edit of something other than a mapping doesn't show: a package command, a
// dependency, or the whole package directory.
#include <gmock/gmock.h>

#include "tests/mounted/follow_manifest.h"

namespace pkgfs::test {
namespace {

TEST_F(FollowManifest, CommandsAreFollowed) {
  dir_.write("own/first.wasm", "first");
  dir_.write("own/second.wasm", "second");
  const auto with_command = [&](const std::string& name, const std::string& module) {
    write_manifest("[[module]]\nname = \"m\"\nsource = \"" + module + ".wasm\"\n[[command]]\nname = \"" + name +
                   "\"\nmodule = \"m\"\n");
  };
  with_command("run", "first");  // no mapping: without the option, this tree would be immutable
  const MountedPackage mount(kPkgfs, own(), {"--follow-manifest", "--live-timeout=60"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(text_of(mount / "bin/run"), "first");
  const UniqueFd open(::open((mount / "bin/run").c_str(), O_RDONLY | O_CLOEXEC));
  with_command("run", "second");
  expect_text(mount / "bin/run", "second");
  with_command("start", "second");
  expect_text(mount / "bin/start", "second");
  expect_gone(mount / "bin/run");
  expect_names(mount / "bin", {"start"});
  std::array<char, 16> text{};
  EXPECT_EQ(::pread(open.get(), text.data(), text.size(), 0), 5);
  EXPECT_STREQ(text.data(), "first");
  map({{"/bin", "one"}});
  expect_names(mount / "bin", {"file", "sub"});
}

TEST_F(FollowManifest, DependenciesAreResolvedAnew) {
  // The working directory of the daemon is another one: the registry must still be found.
  fs::create_symlink(registry("chain-v3"), dir_.path() / "registry");
  ProcessOptions here;
  here.directory = dir_.path();
  MountedPackage base(kPkgfs, "acme/base@0.3.0", {"--no-commands", "--registry", registry("chain-v3")});
  ASSERT_TRUE(base.ok()) << base.result().describe();
  const Tree packaged = list_tree(base.path());
  ASSERT_FALSE(packaged.empty());
  const MountedPackage mount(kPkgfs, "own",
                             {"--follow-manifest", "--no-commands", "--offline", "--registry=./registry"}, here);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto shows_packaged = [&] {
    return std::ranges::all_of(packaged, [&](const auto& entry) {
      const std::string path = mount.path().string() + entry.first;
      return entry.second.type == "file" ? fs::exists(path) && file_sha256(path) == entry.second.sha256
                                         : fs::exists(path);
    });
  };
  EXPECT_FALSE(shows_packaged());
  const std::string dependencies = "[dependencies]\n\"acme/base\" = \"=0.3.0\"\n";
  write_manifest(dependencies + fs_text({{"/a", "one"}}));
  EXPECT_TRUE(eventually(shows_packaged, kSoon)) << mount.result().describe();
  EXPECT_THAT(statistics(mount).at("packages").dump(), ::testing::HasSubstr("acme/base@0.3.0"));
  write_manifest(dependencies + fs_text({{"/a", "two"}}));
  expect_text(mount / "a/file", "of two");
  EXPECT_TRUE(shows_packaged());
  write_manifest("[dependencies]\n\"acme/base\" = \"=77.0.0\"\n" + fs_text({{"/a", "three"}}));
  sleep_ms(1'500);
  EXPECT_EQ(text_of(mount / "a/file"), "of two") << "it can't be resolved";
  EXPECT_TRUE(shows_packaged());
  map({{"/a", "three"}});
  expect_text(mount / "a/file", "of three");
  EXPECT_TRUE(eventually([&] { return names_in(mount.path()) == std::vector<std::string>{"a"}; }, kSoon));
  EXPECT_THAT(statistics(mount).at("packages").dump(), ::testing::Not(::testing::HasSubstr("acme/base")));
}

TEST_F(FollowManifest, ThePackageIsFollowedWhenItIsMadeAnew) {
  const MountedPackage mount(kPkgfs, own(), follow_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(text_of(mount / "a/file"), "of one");
  fs::rename(own(), dir_.path() / "old");
  sleep_ms(300);
  dir_.write("own/other/file", "of the new package");
  map({{"/new", "other"}});
  expect_text(mount / "new/file", "of the new package");
  expect_names(mount.path(), {"new"});
  map({{"/new", "other"}, {"/more", "other"}});
  expect_text(mount / "more/file", "of the new package");
}

TEST_F(FollowManifest, ThePackageViewIsFollowedToo) {
  const MountedPackage mount(kPkgfs, own(), {"--follow-manifest", "--view=package"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(text_of(mount / "volumes/one/file"), "of one");
  const std::string manifest = text_of(mount / "manifest.json");
  map({{"/a", "two"}});
  expect_text(mount / "volumes/two/file", "of two");
  expect_gone(mount / "volumes/one");
  EXPECT_TRUE(eventually([&] { return text_of(mount / "manifest.json") != manifest; }, kSoon));
}

TEST_F(FollowManifest, NothingIsCachedWithoutALiveTimeout) {
  const MountedPackage mount(kPkgfs, own(), {"--follow-manifest", "--live-timeout=0"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(names_in(mount.path()), (std::vector<std::string>{"a"}));
  map({{"/b", "two"}});
  expect_names(mount.path(), {"b"});
  expect_gone(mount / "a");
}

TEST_F(FollowManifest, IsForPackageDirectoriesOnly) {
  const MountedPackage mount(kPkgfs, single("basic-v3"), follow_);
  expect_refused(mount);
  EXPECT_THAT(mount.result().err, ::testing::HasSubstr("--follow-manifest is for a package directory"));
}

TEST_F(FollowManifest, WithoutTheOptionTheManifestIsNotFollowed) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  map({{"/b", "two"}});
  sleep_ms(2'000);
  EXPECT_EQ(names_in(mount.path()), (std::vector<std::string>{"a"}));
}

}  // namespace
}  // namespace pkgfs::test
