// SPDX-License-Identifier: MIT
// Risk: a directory package shows stale files, shows what isn't its own, or doesn't merge with its dependencies.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// As `eventually`, for conditions that throw while what they look at is still the old or no longer there.
template <typename Condition>
bool soon(Condition condition) {
  return eventually([&] {
    try {
      return condition();
    } catch (const std::exception&) {
      return false;
    }
  });
}

class LiveDirectory : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped()) {
      const ProcessResult unpacked = run({"tar", "-xzf", fixtures() / "sources/sources.tar.gz", "-C", dir_.path()});
      ASSERT_TRUE(unpacked.ok()) << unpacked.describe();
    }
  }

  [[nodiscard]] fs::path source(const std::string& name) const { return dir_.path() / name; }

  /// What `mappings` (guest to host path, deeper guests first) make of the source directory.
  static void expect_shows(const MountedPackage& mount, const std::string& guest, const fs::path& host) {
    EXPECT_EQ(difference(list_tree(host), list_tree(mount / guest)), "") << guest;
  }

  /// A package directory of its own, for tests that change it.
  fs::path package(const std::string& toml) const {
    dir_.write("own/wasmer.toml", toml);
    fs::create_directories(dir_.path() / "own/pub");
    return dir_.path() / "own";
  }

  TempDir dir_;
};

TEST_F(LiveDirectory, ShowsHostDirectoriesAtTheirGuestPaths) {
  MountedPackage basic(kPkgfs, source("basic"), {"--no-commands"});
  ASSERT_TRUE(basic.ok()) << basic.result().describe();
  expect_shows(basic, "public", source("basic") / "web");
  EXPECT_EQ(list_tree(basic.path()).size(), list_tree(source("basic") / "web").size() + 1) << "and nothing else";

  MountedPackage fsonly(kPkgfs, source("fsonly"), {"--no-commands"});
  ASSERT_TRUE(fsonly.ok()) << fsonly.result().describe();
  expect_shows(fsonly, "copy", source("fsonly") / "lib");
  expect_shows(fsonly, "data", source("fsonly") / "data/in/here");
  expect_shows(fsonly, "trailing", source("fsonly") / "lib");
  expect_shows(fsonly, "lib/python3.10", source("fsonly") / "py");
  EXPECT_TRUE(fs::exists(fsonly / "lib/libc.so"));

  MountedPackage rootmount(kPkgfs, source("rootmount"), {"--no-commands"});
  ASSERT_TRUE(rootmount.ok()) << rootmount.result().describe();
  EXPECT_TRUE(fs::exists(rootmount / "etc/passwd"));
  EXPECT_TRUE(fs::exists(rootmount / "etc/hidden")) << "directories merge";
  EXPECT_TRUE(fs::exists(rootmount / "bin/x"));

  MountedPackage names(kPkgfs, source("names"), {"--no-commands"});
  ASSERT_TRUE(names.ok()) << names.result().describe();
  expect_shows(names, "with space", source("names") / "odd dir");
  expect_shows(names, "ünï", source("names") / "ü");

  MountedPackage dotfiles(kPkgfs, source("dotfiles"), {"--no-commands"});
  ASSERT_TRUE(dotfiles.ok()) << dotfiles.result().describe();
  expect_shows(dotfiles, "x", source("dotfiles") / "x");
}

TEST_F(LiveDirectory, SourceThatIsAFileShowsAsThatFile) {
  MountedPackage mount(kPkgfs, source("abssource"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "etc/conf"), read_text(source("abssource") / "conf.txt"));
}

TEST_F(LiveDirectory, AsBuiltLeavesOutWhatIsIgnored) {
  MountedPackage mount(kPkgfs, source("dotfiles"), {"--no-commands", "--as-built"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_FALSE(fs::exists(mount / "x/wignored.txt"));
  EXPECT_TRUE(fs::exists(mount / "x/kept"));
  EXPECT_EQ(list_tree(mount / "x").contains("/wignored.txt"), false);
}

TEST_F(LiveDirectory, EditsOnTheHostShowWithinTheTimeout) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/a.txt", "one");
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "pub/a.txt"), "one");
  EXPECT_FALSE(fs::exists(mount / "pub/new.txt"));

  dir_.write("own/pub/a.txt", "two, and longer");
  dir_.write("own/pub/new.txt", "new");
  dir_.write("own/pub/sub/deep.txt", "deep");
  EXPECT_TRUE(soon([&] { return read_text(mount / "pub/a.txt") == "two, and longer"; }));
  EXPECT_TRUE(soon([&] { return fs::exists(mount / "pub/new.txt"); }));
  EXPECT_TRUE(soon([&] { return fs::exists(mount / "pub/sub/deep.txt"); }));
  EXPECT_TRUE(soon([&] { return fs::file_size(mount / "pub/a.txt") == 15; }));
  expect_shows(mount, "pub", own / "pub");

  fs::remove(own / "pub/a.txt");
  fs::rename(own / "pub/sub", own / "pub/moved");
  EXPECT_TRUE(soon([&] { return !fs::exists(mount / "pub/a.txt"); }));
  EXPECT_TRUE(soon([&] { return fs::exists(mount / "pub/moved/deep.txt"); }));
  EXPECT_TRUE(soon([&] { return list_tree(mount / "pub") == list_tree(own / "pub"); }));
}

TEST_F(LiveDirectory, FileReplacedByADirectoryAndBack) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/x", "file");
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_TRUE(fs::is_regular_file(mount / "pub/x"));
  fs::remove(own / "pub/x");
  dir_.write("own/pub/x/inside", "y");
  EXPECT_TRUE(soon([&] {
    std::error_code ignored;
    return fs::is_regular_file(mount / "pub/x/inside", ignored);
  }));
  fs::remove_all(own / "pub/x");
  dir_.write("own/pub/x", "file again");
  EXPECT_TRUE(soon([&] {
    std::error_code ignored;
    return fs::is_regular_file(mount / "pub/x", ignored) && read_text(mount / "pub/x") == "file again";
  }));
}

TEST_F(LiveDirectory, OpenFileStaysReadableAfterItIsRemoved) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/a.txt", "kept while open");
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const UniqueFd file(::open((mount / "pub/a.txt").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file);
  fs::remove(own / "pub/a.txt");
  std::string text(64, '\0');
  const ssize_t count = ::pread(file.get(), text.data(), text.size(), 0);
  ASSERT_GT(count, 0);
  EXPECT_EQ(text.substr(0, static_cast<std::size_t>(count)), "kept while open");
}

// The kernel, where it reads such files by itself, wants all opens of one to agree on what they read.
TEST_F(LiveDirectory, FileIsOpenTwiceAndReplacedMeanwhile) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  const std::string old_text(300'000, 'o');
  const std::string new_text(200'000, 'n');
  dir_.write("own/pub/file", old_text);
  const MountedPackage mount(kPkgfs, own, {"--live-timeout=0.1"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string path = mount / "pub/file";
  std::ifstream first(path, std::ios::binary);
  std::ifstream second(path, std::ios::binary);
  ASSERT_TRUE(first.is_open());
  ASSERT_TRUE(second.is_open());
  EXPECT_EQ(read_text(path), old_text) << "a third time";

  dir_.write("own/new", new_text);
  fs::rename(own / "new", own / "pub/file");
  EXPECT_TRUE(soon([&] { return fs::file_size(path) == new_text.size() && read_text(path) == new_text; }));
  EXPECT_EQ(run({"md5sum", path}).out.substr(0, 32), run({"md5sum", own / "pub/file"}).out.substr(0, 32));
  for (std::ifstream* const open : {&first, &second}) {
    std::string text(old_text.size(), '\0');
    open->read(text.data(), static_cast<std::streamsize>(1000));
    EXPECT_EQ(text.substr(0, 1000), old_text.substr(0, 1000));
    open->close();
  }
  EXPECT_TRUE(soon([&] { return read_text(path) == new_text; })) << "when nobody has the old one open";
}

TEST_F(LiveDirectory, HostModesAreKeptWithoutSetuidAndSize) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  const fs::path script = dir_.write("own/pub/run", "#!/bin/sh\n");
  ASSERT_EQ(::chmod(script.c_str(), 04751), 0);
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  struct stat status{};
  ASSERT_EQ(::stat((mount / "pub/run").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0751U);
  EXPECT_EQ(status.st_size, 10);
}

TEST_F(LiveDirectory, NoLinkLeadsOut) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  const fs::path pub = own / "pub";
  dir_.write("outside/secret", "secret");
  fs::create_directories(pub / "d");
  fs::create_symlink(dir_.path() / "outside/secret", pub / "absolute");
  fs::create_symlink("../../outside/secret", pub / "climbing");
  fs::create_symlink("../../../outside/secret", pub / "d/climbing");
  fs::create_symlink(dir_.path() / "outside", pub / "dirlink");
  fs::create_symlink("d", pub / "inside");
  fs::create_symlink("/etc/passwd", pub / "passwd");
  dir_.write("own/pub/d/f", "inside");
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const char* path : {"pub/absolute", "pub/climbing", "pub/d/climbing", "pub/dirlink/secret", "pub/passwd"}) {
    const UniqueFd fd(::open((mount / path).c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(fd) << path << " leads out";
  }
  EXPECT_EQ(read_text(mount / "pub/inside/f"), "inside");
  for (const auto& [path, entry] : list_tree(mount.path())) {
    EXPECT_FALSE(entry.target.starts_with("/")) << path << " -> " << entry.target;
  }
}

TEST_F(LiveDirectory, DirectorySwappedForALinkAfterMountingDoesNotLeadOut) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/d/f", "inside");
  dir_.write("outside/f", "secret");
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "pub/d/f"), "inside");
  fs::remove_all(own / "pub/d");
  fs::create_symlink(dir_.path() / "outside", own / "pub/d");
  for (int i = 0; i < 30; ++i) {
    const UniqueFd fd(::open((mount / "pub/d/f").c_str(), O_RDONLY | O_CLOEXEC));
    if (fd) {
      std::string text(16, '\0');
      const ssize_t count = ::read(fd.get(), text.data(), text.size());
      ASSERT_NE(text.substr(0, static_cast<std::size_t>(std::max<ssize_t>(count, 0))), "secret");
    }
    sleep_ms(50);
  }
}

TEST_F(LiveDirectory, MappedDirectoryThatIsALinkOutIsNotFollowed) {
  const fs::path own = package("[fs]\n\"/pub\" = \"link\"\n");
  dir_.write("outside/secret", "secret");
  fs::create_symlink(dir_.path() / "outside", own / "link");
  const MountedPackage mount(kPkgfs, own);
  expect_refused(mount);
  EXPECT_EQ(mount.result().err.find("secret"), std::string::npos);
  EXPECT_NE(mount.result().err.find("\"link\""), std::string::npos) << mount.result().describe();
}

TEST_F(LiveDirectory, OnlyFilesDirectoriesAndLinksAreShown) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/file", "x");
  ASSERT_EQ(::mkfifo((own / "pub/fifo").c_str(), 0644), 0);
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Tree tree = list_tree(mount / "pub");
  EXPECT_EQ(tree.size(), 1U);
  EXPECT_TRUE(tree.contains("/file"));
  EXPECT_FALSE(fs::exists(mount / "pub/fifo"));
}

TEST_F(LiveDirectory, IsReadOnlyThroughTheMount) {
  const fs::path own = package("[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/file", "x");
  MountedPackage mount(kPkgfs, own);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(::open((mount / "pub/file").c_str(), O_WRONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::unlink((mount / "pub/file").c_str()), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdir((mount / "pub/new").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(read_text(own / "pub/file"), "x");
}

TEST_F(LiveDirectory, MergesWithItsDependenciesHostFirst) {
  // acme/base@0.3.0 of the registry shows files of its own; the host adds to that directory and hides one of them.
  const Arguments registries{"--no-commands", "--registry", registry("chain-v3")};
  MountedPackage base(kPkgfs, "acme/base@0.3.0", registries);
  ASSERT_TRUE(base.ok()) << base.result().describe();
  const Tree packaged = list_tree(base.path());
  std::string hidden;
  for (const auto& [path, entry] : packaged) {
    hidden = entry.type == "file" ? path : hidden;
  }
  ASSERT_FALSE(hidden.empty());
  const fs::path parent = fs::path(hidden).parent_path();
  const fs::path own = package("[dependencies]\n\"acme/base\" = \"*\"\n[fs]\n\"" + parent.string() + "\" = \"pub\"\n");
  dir_.write("own/pub/added", "from the host");
  MountedPackage mount(kPkgfs, own, registries);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount.path().string() + (parent / "added").string()), "from the host");
  EXPECT_EQ(file_sha256(mount.path().string() + hidden), packaged.at(hidden).sha256);
  const Tree merged = list_tree(mount.path());
  for (const auto& [path, entry] : packaged) {
    EXPECT_TRUE(merged.contains(path)) << path;
  }
  EXPECT_EQ(merged.size(), packaged.size() + 1);

  dir_.write("own/pub/" + fs::path(hidden).filename().string(), "the host wins");
  EXPECT_TRUE(soon([&] { return read_text(mount.path().string() + hidden) == "the host wins"; }));
  fs::remove(own / "pub" / fs::path(hidden).filename());
  EXPECT_TRUE(soon([&] { return file_sha256(mount.path().string() + hidden) == packaged.at(hidden).sha256; }))
      << "the packaged file comes back";
}

TEST_F(LiveDirectory, WhatCannotBeBuiltIsRefusedBeforeTheMount) {
  const std::vector<std::pair<std::string, std::string>> bad{{"bad-missingfs", "Path: \"nothere\" does not exist"},
                                                             {"bad-dupcommand", "Duplicate command, \"c\""},
                                                             {"bad-missingmodule", "Unable to read the \"m\" module"},
                                                             {"bad-toml", "Unable to deserialize"},
                                                             {"bad-type", "Unable to deserialize"},
                                                             {"bad-version", "Unable to deserialize"},
                                                             {"bad-dependency", "Unable to deserialize"},
                                                             {"bad-nomanifest", "wasmer.toml"}};
  for (const auto& [name, text] : bad) {
    SCOPED_TRACE(name);
    MountedPackage mount(kPkgfs, source(name));
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find(text), std::string::npos) << mount.result().describe();
  }
}

}  // namespace
}  // namespace pkgfs::test
