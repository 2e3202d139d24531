// SPDX-License-Identifier: MIT
// Risk: where two mappings meet, the wrong one wins (docs/rules/filesystem.md, 9.1 to 9.3, every row in both list
// orders).
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// Path to content; directories are "/", links "-> target".
using Shown = std::map<std::string, std::string>;

Shown shown(const fs::path& root) {
  Shown found;
  for (const auto& [path, entry] : list_tree(root)) {
    if (entry.type == "dir") {
      found[path] = "/";
    } else if (entry.type == "symlink") {
      found[path] = "-> " + entry.target;
    } else {
      found[path] = read_text(root.string() + path);
    }
  }
  return found;
}

/// One mapping of a test: entries (path to content, as in `Shown`) of a volume, mounted somewhere.
struct Layer {
  std::string mount;
  Shown entries;
};

class Conflicts : public MountedTest {
 protected:
  /// A package with one volume a layer, in this order of the list.
  std::string package(const std::vector<Layer>& layers) {
    PackageBuilder builder("test/p" + std::to_string(++count_) + "@1.0.0");
    int number = 0;
    for (const Layer& layer : layers) {
      const std::string volume = "v" + std::to_string(++number);
      fill(builder, volume, layer.entries);
      builder.mount(layer.mount, volume);
    }
    return builder.publish(dir_.path());
  }

  static void fill(PackageBuilder& builder, const std::string& volume, const Shown& entries) {
    builder.directory(volume, "");
    for (const auto& [path, content] : entries) {
      if (content == "/") {
        builder.directory(volume, path);
      } else if (content.starts_with("-> ")) {
        builder.link(volume, path, content.substr(3));
      } else {
        builder.file(volume, path, content);
      }
    }
  }

  /// Mounts the layers in this order and in the opposite one.
  void expect_both(const std::vector<Layer>& layers, const Shown& forward, const Shown& backward,
                   const Arguments& options = {}) {
    expect(layers, forward, options);
    expect({layers.rbegin(), layers.rend()}, backward, options);
  }

  void expect(const std::vector<Layer>& layers, const Shown& expected, const Arguments& options = {}) {
    MountedPackage mount(kPkgfs, package(layers), options);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_EQ(nlohmann::json(shown(mount.path())), nlohmann::json(expected));
    said_ = mount.result().err;
  }

  TempDir dir_;
  std::string said_;

 private:
  int count_ = 0;
};

TEST_F(Conflicts, SameFileAtOneMountPathTheEarlierWins) {
  expect_both({{"/m", {{"f", "first"}, {"a", "1"}}}, {"/m", {{"f", "second"}, {"b", "2"}}}},
              {{"/m", "/"}, {"/m/f", "first"}, {"/m/a", "1"}, {"/m/b", "2"}},
              {{"/m", "/"}, {"/m/f", "second"}, {"/m/a", "1"}, {"/m/b", "2"}});
}

TEST_F(Conflicts, SameFileAtDifferentMountPathsTheDeeperWins) {
  const Shown both{{"/lib", "/"}, {"/lib/f", "deep"}, {"/lib/g", "g"}};
  expect_both({{"/", {{"lib/f", "shallow"}, {"lib/g", "g"}}}, {"/lib", {{"f", "deep"}}}}, both, both);
}

TEST_F(Conflicts, DirectoriesMerge) {
  const Shown both{{"/m", "/"}, {"/m/d", "/"}, {"/m/d/a", "1"}, {"/m/d/b", "2"}, {"/m/d/e", "/"}};
  expect_both({{"/m", {{"d/a", "1"}}}, {"/m", {{"d/b", "2"}, {"d/e", "/"}}}}, both, both);
}

TEST_F(Conflicts, MergedDirectoryHasTheAttributesOfTheFirstLayer) {
  for (const bool swapped : {false, true}) {
    PackageBuilder builder(std::string("test/times") + (swapped ? "2" : "1") + "@1.0.0");
    builder.file("a", "x", "x").file("b", "y", "y");
    builder.volume("a").modified = 1'111'111'111;
    builder.volume("b").modified = 1'222'222'222;
    builder.mount("/m", swapped ? "b" : "a").mount("/m", swapped ? "a" : "b");
    MountedPackage mount(kPkgfs, builder.publish(dir_.path()));
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    struct stat status{};
    ASSERT_EQ(::stat((mount / "m").c_str(), &status), 0);
    EXPECT_EQ(status.st_mtim.tv_sec, swapped ? 1'222'222'222 : 1'111'111'111);
  }
}

TEST_F(Conflicts, FileAgainstDirectoryTheFirstKindWins) {
  expect_both({{"/m", {{"x", "file"}}}, {"/m", {{"x/inside", "1"}}}}, {{"/m", "/"}, {"/m/x", "file"}},
              {{"/m", "/"}, {"/m/x", "/"}, {"/m/x/inside", "1"}});
}

TEST_F(Conflicts, MountPointOverAFileIsADirectoryWithAWarning) {
  const Shown both{{"/lib", "/"}, {"/lib/f", "1"}};
  const std::vector<Layer> layers{{"/", {{"lib", "a file"}}}, {"/lib", {{"f", "1"}}}};
  expect(layers, both);
  EXPECT_NE(said_.find("hides the file \"/lib\""), std::string::npos) << said_;
  expect({layers.rbegin(), layers.rend()}, both);
  EXPECT_NE(said_.find("hides the file \"/lib\""), std::string::npos) << said_;
}

TEST_F(Conflicts, MountPointTwoLevelsBelowAFileAlsoMakesADirectory) {
  const Shown both{{"/a", "/"}, {"/a/b", "/"}, {"/a/b/f", "1"}};
  expect_both({{"/", {{"a", "a file"}}}, {"/a/b", {{"f", "1"}}}}, both, both);
}

TEST_F(Conflicts, MountPointOverADirectoryMerges) {
  const Shown both{{"/lib", "/"}, {"/lib/f", "mount"}, {"/lib/g", "below"}, {"/lib/py", "/"}, {"/lib/py/x", "1"}};
  expect_both({{"/", {{"lib/f", "below"}, {"lib/g", "below"}, {"lib/py/x", "1"}}}, {"/lib", {{"f", "mount"}}}}, both,
              both);
}

TEST_F(Conflicts, NestedMountsInEitherOrder) {
  const Shown both{{"/lib", "/"}, {"/lib/a", "1"}, {"/lib/py", "/"}, {"/lib/py/b", "2"}};
  expect_both({{"/lib", {{"a", "1"}}}, {"/lib/py", {{"b", "2"}}}}, both, both);
}

TEST_F(Conflicts, SeveralMappingsAtTheRootMergeInListOrder) {
  expect_both({{"/", {{"f", "first"}, {"a", "1"}}}, {"/", {{"f", "second"}, {"b", "2"}}}},
              {{"/f", "first"}, {"/a", "1"}, {"/b", "2"}}, {{"/f", "second"}, {"/a", "1"}, {"/b", "2"}});
}

TEST_F(Conflicts, LinkWinsOverWhatIsLaterAndLosesToWhatIsEarlier) {
  expect_both({{"/m", {{"x", "-> target"}}}, {"/m", {{"x/inside", "1"}}}}, {{"/m", "/"}, {"/m/x", "-> target"}},
              {{"/m", "/"}, {"/m/x", "/"}, {"/m/x/inside", "1"}});
  expect_both({{"/m", {{"x", "-> target"}}}, {"/m", {{"x", "file"}}}}, {{"/m", "/"}, {"/m/x", "-> target"}},
              {{"/m", "/"}, {"/m/x", "file"}});
}

TEST_F(Conflicts, FileInTheMiddleStopsTheMerge) {
  const Layer first{"/m", {{"d/a", "1"}}};
  const Layer file{"/m", {{"d", "file"}}};
  const Layer last{"/m", {{"d/c", "3"}}};
  expect_both({first, file, last}, {{"/m", "/"}, {"/m/d", "/"}, {"/m/d/a", "1"}},
              {{"/m", "/"}, {"/m/d", "/"}, {"/m/d/c", "3"}});
  expect_both({file, first, last}, {{"/m", "/"}, {"/m/d", "file"}},
              {{"/m", "/"}, {"/m/d", "/"}, {"/m/d/a", "1"}, {"/m/d/c", "3"}});
}

TEST_F(Conflicts, SourceThatIsAFileIsTheMountPointUnlessSomethingIsBelowIt) {
  PackageBuilder plain("test/filesource@1.0.0", webc::Version::kV2);
  plain.file("v", "conf.txt", "conf").mount("/etc/conf", "v", std::nullopt, "/conf.txt");
  MountedPackage file(kPkgfs, plain.publish(dir_.path()));
  ASSERT_TRUE(file.ok()) << file.result().describe();
  EXPECT_EQ(shown(file.path()), (Shown{{"/etc", "/"}, {"/etc/conf", "conf"}}));

  PackageBuilder below("test/filesource@2.0.0", webc::Version::kV2);
  below.file("v", "conf.txt", "conf").file("w", "x", "1");
  below.mount("/etc/conf", "v", std::nullopt, "/conf.txt").mount("/etc/conf/d", "w");
  MountedPackage directory(kPkgfs, below.publish(dir_.path()));
  ASSERT_TRUE(directory.ok()) << directory.result().describe();
  EXPECT_EQ(shown(directory.path()),
            (Shown{{"/etc", "/"}, {"/etc/conf", "/"}, {"/etc/conf/d", "/"}, {"/etc/conf/d/x", "1"}}));
}

TEST_F(Conflicts, WhiteoutNamesAreOrdinaryFiles) {
  const Shown both{{"/m", "/"}, {"/m/f", "1"}, {"/m/.wh.f", "whiteout?"}};
  expect_both({{"/m", {{".wh.f", "whiteout?"}}}, {"/m", {{"f", "1"}}}}, both, both);
}

TEST_F(Conflicts, MountPathThatClimbsOutIsRefused) {
  MountedPackage mount(kPkgfs, package({{"/a/../../b", {{"f", "1"}}}}));
  expect_refused(mount);
  EXPECT_NE(mount.result().err.find("parent traversal escapes the virtual root"), std::string::npos)
      << mount.result().describe();
}

TEST_F(Conflicts, ShadowHidesWhatAMountLiesOver) {
  const Arguments shadow{"--conflicts=shadow"};
  const Shown nested{{"/lib", "/"}, {"/lib/f", "mount"}, {"/other", "o"}};
  expect_both({{"/", {{"lib/f", "below"}, {"lib/g", "hidden"}, {"other", "o"}}}, {"/lib", {{"f", "mount"}}}}, nested,
              nested, shadow);
  expect_both({{"/m", {{"a", "1"}}}, {"/m", {{"b", "2"}}}}, {{"/m", "/"}, {"/m/a", "1"}}, {{"/m", "/"}, {"/m/b", "2"}},
              shadow);
  // The parent's other entries stay visible beside the nested mount.
  const Shown beside{{"/lib", "/"}, {"/lib/a", "1"}, {"/lib/py", "/"}, {"/lib/py/b", "2"}};
  expect_both({{"/lib", {{"a", "1"}, {"py/hidden", "x"}}}, {"/lib/py", {{"b", "2"}}}}, beside, beside, shadow);
}

TEST_F(Conflicts, ErrorModeRefusesHidingAndNamesBothPackages) {
  const auto publish = [&](const std::string& id, const Shown& entries, const std::string& mount) {
    PackageBuilder builder(id);
    fill(builder, "v", entries);
    builder.mount(mount, "v").publish(dir_.path());
  };
  publish("test/one@1.0.0", {{"f", "1"}, {"d/a", "1"}}, "/m");
  publish("test/same@1.0.0", {{"f", "2"}}, "/m");
  publish("test/kind@1.0.0", {{"d", "a file"}}, "/m");
  publish("test/deeper@1.0.0", {{"x", "1"}}, "/m/f");
  publish("test/beside@1.0.0", {{"g", "1"}, {"d/b", "1"}}, "/m");
  for (const std::string other : {"test/same", "test/kind", "test/deeper"}) {
    SCOPED_TRACE(other);
    PackageBuilder root(other + "root@1.0.0");
    root.use("a", "test/one@1.0.0").use("b", other + "@1.0.0");
    root.directory("v", "").mount("/own", "v").publish(dir_.path());
    MountedPackage mount(kPkgfs, other + "root", {"--conflicts=error", "--registry", dir_.path()});
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find("test/one@1.0.0"), std::string::npos) << mount.result().describe();
    EXPECT_NE(mount.result().err.find(other + "@1.0.0"), std::string::npos) << mount.result().describe();
    MountedPackage merged(kPkgfs, other + "root", {"--registry", dir_.path()});
    EXPECT_TRUE(merged.ok()) << merged.result().describe();
  }
  PackageBuilder root("test/fine@1.0.0");
  root.use("a", "test/one@1.0.0").use("b", "test/beside@1.0.0");
  root.directory("v", "").mount("/own", "v").publish(dir_.path());
  MountedPackage fine(kPkgfs, "test/fine", {"--conflicts=error", "--registry", dir_.path()});
  EXPECT_TRUE(fine.ok()) << fine.result().describe();
}

TEST_F(Conflicts, RootBeforeDependenciesAndLaterDependencyBeforeEarlier) {
  for (const auto& [name, content] : {std::pair{"test/early", "early"}, std::pair{"test/late", "late"}}) {
    PackageBuilder builder(std::string(name) + "@1.0.0");
    builder.file("v", "f", content).file("v", "only-" + std::string(content), "1").file("v", "root", content);
    builder.mount("/m", "v").publish(dir_.path());
  }
  PackageBuilder root("test/root@1.0.0");
  root.use("x", "test/early@^1").use("y", "test/late@^1");
  root.file("v", "root", "root").mount("/m", "v").publish(dir_.path());
  MountedPackage mount(kPkgfs, "test/root", {"--registry", dir_.path()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(shown(mount.path()),
            (Shown{{"/m", "/"}, {"/m/f", "late"}, {"/m/root", "root"}, {"/m/only-early", "1"}, {"/m/only-late", "1"}}));
}

TEST_F(Conflicts, AbsoluteLinkIsRewrittenToItsMountPoint) {
  PackageBuilder builder("test/links@1.0.0");
  builder.file("v", "d/real", "content").link("v", "abs", "/d/real").link("v", "d/abs", "/d/real");
  builder.mount("/opt/x", "v");
  // The writer refuses no absolute target; readers clamp it to the volume.
  MountedPackage mount(kPkgfs, builder.publish(dir_.path()));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "opt/x/abs"), "content");
  EXPECT_EQ(read_text(mount / "opt/x/d/abs"), "content");
  EXPECT_EQ(fs::read_symlink(mount / "opt/x/abs"), "d/real");
}

}  // namespace
}  // namespace pkgfs::test
