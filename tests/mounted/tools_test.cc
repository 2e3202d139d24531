// SPDX-License-Identifier: MIT
// Risk: a common tool behaves differently in a mounted package than in any other directory.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "tests/mounted/mounted.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// A package with dependencies and commands, one with many files, one with links, one with awkward names.
struct ToolSample {
  std::string package;
  Arguments options;
};

std::vector<ToolSample> samples() {
  return {{"acme/app@2.0.0", {"--registry", registry("chain-v3")}},
          {"acme/top@5.0.0", {"--registry", registry("nested-v2")}},
          {"acme/tools@1.5.0", {"--registry", registry("commands-v3")}},
          {single("many-v3"), {}},
          {single("symlinks-v3"), {}},
          {single("names-v3"), {}}};
}

class Tools : public MountedTest, public ::testing::WithParamInterface<ToolSample> {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    mount_.emplace(kPkgfs, GetParam().package, GetParam().options);
    ASSERT_TRUE(mount_->ok()) << mount_->result().describe();
  }

  /// Runs a line of shell with $M the mount and $T a scratch directory; expects success.
  std::string sh(const std::string& line) {
    const ProcessResult result = shell(
        line, {.timeout = std::chrono::seconds(20), .environment = {{"M", mount_->path()}, {"T", scratch_.path()}}});
    EXPECT_TRUE(result.ok()) << line << "\n" << result.describe();
    EXPECT_EQ(result.err, "") << line;
    return result.out;
  }

  std::optional<MountedPackage> mount_;
  TempDir scratch_;
};

TEST_P(Tools, TarRsyncCpAndExtractGiveTheSameTree) {
  const Tree mounted = list_tree(mount_->path());
  ASSERT_FALSE(mounted.empty());
  sh("mkdir $T/tar && tar -C $M -cf - . | tar -C $T/tar -xpf -");
  EXPECT_EQ(difference(mounted, list_tree(scratch_.path() / "tar")), "") << "tar";
  sh("rsync -a $M/ $T/rsync");
  EXPECT_EQ(difference(mounted, list_tree(scratch_.path() / "rsync")), "") << "rsync -a";
  sh("cp -a $M $T/cp");
  EXPECT_EQ(difference(mounted, list_tree(scratch_.path() / "cp")), "") << "cp -a";
  Arguments extract{kPkgfs, "extract"};
  extract.insert(extract.end(), GetParam().options.begin(), GetParam().options.end());
  extract.insert(extract.end(), {GetParam().package, scratch_.path() / "extract"});
  const ProcessResult extracted = run(extract);
  ASSERT_TRUE(extracted.ok()) << extracted.describe();
  EXPECT_EQ(difference(mounted, list_tree(scratch_.path() / "extract")), "") << "extract";
  EXPECT_EQ(sh("diff -r --no-dereference $M $T/extract"), "");
}

TEST_P(Tools, RsyncAndTarFindNothingToDoAfterACopy) {
  sh("rsync -a $M/ $T/copy");
  EXPECT_EQ(sh("rsync -ac --itemize-changes --delete --dry-run $M/ $T/copy"), "");
  EXPECT_EQ(sh("tar -C $M -cf $T/a.tar . && tar -df $T/a.tar -C $M"), "");
  EXPECT_EQ(sh("tar -C $M --sort=name -cf $T/b.tar . && tar -C $M --sort=name -cf $T/c.tar . && cmp $T/b.tar $T/c.tar"),
            "");
}

TEST_P(Tools, FindAndLsAgreeWithThemselvesAndWithACopy) {
  const std::string listing = sh("cd $M && find . -printf '%i %y %s %T@ %m %p\\0' | sort -z | tr '\\0' '|'");
  EXPECT_EQ(listing, sh("cd $M && find . -printf '%i %y %s %T@ %m %p\\0' | sort -z | tr '\\0' '|'"));
  sh("cp -a $M $T/copy");
  const std::string compared = "find . -mindepth 1 ! -type d -printf '%y %s %T@ %m %p\\0' | sort -z | tr '\\0' '|'";
  EXPECT_EQ(sh("cd $M && " + compared), sh("cd $T/copy && " + compared));
  EXPECT_EQ(sh("cd $M && ls -AR"), sh("cd $T/copy && ls -AR"));
  EXPECT_EQ(sh("cd $M && du -b --apparent-size -s . >/dev/null && du -s . | wc -l"), "1\n");
}

TEST_P(Tools, GrepAndCatReadEveryByte) {
  sh("cp -a $M $T/copy");
  const std::string sums = "find . -type f -print0 | sort -z | xargs -0 -r cat -- | sha256sum";
  EXPECT_EQ(sh("cd $M && " + sums), sh("cd $T/copy && " + sums));
  const std::string grep = "grep -rac '' . | LC_ALL=C sort";
  EXPECT_EQ(sh("cd $M && " + grep), sh("cd $T/copy && " + grep));
}

INSTANTIATE_TEST_SUITE_P(Packages, Tools, ::testing::ValuesIn(samples()), [](const auto& sample) {
  return test_name(fs::path(sample.param.package).filename().string());
});

class Inodes : public MountedTest {};

TEST_F(Inodes, AreTheSameInEveryMountWhateverIsVisitedFirst) {
  const Arguments options{"--registry", registry("nested-v3")};
  MountedPackage first(kPkgfs, "acme/top@5.0.0", options);
  ASSERT_TRUE(first.ok()) << first.result().describe();
  const auto numbers = inode_numbers(first.path());
  EXPECT_EQ(inode_numbers(first.path()), numbers) << "the second walk";
  std::set<std::uint64_t> distinct;
  for (const auto& [path, number] : numbers) {
    distinct.insert(number);
    EXPECT_GT(number, 1U) << path;
    EXPECT_EQ(number >> 32U, 0U) << path;
  }
  EXPECT_EQ(distinct.size(), numbers.size()) << "one inode per path";

  MountedPackage second(kPkgfs, "acme/top@5.0.0", options);
  ASSERT_TRUE(second.ok()) << second.result().describe();
  for (auto path = numbers.rbegin(); path != numbers.rend(); ++path) {  // backwards: the deepest come first
    struct stat status{};
    ASSERT_EQ(::lstat((second.path().string() + path->first).c_str(), &status), 0) << path->first;
    EXPECT_EQ(status.st_ino, path->second) << path->first;
  }
  EXPECT_EQ(inode_numbers(second.path()), numbers);
}

class HttpServer : public MountedTest {};

TEST_F(HttpServer, PythonServesTheMount) {
  MountedPackage mount(kPkgfs, single("sizes-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  if (!have_program("python3")) {
    GTEST_SKIP() << "no python3";
  }
  Process server({"python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", mount.path()},
                 {.timeout = std::chrono::seconds(20)});
  Groups port;
  ASSERT_TRUE(eventually([&] {
    port = find_groups(server.out(), R"(port (\d+))");
    return !port.empty();
  })) << server.err();
  const std::string fetch =
      "import sys, urllib.request, urllib.parse, hashlib\n"
      "for path in sys.argv[2:]:\n"
      "  url = 'http://127.0.0.1:%s%s' % (sys.argv[1], urllib.parse.quote(path))\n"
      "  print(hashlib.sha256(urllib.request.urlopen(url, timeout=5).read()).hexdigest())\n";
  Arguments arguments{"python3", "-c", fetch, port[1]};
  std::string expected;
  for (const auto& [path, entry] : list_tree(mount.path())) {
    if (entry.type == "file") {
      arguments.push_back(path);
      expected += entry.sha256 + "\n";
    }
  }
  ASSERT_GT(arguments.size(), 10U);
  const ProcessResult fetched = run(arguments);
  EXPECT_TRUE(fetched.ok()) << fetched.describe();
  EXPECT_EQ(fetched.out, expected);
}

class ManyReaders : public MountedTest {};

TEST_F(ManyReaders, WalkingFromManyProcessesAtOnceGivesTheSame) {
  MountedPackage mount(kPkgfs, single("many-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string line = "cd " + mount.path().string() +
                           " && for i in 1 2 3 4 5 6; do (find . -type f -print0 | sort -z | xargs -0 sha256sum | "
                           "sha256sum) & done; wait";
  const ProcessResult result = shell(line);
  ASSERT_TRUE(result.ok()) << result.describe();
  std::istringstream lines(result.out);
  std::set<std::string> different;
  int count = 0;
  for (std::string sum; std::getline(lines, sum); ++count) {
    different.insert(sum);
  }
  EXPECT_EQ(count, 6);
  EXPECT_EQ(different.size(), 1U) << result.out;
}

/// Programs that are stopped in the middle of their work.
class ToolsStopped : public ::testing::Test {
 protected:
  ToolsStopped() { fs::create_directories(scratch()); }

  [[nodiscard]] fs::path scratch() const { return dir_.path() / "scratch"; }
  [[nodiscard]] fs::path out() const { return dir_.path() / "out"; }

  /// The hidden directory that is filled: beside the target, or inside one that was there. Empty: there is none.
  [[nodiscard]] fs::path staged() const {
    for (const fs::path& place : {dir_.path(), out()}) {
      std::error_code gone;
      for (const auto& entry : fs::directory_iterator(place, gone)) {
        if (entry.path().filename().string().find(".pkgfs-") != std::string::npos) {
          return place == out() ? entry.path() / "new" : entry.path();
        }
      }
    }
    return {};
  }

  /// A live package with small files and one that takes long to write.
  [[nodiscard]] std::string large_package() const {
    dir_.write("pkg/wasmer.toml", "[fs]\n\"/x\" = \"data\"\n");
    dir_.write("pkg/data/a/small", "small");
    fs::create_symlink("a/small", dir_.path() / "pkg/data/b");
    fs::resize_file(dir_.write("pkg/data/large", ""), std::uintmax_t{16} << 30U);
    return dir_.path() / "pkg";
  }

  /// Extracts the large package and sends `signal` while the large file is written.
  [[nodiscard]] ProcessResult stop_extract(const std::string& package, int signal) const {
    Process extract({kPkgfs, "extract", "--force", package, out()}, {.timeout = std::chrono::seconds(10)});
    EXPECT_TRUE(eventually([&] { return !staged().empty() && fs::is_symlink(staged() / "x/b"); })) << extract.err();
    sleep_ms(20);
    const auto begin = std::chrono::steady_clock::now();
    extract.signal(signal);
    ProcessResult result = extract.wait();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
    return result;
  }

  TempDir dir_;
};

TEST_F(ToolsStopped, ExtractLeavesNothingBehind) {
  const std::string package = large_package();
  for (const int signal : {SIGINT, SIGTERM}) {
    const ProcessResult result = stop_extract(package, signal);
    EXPECT_EQ(result.exit_code, 130) << result.describe();
    EXPECT_NE(result.err.find("interrupted"), std::string::npos) << result.describe();
    EXPECT_FALSE(fs::exists(out()));
    EXPECT_EQ(staged(), "") << "nor anything beside it";
  }
}

TEST_F(ToolsStopped, ExtractLeavesADirectoryAsItWas) {
  const std::string package = large_package();
  dir_.write("out/x/a/small", "mine");
  for (const int signal : {SIGINT, SIGTERM}) {
    EXPECT_EQ(stop_extract(package, signal).exit_code, 130);
    EXPECT_EQ(read_text(out() / "x/a/small"), "mine");
    EXPECT_EQ(std::distance(fs::recursive_directory_iterator(out()), fs::recursive_directory_iterator()), 3);
  }
}

TEST_F(ToolsStopped, EvenKilledExtractShowsNoHalfTree) {
  EXPECT_EQ(stop_extract(large_package(), SIGKILL).signal, SIGKILL);
  EXPECT_FALSE(fs::exists(out()));
}

/// On a file system of its own with room for less than the package.
TEST_F(ToolsStopped, ExtractLeavesNothingOnAFullDisk) {
  if (!shell("unshare -m --propagation private mount -t tmpfs none /mnt").ok()) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  fs::create_directories(out());
  const auto extract = [&](const std::string& before, const std::string& target) {
    return shell("unshare -m --propagation private sh -c 'mount -t tmpfs -o size=2m none " + out().string() +
                 " && cd " + out().string() + " && " + before + kPkgfs + " extract --force " + single("big4m-v3") +
                 " " + target + "; code=$?; find . >&2; exit $code'");
  };
  const ProcessResult beside = extract("", "new");
  EXPECT_EQ(beside.exit_code, 1) << beside.describe();
  EXPECT_NE(beside.err.find("No space left on device"), std::string::npos) << beside.describe();
  EXPECT_TRUE(beside.err.ends_with("\n.\n")) << "what find lists: " << beside.describe();
  const ProcessResult mount_point = extract("", ".");
  EXPECT_EQ(mount_point.exit_code, 1) << mount_point.describe();
  EXPECT_TRUE(mount_point.err.ends_with("\n.\n")) << mount_point.describe();
  const ProcessResult merged = extract("mkdir old && echo mine >old/file && ", "old");
  EXPECT_EQ(merged.exit_code, 1) << merged.describe();
  EXPECT_TRUE(merged.err.ends_with("\n.\n./old\n./old/file\n")) << merged.describe();
}

TEST_F(ToolsStopped, OpeningATarballPutsNoNamesOnTheDisk) {
  const ProcessResult made = shell(
      "mkdir -p $T/pkg/web && cd $T/pkg && printf '[fs]\\n\"/w\" = \"web\"\\n' >wasmer.toml && "
      "seq 2000 | split -l 1 -a 4 - web/f && tar -czf ../p.tar.gz wasmer.toml web",
      {.environment = {{"T", dir_.path()}}});
  ASSERT_TRUE(made.ok()) << made.describe();
  const Arguments tree{kPkgfs, "tree", dir_.path() / "p.tar.gz"};
  const ProcessOptions options{.environment = {{"TMPDIR", scratch()}}};
  Process stopped(tree, options);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(fs::is_empty(scratch()));
    sleep_ms(1);
  }
  stopped.signal(SIGKILL);
  (void)stopped.wait();
  EXPECT_TRUE(fs::is_empty(scratch()));
  const ProcessResult whole = run(tree, options);
  EXPECT_TRUE(whole.ok()) << whole.describe();
  EXPECT_GE(std::count(whole.out.begin(), whole.out.end(), '\n'), 2'000);
}

}  // namespace
}  // namespace pkgfs::test
