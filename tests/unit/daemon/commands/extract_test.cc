// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "core/base/hash.h"
#include "daemon/cli/json_output.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/golden_files.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::package;
using test::run;
using ::testing::HasSubstr;

/// A directory on disk in the form of `tree --json`, with modes where `with_modes`.
json disk_tree(const fs::path& root) {
  json entries = json::array();
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    struct stat status{};
    EXPECT_EQ(::lstat(entry.path().c_str(), &status), 0);
    json item{{"path", entry.path().string().substr(root.string().size())},
              {"mtime_ns", nanoseconds(status.st_mtim.tv_sec, static_cast<std::uint32_t>(status.st_mtim.tv_nsec))}};
    if (S_ISLNK(status.st_mode)) {
      item["type"] = "symlink";
      item["target"] = fs::read_symlink(entry.path()).string();
    } else if (S_ISDIR(status.st_mode)) {
      item["type"] = "dir";
      EXPECT_EQ(status.st_mode & 07777, 0755U) << entry.path();
    } else {
      item["type"] = "file";
      item["len"] = status.st_size;
      item["sha256"] = to_hex(sha256(test::read_text(entry.path())));
    }
    entries.push_back(std::move(item));
  }
  std::sort(entries.begin(), entries.end(), [](const json& a, const json& b) {
    return a["path"].get_ref<const std::string&>() < b["path"].get_ref<const std::string&>();
  });
  return entries;
}

mode_t mode_of(const fs::path& path) {
  struct stat status{};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777U;
}

TEST(Extract, WritesExactlyTheTree) {
  for (const char* name : {"basic-v1", "basic-v2", "basic-v3", "deep-v3", "empties-v2", "names-v3", "order-v1",
                           "random1-v3", "sizes-v2", "symlinks-v3", "times-v3"}) {
    SCOPED_TRACE(name);
    const test::TempDir dir;
    const fs::path target = dir.path() / "out";
    const std::string file = package("webc/" + std::string(name) + ".webc");
    const test::Run result = run({"extract", "--mtime=stored", file, target.string()});
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(disk_tree(target), json::parse(run({"tree", "--json", file}).out)) << "whose default is stored times";
    const fs::path other = dir.path() / "other";
    ASSERT_EQ(run({"extract", file, other.string()}).code, 0);
    EXPECT_EQ(disk_tree(other), json::parse(run({"tree", "--json", "--mtime=digest", file}).out));
    EXPECT_EQ(mode_of(target), 0755U);
  }
}

TEST(Extract, ModesAreThoseOfTheMount) {
  const test::TempDir dir;
  const fs::path target = dir.path() / "out";
  ASSERT_EQ(run({"extract", "--commands-dir=/cmd", package("webc/basic-v2.webc"), target.string()}).code, 0);
  EXPECT_EQ(mode_of(target / "cmd/tool"), 0755U);
  EXPECT_EQ(mode_of(target / "README.md"), 0644U);
}

TEST(Extract, ALiveDirectoryKeepsModesAndNanoseconds) {
  const test::TempDir dir;
  dir.write("pkg/wasmer.toml", "[fs]\n\"/x\" = \"data\"\n");
  const fs::path script = dir.write("pkg/data/run.sh", "#!/bin/sh\n");
  fs::permissions(script, fs::perms(0750));
  fs::permissions(dir.path() / "pkg/data", fs::perms(0555));
  const timespec time[2] = {{1600000000, 123456789}, {1600000000, 123456789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, script.c_str(), time, 0), 0);
  const fs::path target = dir.path() / "out";
  const test::Run result = run({"extract", (dir.path() / "pkg").string(), target.string()});
  ASSERT_EQ(result.code, 0) << result.err;
  struct stat status{};
  ASSERT_EQ(::lstat((target / "x/run.sh").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0750U);
  EXPECT_EQ(status.st_mtim.tv_sec, 1600000000);
  EXPECT_EQ(status.st_mtim.tv_nsec, 123456789);
  EXPECT_EQ(mode_of(target / "x"), 0555U) << "filled before it is closed";
  fs::permissions(dir.path() / "pkg/data", fs::perms(0755));
  fs::permissions(target / "x", fs::perms(0755));
}

TEST(Extract, ADirectoryThatIsNotEmptyNeedsForce) {
  const test::TempDir dir;
  const fs::path kept = dir.write("out/kept", "mine");
  dir.write("out/README.md", "old and longer than the new one");
  fs::permissions(dir.path() / "out", fs::perms(0700));
  const std::string file = package("webc/basic-v2.webc");
  const std::string target = (dir.path() / "out").string();
  const test::Run refused = run({"extract", file, target});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("isn't empty"));
  EXPECT_EQ(test::read_text(dir.path() / "out/README.md"), "old and longer than the new one");
  ASSERT_EQ(run({"extract", "--force", file, target}).code, 0);
  EXPECT_EQ(test::read_text(kept), "mine");
  EXPECT_EQ(test::read_text(dir.path() / "out/README.md").size(), 8U);
  EXPECT_EQ(mode_of(target), 0700U) << "a directory that was there keeps its mode";
}

TEST(Extract, FollowsNoLinkInTheTarget) {
  const std::string file = package("webc/basic-v2.webc");
  const test::TempDir dir;
  const fs::path outside = dir.write("outside/README.md", "precious");
  fs::create_directories(dir.path() / "out");
  fs::create_symlink(outside, dir.path() / "out/README.md");
  ASSERT_EQ(run({"extract", "--force", file, (dir.path() / "out").string()}).code, 0);
  EXPECT_EQ(test::read_text(outside), "precious");
  EXPECT_FALSE(fs::is_symlink(dir.path() / "out/README.md")) << "the link was replaced";

  fs::create_directories(dir.path() / "second");
  fs::create_directory_symlink(dir.path() / "outside", dir.path() / "second/bin");
  const test::Run refused = run({"extract", "--force", file, (dir.path() / "second").string()});
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, HasSubstr("/second/bin"));
  EXPECT_FALSE(fs::exists(dir.path() / "outside/tool"));
}

TEST(Extract, BadTargetsAreNamed) {
  const test::TempDir dir;
  const std::string file = package("webc/basic-v2.webc");
  const std::string in_the_way = dir.write("file", "").string();
  EXPECT_THAT(run({"extract", file, in_the_way}).err, HasSubstr(in_the_way));
  const test::Run missing = run({"extract", file, (dir.path() / "no/such").string()});
  EXPECT_EQ(missing.code, 3);
  EXPECT_THAT(missing.err, HasSubstr("no/such"));
  const test::Run nothing = run({"extract", (dir.path() / "none.webc").string(), (dir.path() / "out").string()});
  EXPECT_EQ(nothing.code, 3);
  EXPECT_FALSE(fs::exists(dir.path() / "out")) << "nothing is made for a package that can't be opened";
}

TEST(Extract, APackageIsNotWrittenIntoItself) {
  const test::TempDir dir;
  dir.write("pkg/wasmer.toml", "[fs]\n\"/x\" = \"data\"\n");
  dir.write("pkg/data/sub/file", "content");
  const std::string root = (dir.path() / "pkg").string();
  const test::Run refused = run({"extract", root, root + "/data/sub/out"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("which is part of the package"));
  EXPECT_FALSE(fs::exists(root + "/data/sub/out")) << "made before it was refused";
  const test::Run deeper = run({"extract", root, root + "/data/sub/"});
  EXPECT_EQ(deeper.code, 2) << "a directory that is there";
  const test::Run beside = run({"extract", root, root + "/out"});
  EXPECT_EQ(beside.code, 0) << beside.err;
  EXPECT_EQ(test::read_text(root + "/out/x/sub/file"), "content");
}

/// Extracts a file of 4 MiB where files may have 1 MiB only.
test::Run extract_too_much(const std::vector<std::string>& arguments) {
  rlimit before{};
  EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);  // write answers EFBIG instead
  const rlimit small{1 << 20U, before.rlim_max};
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  test::Run result = run(arguments);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("File too large"));
  return result;
}

TEST(Extract, NothingStaysWhenTheDiskIsFull) {
  const test::TempDir dir;
  const std::string file = package("webc/big4m-v3.webc");
  const std::string out = (dir.path() / "out").string();
  (void)extract_too_much({"extract", file, out});
  EXPECT_FALSE(fs::exists(out));
  fs::create_directory(out);
  (void)extract_too_much({"extract", file, out});
  EXPECT_TRUE(fs::is_empty(out)) << "a directory that was there stays";
}

TEST(Extract, NothingHalfWrittenStaysBesideWhatWasThere) {
  const test::TempDir dir;
  dir.write("out/mine", "kept");
  (void)extract_too_much({"extract", "--force", package("webc/big4m-v3.webc"), (dir.path() / "out").string()});
  EXPECT_EQ(test::read_text(dir.path() / "out/mine"), "kept");
  for (const auto& entry : fs::recursive_directory_iterator(dir.path() / "out")) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".pkgfs-")) << entry.path();
    EXPECT_TRUE(!entry.is_regular_file() || entry.file_size() < (1 << 20U)) << entry.path();
  }
}

TEST(Extract, ADamagedPackageLeavesNothing) {
  for (const char* name : {"v3-file-beyond", "v2-file-max", "v1-file-reversed"}) {
    SCOPED_TRACE(name);
    const test::TempDir dir;
    const std::string file = package("bad/" + std::string(name) + ".webc");
    const fs::path target = dir.path() / "out";
    const test::Run refused = run({"extract", "-q", file, target.string()});
    EXPECT_EQ(refused.code, 4);
    EXPECT_THAT(refused.err, HasSubstr("Nothing was written to \"" + target.string() + "\""));
    EXPECT_TRUE(fs::is_empty(dir.path())) << "nor anything beside it";
    dir.write("out/mine", "kept");
    EXPECT_EQ(run({"extract", "-q", "--force", file, target.string()}).code, 4);
    EXPECT_EQ(disk_tree(dir.path()).size(), 2U) << "the directory and the file that were there";
  }
}

TEST(Extract, KeepGoingWritesWhatCanBeRead) {
  const test::TempDir dir;
  const std::string file = package("bad/v3-file-beyond.webc");
  const fs::path target = dir.path() / "out";
  const test::Run result = run({"extract", "-q", "--keep-going", "--mtime=stored", file, target.string()});
  EXPECT_EQ(result.code, 4);
  const test::Run tree = run({"tree", "-q", "--json", file});
  EXPECT_EQ(tree.code, 4);
  EXPECT_EQ(result.err, tree.err) << "the same entries are reported";
  EXPECT_THAT(result.err, HasSubstr("Input/output error"));
  EXPECT_EQ(disk_tree(target), json::parse(tree.out));
  EXPECT_GT(disk_tree(target).size(), 1U);
}

TEST(Extract, DamagedAndHostileContainersStayInsideTheirDirectory) {
  for (const fs::path& file : test::files_ending(test::fixtures() / "bad", ".webc")) {
    if (file.filename() == "v2-deep-5000.webc") {
      continue;  // takes seconds to remove again, and version 3 has the same
    }
    SCOPED_TRACE(file.filename().string());
    const test::TempDir dir;
    const fs::path target = dir.path() / "a/out";
    fs::create_directories(dir.path() / "a");
    const test::Run result = run({"extract", "-q", file.string(), target.string()});
    EXPECT_TRUE(result.code == 0 || (result.code >= 4 && result.code <= 7)) << result.code << result.err;
    EXPECT_EQ(fs::exists(target), result.code == 0) << "everything or nothing";
    std::size_t beside = 0;
    for (const auto& entry : fs::directory_iterator(dir.path() / "a")) {
      beside += entry.path() == target ? 0 : 1;
    }
    EXPECT_EQ(beside, 0U);
    if (fs::exists(target)) {
      EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
    }
  }
}

TEST(Extract, TheRealPackagesComeWhole) {
  const auto shared = test::shared_fixtures();
  if (!shared || !fs::is_directory(*shared / "third-party")) {
    GTEST_SKIP() << "no shared fixtures: the third-party packages are not part of the source tree";
  }
  const std::string stubs = package("registry/stubs");
  for (const fs::path& golden : test::files_ending(*shared / "third-party", ".json")) {
    const fs::path file = fs::path(golden).replace_extension();
    if (!fs::is_regular_file(file)) {
      continue;
    }
    SCOPED_TRACE(file.filename().string());
    const test::TempDir dir;
    const fs::path target = dir.path() / "out";
    const test::Run result = run({"extract", "--mtime=stored", "--registry", stubs, file.string(), target.string()});
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(disk_tree(target), json::parse(run({"tree", "--json", "--registry", stubs, file.string()}).out));
  }
}

}  // namespace
}  // namespace pkgfs
