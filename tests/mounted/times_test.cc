// SPDX-License-Identifier: MIT
// Risk: two versions of a package look the same to a program that compares size and time, so that it keeps the old
// file.
#include <fcntl.h>
#include <sys/stat.h>

#include <csignal>
#include <memory>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// Two versions of a package without times. `/www/app.js` has 9 bytes in both, with different content.
class EqualTimes : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    for (const std::string number : {"1", "2"}) {
      PackageBuilder builder("ea/site@" + number + ".0.0", webc::Version::kV2);
      builder.file("atom", "www/app.js", "let a=" + number + ";\n").file("atom", "www/index.html", "<p>hello</p>");
      builder.directory("atom", "empty").mount("/", "atom", std::nullopt, "/");
      builder.write(dir_.path() / (number + ".webc"));
      mounts_.push_back(std::make_unique<MountedPackage>(kPkgfs, dir_.path() / (number + ".webc")));
      ASSERT_TRUE(mounts_.back()->ok()) << mounts_.back()->result().describe();
    }
  }

  /// Runs a line of shell with $A and $B the mounts and $T a scratch directory; expects success.
  std::string sh(const std::string& line) {
    const ProcessResult result =
        shell(line, {.timeout = std::chrono::seconds(20),
                     .environment = {{"A", mounts_[0]->path()}, {"B", mounts_[1]->path()}, {"T", dir_.path()}}});
    EXPECT_TRUE(result.ok()) << line << "\n" << result.describe();
    return result.out;
  }

  TempDir dir_;
  std::vector<std::unique_ptr<MountedPackage>> mounts_;
};

TEST_F(EqualTimes, ShowWhatChangedAndNothingElse) {
  const Tree first = list_tree(mounts_[0]->path());
  const Tree second = list_tree(mounts_[1]->path());
  EXPECT_EQ(first.at("/www/app.js").length, second.at("/www/app.js").length);
  EXPECT_NE(first.at("/www/app.js").mtime_ns, second.at("/www/app.js").mtime_ns);
  EXPECT_EQ(first.at("/www/index.html"), second.at("/www/index.html")) << "an unchanged file keeps its time";
  for (const auto& [path, entry] : first) {
    EXPECT_GE(entry.mtime_ns, 315'619'200 * kSecond) << path << ": 1980-01-02";
    EXPECT_LT(entry.mtime_ns, 1'577'836'800 * kSecond) << path << ": 2020-01-01";
    EXPECT_EQ(entry.mtime_ns % (2 * kSecond), 0) << path;
  }
}

TEST_F(EqualTimes, RsyncCopiesTheChangedFile) {
  sh("rsync -a $A/ $T/copy/");
  EXPECT_EQ(sh("rsync -a --itemize-changes $B/ $T/copy/ | grep ^.f"), ">f..t...... www/app.js\n");
  EXPECT_EQ(sh("diff -r $B $T/copy"), "");
}

TEST_F(EqualTimes, GitAddsTheChangedFile) {
  const std::string git = "git --git-dir=$T/git -c user.name=a -c user.email=a@b -c core.trustctime=true ";
  sh(git + "init -q && " + git + "--work-tree=$A add -A");
  EXPECT_EQ(sh(git + "--work-tree=$A diff-files --name-only"), "");
  EXPECT_EQ(sh(git + "--work-tree=$B add -A && " + git + "show :www/app.js"), "let a=2;\n");
}

TEST_F(EqualTimes, PythonPacksEverythingIntoAZip) {
  if (!have_program("python3")) {
    GTEST_SKIP() << "no python3";
  }
  const std::string pack =
      "import sys, os, zipfile, time\n"
      "root = sys.argv[1]\n"
      "with zipfile.ZipFile(sys.argv[2], 'w') as z:\n"
      "  for top, dirs, files in os.walk(root):\n"
      "    for n in dirs + files: z.write(os.path.join(top, n), os.path.relpath(os.path.join(top, n), root))\n"
      "for i in zipfile.ZipFile(sys.argv[2]).infolist():\n"
      "  assert time.mktime(i.date_time + (0, 0, -1)) == os.stat(os.path.join(root, i.filename)).st_mtime, i\n";
  for (const char* zone : {"UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"}) {
    const ProcessResult result =
        run({"python3", "-c", pack, mounts_[0]->path(), dir_.path() / "x.zip"}, {.environment = {{"TZ", zone}}});
    EXPECT_TRUE(result.ok()) << zone << result.describe();
  }
}

TEST_F(EqualTimes, NginxSendsTheChangedFile) {
  constexpr const char* kNginx = "/usr/sbin/nginx";
  if (!fs::exists(kNginx)) {
    GTEST_SKIP() << "no nginx (Debian: nginx-light)";
  }
  const std::string socket = dir_.path() / "socket";
  dir_.write("nginx.conf", "daemon off; master_process off; pid " + (dir_.path() / "pid").string() +
                               "; error_log stderr; events {} http { access_log off; server { listen unix:" + socket +
                               "; location /a/ { alias " + mounts_[0]->path().string() + "/; } location /b/ { alias " +
                               mounts_[1]->path().string() + "/; } } }");
  Process server({kNginx, "-c", dir_.path() / "nginx.conf", "-p", dir_.path()});
  ASSERT_TRUE(eventually([&] { return fs::exists(socket); })) << server.err();
  const auto get = [&](const std::string& path, const std::string& header) {
    return sh("curl -s -o $T/body -D - --unix-socket " + socket + " " + header + " http://x" + path);
  };
  for (const auto& [name, asked] :
       {std::pair("Last-Modified", "If-Modified-Since"), std::pair("ETag", "If-None-Match")}) {
    const std::string head = get("/a/www/app.js", "");
    const std::size_t at = head.find(std::string(name) + ": ");
    ASSERT_NE(at, std::string::npos) << head;
    const std::string value =
        head.substr(at + std::string(name).size() + 2, head.find('\r', at) - at - std::string(name).size() - 2);
    const std::string condition = std::string("-H '") + asked + ": " + value + "'";
    EXPECT_TRUE(get("/a/www/app.js", condition).starts_with("HTTP/1.1 304")) << "an unchanged file isn't sent again";
    EXPECT_TRUE(get("/b/www/app.js", condition).starts_with("HTTP/1.1 200"));
    EXPECT_EQ(read_text(dir_.path() / "body"), "let a=2;\n");
  }
  server.signal(SIGTERM);
  server.wait();
}

class Times : public MountedTest {};

/// The times depend on the package only: not on the file's name, time or inode, on the clock or the time zone.
TEST_F(Times, AreTheSameEverywhere) {
  for (const char* name : {"basic-v1", "volumes-v2", "deep-v2", "times-v3", "symlinks-v3"}) {
    SCOPED_TRACE(name);
    const TempDir dir;
    const fs::path copy = dir.path() / "other name.webc";
    fs::copy_file(single(name), copy);
    fs::last_write_time(copy, fs::file_time_type::clock::now() - std::chrono::hours(50'000));
    const MountedPackage here(kPkgfs, single(name));
    const MountedPackage there(kPkgfs, copy, {}, {.environment = {{"TZ", "Asia/Tokyo"}}});
    ASSERT_TRUE(here.ok() && there.ok()) << here.result().describe() << there.result().describe();
    EXPECT_EQ(difference(list_tree(here.path()), list_tree(there.path())), "");
    struct stat root_here{};
    struct stat root_there{};
    ASSERT_EQ(::stat(here.path().c_str(), &root_here) + ::stat(there.path().c_str(), &root_there), 0);
    EXPECT_EQ(root_here.st_mtim.tv_sec, root_there.st_mtim.tv_sec);
  }
}

TEST_F(Times, StoredOnesAreAnOption) {
  const MountedPackage mount(kPkgfs, single("basic-v2"), {"--mtime=stored"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const auto& [path, entry] : list_tree(mount.path())) {
    EXPECT_EQ(entry.mtime_ns, kSecond) << path;
  }
}

TEST_F(Times, OfLiveEntriesAreTheHosts) {
  const TempDir dir;
  dir.write("p/wasmer.toml", "[fs]\n\"/a/b\" = \"data\"\n");
  const fs::path file = dir.write("p/data/f", "x");
  timespec when[2] = {{0, 0}, {0, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), when, 0), 0);
  const MountedPackage mount(kPkgfs, dir.path() / "p");
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Tree tree = list_tree(mount.path());
  EXPECT_EQ(tree.at("/a/b/f").mtime_ns, 0);
  EXPECT_EQ(tree.at("/a/b").mtime_ns, list_tree(dir.path() / "p").at("/data").mtime_ns);
  EXPECT_GE(tree.at("/a").mtime_ns, 315'619'200 * kSecond) << "of no host directory";
}

}  // namespace
}  // namespace pkgfs::test
