// SPDX-License-Identifier: MIT
// Risk: a program that edits a live directory on the host and looks at once sees a file cut at its old length, a name
// that isn't there any more, or none where there is one.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// As `read_text`; where that fails, why.
std::string text_of(const fs::path& path) {
  try {
    return read_text(path);
  } catch (const std::exception& error) {
    return error.what();
  }
}

off_t size_of(const fs::path& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_size : -1;
}

/// Keeps all CPUs busy.
class Hogs {
 public:
  Hogs() {
    for (unsigned i = 0; i < std::max(2U, std::thread::hardware_concurrency()); ++i) {
      threads_.emplace_back([this] {
        while (!stop_) {
        }
      });
    }
  }
  ~Hogs() {
    stop_ = true;
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

/// Whether the kernel can expire an entry (Linux 6.2).
bool kernel_expires() {
  utsname kernel{};
  int major = 0;
  int minor = 0;
  return ::uname(&kernel) == 0 && std::sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 2));
}

class LiveEdits : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    dir_.write("own/wasmer.toml", "[fs]\n\"/pub\" = \"pub\"\n");
    fs::create_directories(host());
  }
  [[nodiscard]] fs::path own() const { return dir_.path() / "own"; }
  [[nodiscard]] fs::path host() const { return own() / "pub"; }
  void write(const std::string& name, const std::string& text) const { dir_.write("own/pub/" + name, text); }
  /// So that the kernel may keep what it is told of what was written so far.
  static void let_it_get_quiet() { sleep_ms(4'000); }

  TempDir dir_;
};

TEST_F(LiveEdits, EachKindShowsAtOnceWhileTheCpusAreBusy) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const fs::path pub = mount / "pub";
  const Hogs hogs;
  std::string grown;
  for (int i = 0; i < 40; ++i) {
    SCOPED_TRACE(i);
    const std::string number = std::to_string(i);
    const std::string text = "round " + number + std::string(static_cast<std::size_t>(i % 7), '.');
    write("same", text);
    EXPECT_EQ(text_of(pub / "same"), text);
    grown += 'x';
    std::ofstream(host() / "grown", std::ios::app) << 'x';
    EXPECT_EQ(text_of(pub / "grown"), grown);
    write(".new", text);
    fs::rename(host() / ".new", host() / "replaced");
    EXPECT_EQ(text_of(pub / "replaced"), text);
    write("sized", std::string(i % 2 == 0 ? 5000 : 10, 'z'));
    EXPECT_EQ(size_of(pub / "sized"), i % 2 == 0 ? 5000 : 10);

    const std::string once = "once" + number;
    EXPECT_EQ(size_of(pub / once), -1);
    write(once, text);
    EXPECT_EQ(text_of(pub / once), text) << "it was missed before";
    fs::remove(host() / once);
    EXPECT_FALSE(fs::exists(pub / once));

    fs::remove_all(host() / "flip");
    if (i % 2 == 0) {
      fs::create_directories(host() / "flip");
      EXPECT_TRUE(fs::is_directory(pub / "flip"));
    } else {
      write("flip", text);
      EXPECT_EQ(text_of(pub / "flip"), text);
    }
    EXPECT_EQ(list_tree(pub).size(), list_tree(host()).size());
  }
}

TEST_F(LiveEdits, AfterAPauseFilesAreReadWhole) {
  constexpr int kFiles = 30;
  for (int i = 0; i < kFiles; ++i) {
    write("f" + std::to_string(i), "1");
  }
  const MountedPackage mount(kPkgfs, own(), {"--live-timeout=60"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  let_it_get_quiet();
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(text_of(mount / ("pub/f" + std::to_string(i))), "1");
  }
  for (int i = 0; i < kFiles; ++i) {
    const std::string text(static_cast<std::size_t>(i) + 2, 'n');
    const std::string name = "f" + std::to_string(i);
    if (i % 2 == 0) {
      write(name, text);
    } else {
      write("t", text);
      fs::rename(host() / "t", host() / name);
    }
    EXPECT_EQ(text_of(mount / "pub/" + name), text);
  }
}

TEST_F(LiveEdits, TheKernelIsToldOfWhatItKeeps) {
  write("file", "1");
  write("gone", "1");
  write("d/inside", "1");
  fs::create_symlink("file", host() / "link");
  const MountedPackage mount(kPkgfs, own(), {"--live-timeout=60"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  let_it_get_quiet();
  const fs::path pub = mount / "pub";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(size_of(pub / "file"), 1);
    EXPECT_EQ(size_of(pub / "gone"), 1);
    EXPECT_EQ(size_of(pub / "new"), -1);
    EXPECT_EQ(size_of(pub / "d/inside"), 1);
    EXPECT_EQ(text_of(pub / "link"), "1");
  }
  const UniqueFd open(::open((pub / "file").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(open);

  std::ofstream(host() / "file", std::ios::app) << "23";
  fs::remove(host() / "gone");
  write("new", "12345");
  fs::rename(host() / "d", host() / "e");
  fs::remove(host() / "link");
  fs::create_symlink("new", host() / "link");
  EXPECT_TRUE(eventually([&] { return size_of(pub / "file") == 3; }));
  EXPECT_TRUE(eventually([&] { return size_of(pub / "gone") == -1; }));
  EXPECT_TRUE(eventually([&] { return size_of(pub / "new") == 5; }));
  EXPECT_TRUE(eventually([&] { return size_of(pub / "d/inside") == -1; }));
  EXPECT_TRUE(eventually([&] { return size_of(pub / "link") == 5; }));
  EXPECT_EQ(size_of(pub / "e/inside"), 1);
  std::array<char, 8> text{};
  EXPECT_TRUE(eventually([&] { return ::pread(open.get(), text.data(), text.size(), 0) == 3; }))
      << "a program that has it open sees it grow";
  EXPECT_GT(statistics(mount).at("live").at("notices"), 0U);
  EXPECT_EQ(statistics(mount).at("live").at("unwatched"), 0U);
}

TEST_F(LiveEdits, AfterLostChangesADirectoryIsLookedUpAnewAndKeepsWhatIsMountedBelowIt) {
  std::size_t most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  if (::geteuid() != 0 || most == 0 || most > 100'000) {
    GTEST_SKIP() << "only root can mount below it, and the queue must not be too long: " << most;
  }
  if (!kernel_expires()) {
    GTEST_SKIP() << "the kernel keeps a directory for a minute before Linux 6.2";
  }
  write("d/below/inside", "1");
  write("replaced/old", "1");
  write("one", "");
  write("two", "");
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  let_it_get_quiet();
  const fs::path pub = mount / "pub";
  EXPECT_EQ(size_of(pub / "d/below/inside"), 1);
  EXPECT_EQ(size_of(pub / "replaced/old"), 1);
  ASSERT_TRUE(run({"mount", "-t", "tmpfs", "none", pub / "d/below"}).ok());
  const pid_t daemon = mount.daemon();
  ASSERT_GT(daemon, 0);
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  for (std::size_t i = 0; i <= 2 * most; ++i) {  // twice: the daemon may read some before it has stopped
    EXPECT_EQ(::chmod((host() / (i % 2 == 0 ? "one" : "two")).c_str(), 0644), 0);
  }
  fs::rename(host() / "replaced", host() / "moved");
  write("replaced/new", "12");
  ASSERT_EQ(::kill(daemon, SIGCONT), 0);
  const auto lookups = [&] { return statistics(mount).at("requests").at("lookup").get<int>(); };
  EXPECT_TRUE(eventually([&] {
    const int before = lookups();
    (void)size_of(pub / "d");
    return lookups() > before;
  })) << "long before the minute ends for which the kernel keeps it";
  EXPECT_EQ(size_of(pub / "replaced/new"), 2);
  EXPECT_EQ(size_of(pub / "replaced/old"), -1);
  EXPECT_TRUE(run({"mountpoint", "-q", pub / "d/below"}).ok());
  EXPECT_TRUE(run({"umount", "-l", pub / "d/below"}).ok());
}

TEST_F(LiveEdits, QuietFilesCostOnlyTheirOpen) {
  constexpr int kFiles = 20;
  for (int i = 0; i < kFiles; ++i) {
    write("d/f" + std::to_string(i), "some text");
  }
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  let_it_get_quiet();
  const auto walk = [&] {
    for (const auto& [path, entry] : list_tree(mount / "pub")) {
      EXPECT_TRUE(path == "/d" || entry.sha256 != "") << path;
    }
  };
  for (int i = 0; i < 2; ++i) {
    walk();
    sleep_ms(1'500);  // longer than --live-timeout
  }
  // Another process may drop the kernel's caches meanwhile, so that there is more than one attempt.
  std::string seen;
  EXPECT_TRUE(eventually([&] {
    const auto before = statistics(mount).at("requests");
    walk();
    const auto after = statistics(mount).at("requests");
    seen = before.dump() + "\n" + after.dump();
    const auto sent = [&](const char* kind) { return after.at(kind).get<int>() - before.at(kind).get<int>(); };
    return sent("open") == kFiles && sent("lookup") + sent("getattr") + sent("read") + sent("readdirplus") == 0;
  })) << seen;
}

TEST_F(LiveEdits, AFileThatWasOpenIsKeptOpenUntilItIsRemovedOrSomeSecondsPassed) {
  write("f", "some text");
  write("g", "some text");
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto has_open = [&](const std::string& name) {
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(mount.daemon()) + "/fd", gone)) {
      const std::string target = fs::read_symlink(entry.path(), gone).string();
      if (target.starts_with((host() / name).string())) {  // " (deleted)" may follow
        return true;
      }
    }
    return false;
  };
  const auto is_kept = [&](const std::string& name) {  // not if the host reported a change at that moment
    EXPECT_EQ(text_of(mount / ("pub/" + name)), "some text");
    return has_open(name);
  };
  EXPECT_TRUE(eventually([&] { return is_kept("f"); }));
  fs::remove(host() / "f");
  EXPECT_TRUE(eventually([&] { return !has_open("f"); })) << "its space isn't free";
  EXPECT_TRUE(eventually([&] { return is_kept("g"); }));
  EXPECT_TRUE(eventually([&] { return !has_open("g"); }, std::chrono::seconds(15)));
}

TEST_F(LiveEdits, AProgramThatHasAReplacedFileOpenReadsAllOfIt) {
  const std::string old_text(100'000, 'o');
  write("f", old_text);
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const UniqueFd open(::open((mount / "pub/f").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(open);
  write("t", "new");
  fs::rename(host() / "t", host() / "f");
  EXPECT_EQ(text_of(mount / "pub/f"), "new");
  EXPECT_EQ(size_of(mount / "pub/f"), 3);
  struct stat status{};
  ASSERT_EQ(::fstat(open.get(), &status), 0);
  EXPECT_EQ(status.st_size, 100'000);
  std::string text(200'000, '\0');
  const ssize_t count = ::read(open.get(), text.data(), text.size());
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  EXPECT_EQ(text.size(), old_text.size());
  EXPECT_TRUE(text == old_text);
}

// In a user namespace the daemon may watch nothing, and it may not abort FUSE connections.
TEST_F(LiveEdits, WithoutWatchesAnOpenStillReadsWholeFilesAndOneMessageSaysWhy) {
  for (int i = 0; i < 8; ++i) {
    write("f" + std::to_string(i), "1");
  }
  fs::create_directories(dir_.path() / "mnt");
  const std::string script = R"SH(
    set -e
    echo 0 >/proc/sys/user/max_inotify_watches
    "$0" mount --foreground --live-timeout=60 "$1" "$2" 2>"$2.log" &
    trap 'umount "$2"; wait' EXIT
    for i in $(seq 100); do mountpoint -q "$2" && break; sleep 0.1; done
    sleep 4
    cat "$2"/pub/f* >/dev/null
    for i in 0 1 2 3 4 5 6 7; do
      echo "longer than before" >"$1/pub/f$i"
      cmp "$1/pub/f$i" "$2/pub/f$i"
    done
    for i in 0 1 2 3; do
      test ! -e "$2/pub/new$i"
      echo x >"$1/pub/new$i"
      test "$i" = 0 || test -e "$2/pub/new$i"   # the first of them after a pause may be missed
    done
    cat "$2.log" >&2
    test "$(grep -c 'only after --live-timeout' "$2.log")" = 1
  )SH";
  const ProcessResult allowed = run({"unshare", "-Urm", "sh", "-c", "echo 0 >/proc/sys/user/max_inotify_watches"});
  if (!allowed.ok()) {
    GTEST_SKIP() << "no user namespaces here: " << allowed.err;
  }
  const ProcessResult result =
      run({"unshare", "-Urm", "bash", "-c", script, kPkgfs, own().string(), (dir_.path() / "mnt").string()});
  EXPECT_TRUE(result.ok()) << result.describe();
}

}  // namespace
}  // namespace pkgfs::test
