// SPDX-License-Identifier: MIT
// Risk: a package directory from a stranger publishes files of the host (docs/rules/webc-format.md, 12.7).
#include "core/load/outside.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "core/load/package_loader.h"
#include "core/source/container_summary.h"
#include "core/vfs/walk.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A package directory `pkg` beside a file that isn't its own.
class Outside : public ::testing::Test {
 protected:
  Outside() {
    dir_.write("secret", "s3cret");
    dir_.write("shared/page", "shared");
    dir_.write("pkg/m.wasm", "m");
  }
  [[nodiscard]] std::string package() const { return (dir_.path() / "pkg").string(); }
  [[nodiscard]] std::string outside(const std::string& name) const {
    return std::filesystem::canonical(dir_.path() / name).string();
  }
  /// The error of a manifest; "<opens>" if there is none.
  [[nodiscard]] std::string error_of(const std::string& toml, const OpenOptions& options = {}) const {
    dir_.write("pkg/wasmer.toml", toml);
    try {
      (void)open_package(package(), options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kPermission);
      return error.what();
    }
    return "<opens>";
  }

  TempDir dir_;
};

constexpr const char* kModule = "[[module]]\nname = \"m\"\nsource = \"m.wasm\"\n";

TEST_F(Outside, EveryPathOfAManifestIsRefusedWithItsKeyAndTarget) {
  struct Case {
    std::string toml;
    std::string key;
  };
  const std::vector<Case> cases = {
      {"[package]\nreadme = \"../secret\"\n", "\"readme\" of [package] is \"../secret\""},
      {"[package]\nlicense-file = \"../secret\"\n", "\"license-file\" of [package] is \"../secret\""},
      {"[package]\nreadme = \"" + outside("secret") + "\"\n", "\"readme\" of [package] is \"/"},
      {"[fs]\n\"/x\" = \"../secret\"\n", "\"/x\" of [fs] is \"../secret\""},
      {"[[module]]\nname = \"m\"\nsource = \"../secret\"\n", "\"source\" of the module \"m\" is \"../secret\""},
      {"[[module]]\nname = \"m\"\nsource = \"a/../../secret\"\n", "\"source\" of the module \"m\""},
      {std::string(kModule) + "[module.bindings]\nwit-bindgen = \"0.1.0\"\nwit-exports = \"../secret\"\n",
       "\"wit-exports\" of the module \"m\" is \"../secret\""},
      {std::string(kModule) + "[module.bindings]\nwai-version = \"0.2.0\"\nimports = [\"../secret\"]\n",
       "\"imports\" of the module \"m\" is \"../secret\""},
      {std::string(kModule) + "[[command]]\nname = \"c\"\nmodule = \"m\"\nrunner = \"wasi\"\n"
                              "annotations = { file = \"../secret\", kind = \"json\" }\n",
       "\"annotations.file\" of the command \"c\" is \"../secret\""},
  };
  for (const auto& [toml, key] : cases) {
    const std::string text = error_of(toml);
    EXPECT_THAT(text, HasSubstr("\"" + package() + "/wasmer.toml\": " + key));
    EXPECT_THAT(text, HasSubstr("leads out of the package directory, to \"" + outside("secret") + "\""));
    EXPECT_THAT(text, HasSubstr("--allow-outside"));
    EXPECT_THAT(text, Not(HasSubstr("s3cret"))) << "not a byte of the file";
  }
}

TEST_F(Outside, ALinkIsRefusedInAnyCase) {
  ASSERT_EQ(::symlink("../secret", (dir_.path() / "pkg/README.md").c_str()), 0);
  for (const bool allow : {false, true}) {
    const std::string text = error_of("[package]\nreadme = \"README.md\"\n", {.allow_outside = allow});
    EXPECT_THAT(text, HasSubstr("\"readme\" of [package] is \"README.md\""));
    EXPECT_THAT(text, HasSubstr("to \"" + outside("secret") + "\""));
    EXPECT_THAT(text, HasSubstr("a symbolic link may not lead out"));
  }
}

// Even a look at a path can make this machine mount another one's file system.
TEST_F(Outside, NothingOutsideIsFollowed) {
  ASSERT_EQ(::symlink("secret", (dir_.path() / "away").c_str()), 0);
  ASSERT_EQ(::symlink("../away", (dir_.path() / "pkg/README.md").c_str()), 0);
  ASSERT_EQ(::symlink((dir_.path() / "away/x").c_str(), (dir_.path() / "pkg/absolute").c_str()), 0);
  ASSERT_EQ(::symlink("README.md", (dir_.path() / "pkg/two").c_str()), 0);
  const std::string away = std::filesystem::canonical(dir_.path()) / "away";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"../away", away},
      {away, away},
      {"m/../../away/./x", away + "/x"},
      {"README.md", away},
      {"two", away},
      {"absolute", away + "/x"},
      {"absolute/y", away + "/x/y"},
  };
  for (const auto& [path, target] : cases) {
    EXPECT_THAT(error_of("[package]\nreadme = \"" + path + "\"\n"), HasSubstr(", to \"" + target + "\"")) << path;
  }
  EXPECT_THAT(error_of("[package]\nreadme = \"../away\"\n[[module]]\nname = \"m\"\nsource = \"../loop\"\n"),
              HasSubstr("\"source\" of the module \"m\""));
}

TEST_F(Outside, WhatStaysInsideOpens) {
  dir_.write("pkg/doc/README.md", "r");
  ASSERT_EQ(::symlink("doc/README.md", (dir_.path() / "pkg/link").c_str()), 0);
  EXPECT_EQ(error_of("[package]\nreadme = \"link\"\n[fs]\n\"/x\" = \"a/../doc\"\n" + std::string(kModule)), "<opens>");
  EXPECT_EQ(error_of("[package]\nreadme = \"missing\"\n"), "<opens>") << "as in the reference";
}

TEST_F(Outside, IfAllowedKeepsTheModeOfTheHostAndWarnsOfEach) {
  ASSERT_EQ(::chmod((dir_.path() / "secret").c_str(), 0640), 0);
  dir_.write("pkg/wasmer.toml",
             "[package]\nreadme = \"../secret\"\n[fs]\n\"/shared\" = \"../shared\"\n"
             "[[module]]\nname = \"m\"\nsource = \"../secret\"\n"
             "[[command]]\nname = \"c\"\nmodule = \"m\"\n");
  const CapturedLog log;
  TreeOptions options;
  const PackageTree tree = load_alone(package(), options, {.allow_outside = true});
  EXPECT_EQ(content(*tree.file_system, "/bin/c"), "s3cret");
  EXPECT_EQ(vfs::find_path(*tree.file_system, "/bin/c")->attributes.mode, 0640);
  EXPECT_EQ(content(*tree.file_system, "/shared/page"), "shared");
  options.view = View::kPackage;
  const PackageTree parts = load_alone(package(), options, {.allow_outside = true});
  EXPECT_EQ(vfs::find_path(*parts.file_system, "/atoms/m")->attributes.mode, 0640);
  EXPECT_EQ(vfs::find_path(*parts.file_system, "/metadata/secret")->attributes.mode, 0640);
  for (const char* key : {"\"readme\" of [package]", "\"/shared\" of [fs]", "\"source\" of the module \"m\""}) {
    EXPECT_THAT(log.text(), HasSubstr(key));
  }
}

TEST_F(Outside, ADependencyIsNeverAllowed) {
  dir_.write("pkg/wasmer.toml", "[fs]\n\"/x\" = \"../shared\"\n");
  PackageLoader loader(OpenOptions{.allow_outside = true});
  const PackageSummary summary{{NamedId{"a/b", Version::parse("1.0.0")}, {}, {}, {}, {}},
                               local_distribution(package())};
  try {
    (void)loader.load(summary);
    FAIL() << "loads";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"/x\" of [fs] is \"../shared\""));
  }
}

TEST_F(Outside, ADirectoryIsNoUntrustedPackage) {
  EXPECT_THAT(error_of(kModule, {.untrusted = true}), HasSubstr("--untrusted accepts only containers and tarballs"));
}

}  // namespace
}  // namespace pkgfs::test
