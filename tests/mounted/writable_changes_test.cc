// SPDX-License-Identifier: MIT
// Risk: `changes` misses a change or invents one, `discard` removes what is in use, or the package that `pack` makes
// isn't what the mount showed.
#include <sys/stat.h>

#include "tests/mounted/writable.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class WritableChanges : public WritableTest {
 protected:
  /// What `changes` prints of all kinds of changes.
  static constexpr const char* kListed =
      "P /bin/tool  mode 0644 -> 0755\n"
      "M /etc/app.conf  8 -> 12 bytes\n"
      "R /lib/ -> /moved/\n"
      "D /moved/deep/a.txt  2 bytes\n"
      "A /moved/link  -> deep/b.txt\n"
      "A /new/\n"
      "A /new/file  1 byte\n";

  /// Makes them, and some that `changes` must not list.
  static void change(const MountedPackage& mount) {
    const ProcessResult done = shell(
        "set -e; cd " + mount.path().string() +
        "; chmod 755 bin/tool; echo three > x; cat etc/app.conf > y; echo 333 >> y; cat y > etc/app.conf; rm x y; "
        "rm lib/deep/a.txt; mv lib moved; ln -s deep/b.txt moved/link; mkdir new; printf 1 > new/file; "
        "touch moved/deep/b.txt; : >> moved/deep/b.txt");
    ASSERT_TRUE(done.ok()) << done.describe();
  }
};

TEST_F(WritableChanges, AreListedFromTheMountAndFromTheDirectory) {
  {
    MountedPackage mount(kPkgfs, package(), kept());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_EQ(pkgfs({"changes", mount.path().string()}).out, "");
    change(mount);
    const ProcessResult listed = pkgfs({"changes", mount.path().string()});
    // The old place of a renamed directory is removed.
    const std::string expected = std::string(kListed).insert(std::string(kListed).find("R /lib"), "D /lib/\n");
    EXPECT_EQ(listed.out, expected) << listed.describe();
    EXPECT_EQ(pkgfs({"changes", changes()}).out, expected) << "of the same mount";
    const ProcessResult busy = pkgfs({"discard", changes()});
    EXPECT_EQ(busy.exit_code, 9) << busy.describe();
    EXPECT_NE(busy.err.find("pkgfs unmount"), std::string::npos) << busy.err;
    EXPECT_EQ(pkgfs({"discard", mount.path().string()}).exit_code, 9);
  }
  const std::string expected = std::string(kListed).insert(std::string(kListed).find("R /lib"), "D /lib/\n");
  const ProcessResult listed = pkgfs({"changes", changes()});
  EXPECT_EQ(listed.out, expected) << listed.describe();
  const json report = json::parse(pkgfs({"changes", "--json", changes()}).out);
  EXPECT_EQ(report["package"], "acme/app@1.2.3");
  EXPECT_EQ(report["changes"].size(), 8U);
  EXPECT_EQ(report["changes"][0]["kind"], "attributes");
  EXPECT_EQ(report["changes"][3]["from"], "/lib");
  const ProcessResult diff = pkgfs({"changes", "--diff", changes()});
  EXPECT_NE(diff.out.find("--- a/etc/app.conf\n+++ b/etc/app.conf\n@@ -1,2 +1,3 @@\n one\n two\n+333\n"),
            std::string::npos)
      << diff.describe();
  EXPECT_NE(diff.out.find("--- /dev/null\n+++ b/new/file\n"), std::string::npos) << diff.out;
  EXPECT_NE(diff.out.find("--- a/moved/deep/a.txt\n+++ /dev/null\n"), std::string::npos) << diff.out;

  const ProcessResult discarded = pkgfs({"discard", changes()});
  EXPECT_TRUE(discarded.ok()) << discarded.describe();
  EXPECT_TRUE(fs::is_empty(changes()));
  MountedPackage mount(kPkgfs, package(), kept());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "etc/app.conf"), "one\ntwo\n");
}

TEST_F(WritableChanges, OfDirectoriesThatWereReplaced) {
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ProcessResult done =
      shell("set -e; cd " + mount.path().string() +
            "; rm -r lib/deep; mkdir lib/deep; echo new > lib/deep/b.txt; rm -r etc; echo file > etc; rm bin/tool; "
            "mkdir bin/tool; mkfifo pipe");
  ASSERT_TRUE(done.ok()) << done.describe();
  EXPECT_EQ(pkgfs({"changes", mount.path().string()}).out,
            "M /bin/tool/  file -> directory\n"
            "M /etc  directory -> file\n"
            "M /lib/deep/b.txt  2 -> 4 bytes\n"
            "D /lib/deep/a.txt  2 bytes\n"
            "A /pipe\n");
}

TEST_F(WritableChanges, ADiffOfLargeFilesTakesLittleMemory) {
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_TRUE(shell("set -e; cd " + mount.path().string() +
                    "; truncate -s 257M huge; yes 0123456789 | head -c 100000000 > lines; echo end > small")
                  .ok());
  const std::string out = dir_.path() / "out";
  const ProcessResult diff = shell("ulimit -v 900000; " + std::string(kPkgfs) + " changes --diff " +
                                   mount.path().string() + " > " + out + " && wc -c < " + out);
  ASSERT_TRUE(diff.ok()) << diff.describe();
  EXPECT_GT(std::stol(diff.out), 100'000'000) << diff.describe();
  EXPECT_LT(diff.peak_memory, 400L << 20U) << "diff holds the files, and pkgfs no more than a piece";
  EXPECT_EQ(shell("grep -c \"^Files a/huge and b/huge aren't compared\" " + out).out, "1\n");
  EXPECT_EQ(shell("tail -n 1 " + out).out, "+end\n");
}

TEST_F(WritableChanges, NamesFromProgramsCannotDriveATerminal) {
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  write(mount / "a\033[2J\nM etc", "\033[2J\n");
  const std::string path = mount.path();
  EXPECT_EQ(pkgfs({"changes", path}).out.find('\033'), std::string::npos);
  EXPECT_EQ(pkgfs({"changes", "--diff", path}).out.find('\033'), std::string::npos);
}

TEST_F(WritableChanges, PackMakesAPackageOfWhatTheMountShows) {
  const std::string first = dir_.path() / "first.webc";
  const std::string second = dir_.path() / "second.webc";
  Tree shown;
  {
    MountedPackage mount(kPkgfs, package(), kept());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    change(mount);
    shown = list_tree(mount.path());
    const ProcessResult packed = pkgfs({"pack", mount.path().string(), "-o", first});
    ASSERT_TRUE(packed.ok()) << packed.describe();
  }
  const ProcessResult packed = pkgfs({"pack", changes(), "-o", second});
  ASSERT_TRUE(packed.ok()) << packed.describe();
  EXPECT_EQ(file_sha256(first), file_sha256(second)) << "reproducible";
  EXPECT_TRUE(pkgfs({"verify", first}).ok());
  const ProcessResult inside = pkgfs({"pack", changes(), "-o", changes() + "/inside.webc"});
  EXPECT_EQ(inside.exit_code, 2) << inside.describe();

  MountedPackage mount(kPkgfs, first, {"--offline"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const char* file : {"etc/app.conf", "moved/deep/b.txt", "moved/link", "new/file", "bin/tool"}) {
    EXPECT_TRUE(fs::exists(mount / file)) << file;
  }
  EXPECT_EQ(read_text(mount / "etc/app.conf"), "one\ntwo\n333\n");
  EXPECT_FALSE(fs::exists(mount / "lib"));
  EXPECT_FALSE(fs::exists(mount / "moved/deep/a.txt"));
  EXPECT_EQ(list_tree(mount.path()).size(), shown.size());
}

TEST_F(WritableChanges, PackKeepsCommandsAndReplacesChangedPrograms) {
  const std::string app = dir_.path() / "commands.webc";
  TempDir source;
  (void)source.write(
      "wasmer.toml",
      "[package]\nname='acme/tools'\nversion='1.0.0'\nlicense='MIT'\nreadme='README.md'\nentrypoint='run'\n"
      "[[module]]\nname='main'\nsource='main.wasm'\n[[module]]\nname='other'\nsource='other.wasm'\n"
      "[[command]]\nname='run'\nmodule='main'\n[[command]]\nname='also'\nmodule='other'\n"
      "[fs]\n'/data'='data'\n");
  (void)source.write("main.wasm", std::string("\0asm\1\0\0\0", 8));
  (void)source.write("other.wasm", std::string("\0asm\1\0\0\0\0\1\0", 11));
  (void)source.write("README.md", "read me\n");
  (void)source.write("data/file", "file\n");
  ASSERT_TRUE(pkgfs({"pack", source.path().string(), "-o", app}).ok());
  const std::string made = dir_.path() / "made.webc";
  const auto inspect = [&] { return json::parse(pkgfs({"inspect", "--json", made}).out); };
  {
    MountedPackage mount(kPkgfs, app, kept());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "data/new", "new\n");
    const ProcessResult whole = pkgfs({"pack", mount.path().string(), "-o", made});
    ASSERT_TRUE(whole.ok()) << whole.describe();
    const json all = inspect();
    EXPECT_EQ(all["commands"].size(), 2U) << all;
    EXPECT_EQ(all["entrypoint"], "run") << all;
    ASSERT_EQ(::unlink((mount / "bin/also").c_str()), 0);
    write(mount / "bin/run", std::string("\0asm\1\0\0\0\0\2\0\0", 12));
    const ProcessResult packed = pkgfs({"pack", mount.path().string(), "-o", made});
    ASSERT_TRUE(packed.ok()) << packed.describe();
    ASSERT_EQ(::rename((mount / "bin").c_str(), (mount / "programs").c_str()), 0);
    const ProcessResult moved = pkgfs({"pack", mount.path().string(), "-o", made + "-moved"});
    EXPECT_FALSE(moved.ok()) << "the programs of commands would be missing in /programs";
    EXPECT_NE(moved.err.find("was moved to \"/programs\""), std::string::npos) << moved.describe();
  }
  EXPECT_TRUE(pkgfs({"verify", made}).ok()) << pkgfs({"verify", made}).describe();
  const json less = inspect();
  EXPECT_EQ(less["commands"].size(), 1U) << less;
  EXPECT_EQ(less["entrypoint"], "run") << less;
  MountedPackage mount(kPkgfs, made, {"--offline"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "bin/run"), std::string("\0asm\1\0\0\0\0\2\0\0", 12));
  EXPECT_FALSE(fs::exists(mount / "bin/also"));
  EXPECT_EQ(read_text(mount / "data/new"), "new\n");
  EXPECT_EQ(read_text(mount / "data/file"), "file\n");
}

TEST_F(WritableChanges, PackMakesOnePackageOfDependenciesToo) {
  const std::string made = dir_.path() / "made.webc";
  const std::string tree = dir_.path() / "tree";
  const std::string where = dir_.path() / "registry";
  PackageBuilder("acme/lib@1.0.0")
      .file("data", "lib.txt", "lib\n")
      .mount("/lib", "data")
      .command("tool", "main")
      .publish(where);
  PackageBuilder("acme/uses@1.0.0")
      .file("data", "own.txt", "own\n")
      .mount("/own", "data")
      .use("acme/lib", "acme/lib@^1")
      .command("run", "main")
      .publish(where);
  {
    MountedPackage mount(kPkgfs, "acme/uses@1.0.0", {"--registry", where, "--writable=" + changes()});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "lib/lib.txt", "changed\n");
    ASSERT_TRUE(shell("cp -a " + mount.path().string() + " " + tree).ok());
  }
  // A newer version of the dependency isn't below the changes.
  PackageBuilder("acme/lib@1.1.0").file("data", "lib.txt", "newer\n").mount("/lib", "data").publish(where);
  const ProcessResult packed = pkgfs({"pack", changes(), "-o", made});
  ASSERT_TRUE(packed.ok()) << packed.describe();
  MountedPackage mount(kPkgfs, made, {"--offline"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ProcessResult same = shell("diff -r " + tree + " " + mount.path().string());
  EXPECT_TRUE(same.ok()) << same.describe();
  EXPECT_TRUE(fs::exists(mount / "bin/run"));
  EXPECT_TRUE(fs::exists(mount / "bin/tool"));
  EXPECT_EQ(read_text(mount / "lib/lib.txt"), "changed\n");
}

TEST_F(WritableChanges, WhatIsNoChangesIsRefused) {
  MountedPackage mount(kPkgfs, package(), {"--offline"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ProcessResult plain = pkgfs({"changes", mount.path().string()});
  EXPECT_EQ(plain.exit_code, 2) << plain.describe();
  EXPECT_NE(plain.err.find("isn't writable"), std::string::npos) << plain.err;
  EXPECT_EQ(pkgfs({"changes", dir_.path().string()}).exit_code, 2);
  EXPECT_EQ(pkgfs({"discard", dir_.path().string()}).exit_code, 2);
  EXPECT_EQ(pkgfs({"changes", (dir_.path() / "missing").string()}).exit_code, 2);
  fs::create_directory(changes());
  write(changes() + "/record", "{\"format\": 1}");
  const ProcessResult damaged = pkgfs({"changes", changes()});
  EXPECT_EQ(damaged.exit_code, 4) << damaged.describe();
}

TEST_F(WritableChanges, ASourceWithAFileRecordIsPacked) {
  TempDir source;
  (void)source.write("wasmer.toml", "[package]\nname='acme/live'\nversion='1.0.0'\n[fs]\n'/x'='x'\n");
  (void)source.write("x/y", "y");
  (void)source.write("record", "a song");
  const ProcessResult packed = pkgfs({"pack", source.path(), "-o", dir_.path() / "packed.webc"});
  EXPECT_TRUE(packed.ok()) << packed.describe();
}

}  // namespace
}  // namespace pkgfs::test
