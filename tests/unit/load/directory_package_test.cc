// SPDX-License-Identifier: MIT
#include "core/load/directory_package.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/load/pack.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The package directories of the fixtures, unpacked once.
class Sources : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<TempDir>();
    unpack_sources(directory_->path());
  }
  static void TearDownTestSuite() { directory_.reset(); }
  static std::string source(const std::string& name) { return (directory_->path() / name).string(); }
  static std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const auto& dir : std::filesystem::directory_iterator(directory_->path())) {
      names.push_back(dir.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

 private:
  static std::unique_ptr<TempDir> directory_;
};
std::unique_ptr<TempDir> Sources::directory_;

/// A golden volume as `listing` prints it.
Json without_hashes(Json entries) {
  for (auto& entry : entries) {
    entry.erase("hash");
  }
  return entries;
}

void expect_volume(vfs::FileSystem& fs, const Json& golden, bool times) {
  Json shown = listing(fs);
  Json wanted = without_hashes(golden["entries"]);
  ASSERT_EQ(shown.size(), wanted.size()) << shown.dump(1);
  std::map<std::string, Json> by_path;
  for (const auto& entry : shown) {
    by_path[entry["path"].get<std::string>()] = entry;
  }
  for (const auto& entry : wanted) {
    const auto path = entry["path"].get<std::string>();
    ASSERT_TRUE(by_path.contains(path)) << path;
    for (const auto& [key, value] : entry.items()) {
      if (key != "mtime_ns" || times) {
        EXPECT_EQ(by_path[path][key], value) << path << " " << key;
      }
    }
  }
}

TEST_F(Sources, OpenAsTheReferenceOpensThem) {
  const Json outcomes = read_json(fixtures() / "sources/sources.json");
  for (const auto& name : names()) {
    SCOPED_TRACE(name);
    const CapturedLog log;
    const Json& outcome = outcomes[name];
    if (outcome["result"] == "ok") {
      OpenOptions options;
      options.as_built = true;       // the reference's listing leaves out what `.wasmerignore` says
      options.allow_outside = true;  // the reference maps what lies outside (bad-escape)
      const auto package = open_package(source(name), options);
      const Json golden = read_json(fixtures() / "sources" / (name + ".dir.json"));
      EXPECT_EQ(package->manifest().to_json().dump(), golden["manifest_json"].get<std::string>());
      ASSERT_EQ(package->atoms().size(), golden["atoms"].size());
      for (std::size_t i = 0; i < package->atoms().size(); ++i) {
        EXPECT_EQ(package->atoms()[i].name, golden["atoms"][i]["name"].get<std::string>());
        EXPECT_EQ(to_hex(sha256(package->atoms()[i].body.bytes())), golden["atoms"][i]["sha256"].get<std::string>());
      }
      std::vector<std::string> volumes;
      for (const auto& volume : golden["volumes"]) {
        volumes.push_back(volume["name"]);
        if (name != "abssource" || volumes.back() == "metadata") {  // a file as a volume: not readable in the reference
          const auto fs = package->open_volume(volumes.back());
          ASSERT_NE(fs, nullptr);
          expect_volume(*fs, volume, true);
        }
      }
      EXPECT_EQ(package->volume_names(), volumes);
      EXPECT_TRUE(package->is_live());
      EXPECT_EQ(package->webc_version(), 3);
      continue;
    }
    try {
      (void)open_package(source(name), {});
      FAIL() << "opens";
    } catch (const Error& error) {
      std::string wanted = outcome["error"][0];
      if (const auto at = wanted.find("<DIR>"); at != std::string::npos) {
        wanted.replace(at, 6, source(""));
      }
      EXPECT_EQ(error.message(), wanted);
      ASSERT_EQ(error.chain().size(), outcome["error"].size()) << error.what();
      for (std::size_t i = 1; i < error.chain().size(); ++i) {
        std::string cause = outcome["error"][i];
        if (const auto at = cause.find("<DIR>"); at != std::string::npos) {
          cause.replace(at, 6, source(""));
        }
        // Up to what the reference's TOML parser or operating system binding adds.
        cause.resize(std::min({cause.size(), cause.find('\n'), cause.find(" (os error")}));
        EXPECT_THAT(error.chain()[i], HasSubstr(cause));
      }
    }
  }
}

TEST_F(Sources, PackToWhatTheReferencePacks) {
  for (const auto& name : names()) {
    const auto packed = fixtures() / "sources" / (name + ".webc");
    if (!std::filesystem::exists(packed)) {
      continue;
    }
    SCOPED_TRACE(name);
    const CapturedLog log;
    DirectoryOptions options;
    options.allow_outside = true;  // bad-escape: the reference maps what lies outside
    const auto package = open_directory_package(source(name), options);
    const TempDir dir;
    const std::string path = (dir.path() / "out.webc").string();
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    pack_package(*package, fd.get(), {.apply_ignore_rules = true});

    OpenOptions verified;
    verified.verify = Verify::kOpen;
    const auto ours = open_package(path, verified);
    const Json golden = read_json(fixtures() / "sources" / (name + ".webc.json"));
    EXPECT_EQ(ours->manifest().to_json().dump(), golden["manifest_json"].get<std::string>());
    for (const auto& volume : golden["volumes"]) {
      const auto fs = ours->open_volume(volume["name"].get<std::string>());
      ASSERT_NE(fs, nullptr);
      expect_volume(*fs, volume, true);
    }
    EXPECT_TRUE(read_text(path) == read_text(packed)) << "the same bytes, so that the package has the same hash";
  }
}

TEST_F(Sources, ShowLiveDirectoriesAtTheirGuestPaths) {
  const PackageTree tree = load_alone(source("fsonly"), only_files());
  EXPECT_EQ(content(*tree.file_system, "/lib/libc.so").size(), 4U);
  EXPECT_EQ(content(*tree.file_system, "/copy/libc.so"), content(*tree.file_system, "/lib/libc.so"));
  EXPECT_EQ(content(*tree.file_system, "/lib/python3.10/os.py").size(), 11U);
  EXPECT_EQ(content(*tree.file_system, "/data/d.bin").size(), 1000U);
  EXPECT_EQ(tree.mappings.size(), 5U);
  EXPECT_TRUE(tree.mappings[0].live);
  EXPECT_EQ(tree.webc_version, 3);

  const PackageTree rooted = load_alone(source("rootmount"), only_files());
  EXPECT_EQ(content(*rooted.file_system, "/etc/passwd").size(), 4U);
  EXPECT_EQ(content(*rooted.file_system, "/etc/hidden").size(), 1U);
  EXPECT_EQ(content(*rooted.file_system, "/bin/x").size(), 1U);

  const PackageTree file = load_alone(source("abssource"), only_files());
  EXPECT_EQ(content(*file.file_system, "/etc/conf"), read_text(source("abssource") + "/conf.txt"));
}

TEST_F(Sources, AsBuiltLeavesOutWhatABuildLeavesOut) {
  OpenOptions as_built;
  as_built.as_built = true;
  const auto fs = open_package(source("dotfiles"), as_built)->open_volume("/x");
  const Json golden = read_json(fixtures() / "sources/dotfiles.webc.json");
  expect_volume(*fs, golden["volumes"][0], true);
  const auto everything = open_package(source("dotfiles"), {})->open_volume("/x");
  EXPECT_EQ(listing(*everything).size(), listing(*fs).size() + 1);
}

TEST_F(Sources, ADirectoryOutsideIsShownWithAWarningIfAllowed) {
  const CapturedLog log;
  const PackageTree tree = load_alone(source("bad-escape"), only_files(), {.allow_outside = true});
  EXPECT_EQ(content(*tree.file_system, "/x/index.html").size(), 12U);
  EXPECT_THAT(log.text(), HasSubstr("\"/x\" of [fs] is \"../basic/web\", which leads out of the package directory"));
}

TEST(DirectoryPackageTest, EditsShowAtOnce) {
  const TempDir dir;
  dir.write("wasmer.toml", "[fs]\n\"/w\" = \"w\"\n");
  dir.write("w/a", "1");
  const PackageTree tree = load_alone(dir.path().string(), only_files());
  EXPECT_EQ(content(*tree.file_system, "/w/a"), "1");
  dir.write("w/a", "22");
  dir.write("w/b", "new");
  EXPECT_EQ(content(*tree.file_system, "/w/a"), "22");
  EXPECT_EQ(content(*tree.file_system, "/w/b"), "new");
}

TEST(DirectoryPackageTest, ItsIdIsTheHashOfTheCanonicalPath) {
  const TempDir dir;
  dir.write("wasmer.toml", "");
  const auto real = std::filesystem::canonical(dir.path()).string();
  EXPECT_EQ(open_directory_package(dir.path().string())->hash().digest(), sha256(real));
  EXPECT_EQ(open_directory_package(dir.path().string() + "/./")->hash().digest(), sha256(real));
}

std::string error_with(const std::string& toml, const std::function<void(const TempDir&)>& prepare) {
  const TempDir dir;
  dir.write("pkg/wasmer.toml", toml);
  prepare(dir);
  try {
    (void)open_directory_package((dir.path() / "pkg").string());
  } catch (const Error& error) {
    return error.what();
  }
  return "<opens>";
}

TEST(DirectoryPackageTest, LinksDontLeadOut) {
  const auto link = [](const TempDir& dir, const char* target, const char* name) {
    dir.write("secret/file", "s");
    ASSERT_EQ(::symlink(target, (dir.path() / "pkg" / name).c_str()), 0);
  };
  const std::string fs = "[fs]\n\"/x\" = \"web\"\n";
  EXPECT_THAT(error_with(fs, [&](const TempDir& dir) { link(dir, "../secret", "web"); }), HasSubstr("leads out of"));
  EXPECT_THAT(error_with(fs, [&](const TempDir& dir) { link(dir, "/etc", "web"); }), HasSubstr("leads out of"));
  const std::string module = "[[module]]\nname = \"m\"\nsource = \"m.wasm\"\n";
  EXPECT_THAT(error_with(module, [&](const TempDir& dir) { link(dir, "../secret/file", "m.wasm"); }),
              HasSubstr("leads out of the package directory"));
  EXPECT_EQ(error_with(fs,
                       [&](const TempDir& dir) {
                         dir.write("pkg/real/file", "");
                         link(dir, "real", "web");
                       }),
            "<opens>");
}

TEST(DirectoryPackageTest, FifosAreRefusedAndNotWaitedFor) {
  EXPECT_THAT(error_with("[fs]\n\"/x\" = \"p\"\n",
                         [](const TempDir& dir) { ASSERT_EQ(::mkfifo((dir.path() / "pkg/p").c_str(), 0600), 0); }),
              HasSubstr("Path: \"p\" is neither a directory nor a file"));
  EXPECT_THAT(error_with("[[module]]\nname = \"m\"\nsource = \"p\"\n",
                         [](const TempDir& dir) { ASSERT_EQ(::mkfifo((dir.path() / "pkg/p").c_str(), 0600), 0); }),
              HasSubstr("it isn't a regular file"));
}

TEST(DirectoryPackageTest, TwoHostPathsOfOneNameAreOneVolumeWithAWarning) {
  const TempDir dir;
  dir.write("pkg/wasmer.toml", "[fs]\n\"/a\" = \"w\"\n\"/b\" = \"../w\"\n");
  dir.write("pkg/w/inner", "");
  dir.write("w/outer", "");
  const CapturedLog log;
  const auto package = open_directory_package((dir.path() / "pkg").string(), {.allow_outside = true});
  EXPECT_EQ(package->volume_names(), (std::vector<std::string>{"/w", "metadata"}));
  EXPECT_THAT(log.text(), HasSubstr("are one volume"));
}

}  // namespace
}  // namespace pkgfs::test
