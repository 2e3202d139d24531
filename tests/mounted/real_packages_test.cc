// SPDX-License-Identifier: MIT
// Risk: the generated fixtures aren't like what people really publish.
#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPackageFiles[] = {
    "bash-1.0.16-f097441a-a80b-4e0d-87d7-684918ef4bb6.webc",
    "dash-1.0.18-f0d13233-bcda-4cf1-9a23-3460bffaae2a.webc",
    "hello-0.1.0-665d2ddc-80e6-4845-85d3-4587b1693bb7.webc",
    "out.webc",
    "staticserver.webc",
    "wabt-1.0.37.wasmer",
    "wasmer-tests--volume-static-webserver@0.1.0.webc",
};

class RealPackages : public MountedTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const auto shared = shared_fixtures();
    if (!shared.has_value()) {
      GTEST_SKIP() << "the third-party packages aren't here (PKGFS_SHARED_FIXTURES)";
    }
    package_ = *shared / "third-party" / GetParam();
    golden_ = read_json(package_ + ".wasix-0.28.json");
  }

  std::string package_;
  nlohmann::ordered_json golden_;
  const Arguments stubs_{"--registry", registry("stubs")};
};

TEST_P(RealPackages, MountShowsWhatTheReferenceShows) {
  Arguments options = stubs_;
  options.emplace_back("--no-commands");
  MountedPackage mount(kPkgfs, package_, options);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  // The reference lists some directories under other times and lists them less completely; names, types and contents of
  // all that it shows must be there.
  const Tree actual = list_tree(mount.path());
  for (const auto& [path, entry] : tree_from_json(golden_.at("tree"))) {
    const auto found = actual.find(path);
    ASSERT_NE(found, actual.end()) << path;
    EXPECT_EQ(found->second.type, entry.type) << path;
    EXPECT_EQ(found->second.sha256, entry.sha256) << path;
  }
}

TEST_P(RealPackages, CommandsAreTheAtoms) {
  MountedPackage mount(kPkgfs, package_, stubs_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const auto& command : golden_.at("package").at("commands")) {
    const std::string name = command.at("name");
    EXPECT_EQ(file_sha256(mount / ("bin/" + name)), command.at("atom_sha256").get<std::string>()) << name;
  }
}

TEST_P(RealPackages, ExtractEqualsTheMount) {
  MountedPackage mount(kPkgfs, package_, stubs_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  TempDir dir;
  const fs::path copy = dir.path() / "copy";
  const ProcessResult extracted = run({kPkgfs, "extract", stubs_[0], stubs_[1], package_, copy});
  ASSERT_TRUE(extracted.ok()) << extracted.describe();
  const ProcessResult compared = run({"diff", "-r", "--no-dereference", mount.path(), copy});
  EXPECT_TRUE(compared.ok()) << compared.describe();
  EXPECT_EQ(difference(list_tree(mount.path()), list_tree(copy)), "");
}

TEST_P(RealPackages, WithoutItsDependenciesItSaysWhichOneIsMissing) {
  const auto info = read_json(package_ + ".json");
  const bool needs = !info.at("use").empty();
  MountedPackage mount(kPkgfs, package_, {"--offline"});
  if (!needs) {
    EXPECT_TRUE(mount.ok()) << mount.result().describe();
    return;
  }
  expect_refused(mount);
  const std::string dependency = info.at("use").at(0).at("value").get<std::string>();
  const std::string name = dependency.substr(0, dependency.find('@'));
  EXPECT_NE(mount.result().err.find("Unable to find \"" + name), std::string::npos) << mount.result().describe();
}

INSTANTIATE_TEST_SUITE_P(Files, RealPackages, ::testing::ValuesIn(kPackageFiles), [](const auto& file) {
  const std::string name = file.param;
  return test_name(name.substr(0, name.find('.')));
});

}  // namespace
}  // namespace pkgfs::test
