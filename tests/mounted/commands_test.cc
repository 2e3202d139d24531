// SPDX-License-Identifier: MIT
// Risk: a command isn't an executable file in the tree, isn't the right atom, or replaces a file of the package.
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Commands : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(Commands, AreTheAtomsOfTheGoldenFiles) {
  const std::string& set = GetParam();
  const auto golden = read_json(fixtures() / "trees/registry" / (set + ".wasix-0.28.json"));
  int loaded = 0;
  for (const auto& [root, result] : golden.items()) {
    if (result.at("result") != "ok") {
      continue;  // broken commands are a warning for a mount: the test below
    }
    SCOPED_TRACE(root);
    MountedPackage mount(kPkgfs, root, {"--mtime=stored", "--registry", registry(set)});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    std::map<std::string, std::string> expected;
    for (const auto& command : result.at("package").at("commands")) {
      expected[command.at("name")] = command.at("atom_sha256");
    }
    std::map<std::string, std::string> found;
    if (fs::exists(mount / "bin")) {
      for (const auto& entry : fs::directory_iterator(mount / "bin")) {
        found[entry.path().filename()] = file_sha256(entry.path());
        struct stat status{};
        ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
        EXPECT_EQ(status.st_mode, S_IFREG | 0755U) << entry.path();
        EXPECT_EQ(status.st_mtim.tv_sec, 1) << "containers store no time of an atom";
      }
    }
    EXPECT_EQ(found, expected);
    ++loaded;
  }
  EXPECT_GT(loaded, 5);
}

INSTANTIATE_TEST_SUITE_P(Sets, Commands, ::testing::Values("commands-v2", "commands-v3"),
                         [](const auto& set) { return test_name(set.param); });

class CommandFiles : public MountedTest {
 protected:
  const Arguments registry_{"--registry", registry("commands-v3")};

  [[nodiscard]] Arguments with(Arguments options) const {
    options.insert(options.end(), registry_.begin(), registry_.end());
    return options;
  }
};

TEST_F(CommandFiles, CanBePutElsewhereOrLeftOut) {
  MountedPackage elsewhere(kPkgfs, "acme/tools@1.5.0", with({"--commands-dir=/opt/run"}));
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.result().describe();
  EXPECT_TRUE(fs::exists(elsewhere / "opt/run/hammer"));
  EXPECT_FALSE(fs::exists(elsewhere / "bin"));
  MountedPackage none(kPkgfs, "acme/tools@1.5.0", with({"--no-commands"}));
  ASSERT_TRUE(none.ok()) << none.result().describe();
  EXPECT_FALSE(fs::exists(none / "bin"));
}

TEST_F(CommandFiles, FileOfThePackageWinsWithAWarning) {
  // basic-v2 has a command "tool" and, in its volume at /, a file /bin/tool.
  const auto golden = read_json(fixtures() / "webc/basic-v2.webc.json");
  std::string packaged;
  for (const auto& entry : golden.at("volumes").at(0).at("entries")) {
    packaged = entry.at("path") == "/bin/tool" ? entry.at("sha256").get<std::string>() : packaged;
  }
  ASSERT_FALSE(packaged.empty());
  ASSERT_NE(packaged, golden.at("atoms").at(0).at("sha256").get<std::string>());
  MountedPackage mount(kPkgfs, single("basic-v2"));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(file_sha256(mount / "bin/tool"), packaged);
  EXPECT_NE(mount.result().err.find("/bin/tool"), std::string::npos) << "a warning: " << mount.result().describe();
}

TEST_F(CommandFiles, BrokenCommandIsAWarningAndWithStrictAnError) {
  for (const std::string root : {"acme/noatom@1.0.0", "acme/badalias@1.0.0", "acme/badatom@1.0.0"}) {
    SCOPED_TRACE(root);
    MountedPackage mount(kPkgfs, root, registry_);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_FALSE(mount.result().err.empty()) << "no warning";
    MountedPackage strict(kPkgfs, root, with({"--strict"}));
    expect_refused(strict);
  }
}

TEST_F(CommandFiles, ExecBitsCanBeRefusedForTheWholeMount) {
  MountedPackage mount(kPkgfs, "acme/tools@1.5.0", with({"-o", "noexec"}));
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_TRUE(find_mount(mount.path())->has("noexec"));
}

TEST_F(CommandFiles, ExecAutoMarksWhatStartsLikeAProgram) {
  MountedPackage plain(kPkgfs, single("basic-v3"), {"--no-commands", "-o", "exec=auto"});
  ASSERT_TRUE(plain.ok()) << plain.result().describe();
  for (const auto& [path, entry] : list_tree(plain.path())) {
    if (entry.type != "file") {
      continue;
    }
    const std::string content = read_text(plain.path().string() + path);
    const bool program = content.starts_with(std::string("\0asm", 4)) || content.starts_with("#!") ||
                         content.starts_with(
                             "\x7f"
                             "ELF");
    struct stat status{};
    ASSERT_EQ(::stat((plain.path().string() + path).c_str(), &status), 0);
    EXPECT_EQ((status.st_mode & 0111U) != 0, program) << path;
  }
}

}  // namespace
}  // namespace pkgfs::test
