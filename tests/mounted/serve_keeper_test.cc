// SPDX-License-Identifier: MIT
// Risk: the daemon of a served directory is killed, and programs get errors, other bytes than before, or wait for ever.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/mounted/serve_keeper.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

TEST_F(ServeKeeper, ReadersOfSeveralPackagesNoticeNothing) {
  const fs::path source = right({"acme/app@1.0.0", "acme/app@1.1.0", "acme/tool@2.0.0", "acme/many@1.0.0"});
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(name_of(way));
    const auto served = serve({}, way);
    const Serving before = kept(served->path());
    EXPECT_EQ(before.generation, 1);
    ComparingReader one(served->path(), source);
    ComparingReader two(served->path(), source);
    for (int i = 0; i < 8 && !HasFailure(); ++i) {
      sleep_ms(7 * i);
      if (i % 2 == 1) {
        forget_entries();
      }
      EXPECT_EQ(replace_daemon(served->path()).generation, i + 2);
    }
    one.expect_right();
    two.expect_right();
  }
}

TEST_F(ServeKeeper, AllIsAsItWasBefore) {
  const auto served = serve();
  const std::string first = listing(served->path() / "acme/app@1.0.0");
  const std::string names = listing(served->path() / "acme");
  for (int i = 0; i < 2; ++i) {
    replace_daemon(served->path());
    EXPECT_EQ(listing(served->path() / "acme"), names);
    EXPECT_EQ(listing(served->path() / "acme/app@1.0.0"), first);
    forget_entries();
    replace_daemon(served->path());
    EXPECT_EQ(listing(served->path() / "acme"), names);
  }
  const ProcessResult shown = run({kPkgfs, "mounts", "--json"}, {.timeout = seconds(10)});
  EXPECT_NE(shown.out.find("\"generation\": 5"), std::string::npos) << shown.out;
}

/// Holds what programs hold, until a file appears; then uses it on.
constexpr const char* kHolder = R"(
import mmap, os, sys, time
mount, source, go_on = sys.argv[1:4]
def text(name):
    return open(os.path.join(source, name), "rb").read()
os.chdir(os.path.join(mount, "acme/app@1.1.0"))
inode = os.stat(".").st_ino
below = os.open(os.path.join(mount, "acme/app@1.0.0/data/d"), os.O_RDONLY | os.O_DIRECTORY)
large = open(os.path.join(mount, "acme/many@1.0.0/large"), "rb", buffering=0)
status = os.fstat(large.fileno())
unread = open(os.path.join(mount, "acme/tool@2.0.0/data/version"), "rb", buffering=0)
begin = large.read(10000)
mapped = mmap.mmap(large.fileno(), 0, prot=mmap.PROT_READ)
page = mapped[5000000:5000010]
entries = os.scandir(os.path.join(mount, "acme/app@1.0.0/data/d"))
names = [next(entries).name for _ in range(10)]
top = os.scandir(os.path.join(mount, "acme"))
words = {next(top).name}
link = os.readlink(os.path.join(mount, "acme/app"))
link_fd = os.open(os.path.join(mount, "acme/app"), os.O_PATH | os.O_NOFOLLOW)
link_inode = os.fstat(link_fd).st_ino
os.write(1, b"go")
while not os.path.exists(go_on):
    time.sleep(0.01)
os.posix_fadvise(large.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
assert begin + large.readall() == text("acme/many@1.0.0/large"), "the open file"
assert mapped[:] == text("acme/many@1.0.0/large") and page == mapped[5000000:5000010], "the mapping"
assert os.fstat(large.fileno()) == status, "fstat"
assert unread.readall() == b"2.0.0\n", "a file that was open and unread"
names += [entry.name for entry in entries]
assert sorted(names) == sorted(f"f{i}" for i in range(300)), "the listing of a package that had begun"
words |= {entry.name for entry in top}
assert words >= {"app@1.0.0", "app@1.1.0", "tool@2.0.0", "many@1.0.0"}, f"the listing of names that had begun: {words}"
assert os.readlink("", dir_fd=link_fd) == link == "app@1.1.0", "what a link says"
assert os.fstat(link_fd).st_ino == link_inode, "the number of a link"
assert os.stat(".").st_ino == inode and os.getcwd() == os.path.join(mount, "acme/app@1.1.0"), "the working directory"
assert open("data/version", "rb").read() == b"1.1.0\n", "a file below it"
assert sorted(os.listdir(below)) == sorted(f"f{i}" for i in range(300)), "the open directory"
file = os.open("f7", os.O_RDONLY, dir_fd=below)
assert os.read(file, 100000) == text("acme/app@1.0.0/data/d/f7"), "a file below that"
)";

TEST_F(ServeKeeper, OpenFilesDirectoriesAndLinksGoOnAlthoughNewerVersionsCame) {
  const fs::path source = right({"acme/app@1.0.0", "acme/app@1.1.0", "acme/tool@2.0.0", "acme/many@1.0.0"});
  int newest = 1;
  for (const ProcessOptions& way : ways()) {
    for (const int kills : {1, 3}) {
      SCOPED_TRACE(name_of(way));
      fs::remove(registry() / "acme/app/1.2.0.webc");
      const auto served = serve({}, way);
      const TempDir dir;
      Process holder({"/usr/bin/python3", "-I", "-S", "-c", kHolder, served->path(), source, dir.path() / "go-on"});
      ASSERT_TRUE(eventually([&] { return holder.out() == "go"; })) << holder.err();
      for (int i = 0; i < kills; ++i) {
        const Serving before = kept(served->path());
        ASSERT_GT(before.daemon, 1);
        ::kill(before.daemon, SIGSTOP);  // so that it sees nothing of this
        publish("acme/app", "1.2.0");
        publish("acme/tool", std::to_string(2 + newest++) + ".0.0");
        forget_entries();
        ::kill(before.daemon, SIGKILL);
        EXPECT_TRUE(eventually([&] { return serving(served->path()).generation == before.generation + 1; }));
        kept(served->path());
      }
      dir.write("go-on", "");
      EXPECT_TRUE(holder.wait().ok()) << holder.wait().describe();
      EXPECT_TRUE(eventually([&] { return read_text(*served / "acme/app/data/version") == "1.2.0\n"; }, seconds(15)))
          << "the link leads to the new one";
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(ServeKeeper, APackageKeepsItsDependencies) {
  publish("acme/lib", "1.0.0");
  PackageBuilder top("acme/top@1.0.0");
  top.use("acme/lib", "acme/lib@^1").mount("/lib", "data", "acme/lib").file("own", "x", "x");
  fs::create_directories(registry() / "acme/top");
  top.write(registry() / "acme/top/1.0.0.webc");
  const auto served = serve();
  const UniqueFd lib(::open((*served / "acme/top@1.0.0/lib").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(lib);
  const Serving before = kept(served->path());
  ASSERT_GT(before.daemon, 1);
  publish("acme/lib", "1.1.0");
  replace_daemon(served->path());
  std::array<char, 16> text{};
  const UniqueFd file(::openat(lib.get(), "version", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file) << std::strerror(errno);
  ASSERT_EQ(::read(file.get(), text.data(), text.size()), 6) << std::strerror(errno);
  EXPECT_EQ(std::string_view(text.data(), 6), "1.0.0\n");
  EXPECT_EQ(read_text(*served / "acme/top@1.0.0/lib/version"), "1.0.0\n");
}

TEST_F(ServeKeeper, ALockedPackageKeepsItsLockFile) {
  const fs::path locks = dir_.path() / "locks";
  fs::create_directory(locks);
  const auto lock = [&](const std::string& package) {
    const ProcessResult made = run({kPkgfs, "resolve", "--quiet", "--offline", "--registry", registry(),
                                    "--lock=" + (locks / "prod.lock").string(), package});
    ASSERT_TRUE(made.ok()) << made.describe();
  };
  lock("acme/app@=1.0.0");
  const auto served = serve({"--locks", locks});
  EXPECT_EQ(read_text(*served / "locked/prod/data/version"), "1.0.0\n");
  const UniqueFd root(::open((*served / "locked/prod").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd data(::open((*served / "locked/prod/data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  kept(served->path());
  lock("acme/app@=1.1.0");
  replace_daemon(served->path());
  forget_entries();
  for (const auto& [directory, name] : {std::pair(root.get(), "data/version"), std::pair(data.get(), "version")}) {
    std::array<char, 16> text{};
    const UniqueFd file(::openat(directory, name, O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file) << std::strerror(errno);
    EXPECT_EQ(::read(file.get(), text.data(), text.size()), 6);
    EXPECT_EQ(std::string_view(text.data(), 6), "1.0.0\n");
  }
  EXPECT_TRUE(eventually([&] { return read_text(*served / "locked/prod/data/version") == "1.1.0\n"; }));
}

TEST_F(ServeKeeper, AClosedPackageOpensAgainAndAnOpenOneCloses) {
  const auto served = serve({"--idle=1s"});
  const UniqueFd root(::open((*served / "acme/app@1.0.0").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n");
  ASSERT_TRUE(eventually([&] { return open_containers(serving(served->path()).daemon) == 0; }, seconds(15)));
  const UniqueFd file(::open((*served / "acme/tool@2.0.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
  (void)listing(served->path() / "acme/app@1.1.0");  // the kernel knows all of it
  const Serving after = replace_daemon(served->path());
  ASSERT_GT(after.daemon, 1);
  EXPECT_EQ(open_containers(after.daemon), 0U) << "nothing was touched";
  std::array<char, 16> text{};
  const UniqueFd again(::openat(root.get(), "data/version", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(again) << std::strerror(errno);
  EXPECT_EQ(::read(again.get(), text.data(), text.size()), 6);
  {
    const UniqueFd known(::open((*served / "acme/app@1.1.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
    ::posix_fadvise(known.get(), 0, 0, POSIX_FADV_DONTNEED);
    EXPECT_EQ(::read(known.get(), text.data(), text.size()), 6);
    EXPECT_EQ(std::string_view(text.data(), 6), "1.1.0\n");
  }
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 6);
  EXPECT_EQ(std::string_view(text.data(), 6), "2.0.0\n");
  EXPECT_EQ(open_containers(after.daemon), 3U);
  EXPECT_TRUE(eventually([&] { return open_containers(after.daemon) == 2; }, seconds(20)))
      << open_containers(after.daemon) << " are open; two files are in use";
}

/// The kernel has kept that names are absent, of which only the daemon before knew.
TEST_F(ServeKeeper, APackageWithAbsentNamesClosesAfterATakeover) {
  const auto served = serve({"--idle=1s"});
  const std::string data = *served / "acme/app@1.0.0/data";
  for (const char* const name : {"/absent", "/d/absent", "/d/f1", "/version"}) {
    EXPECT_EQ(::access((data + name).c_str(), F_OK) == 0, !std::string_view(name).ends_with("absent")) << name;
  }
  const Serving after = replace_daemon(served->path());
  ASSERT_GT(after.daemon, 1);
  EXPECT_EQ(read_text(data + "/d/f7"), content("acme/app", "1.0.0", 7));
  EXPECT_EQ(open_containers(after.daemon), 1U);
  EXPECT_TRUE(eventually([&] { return open_containers(after.daemon) == 0; }, seconds(20)));
  EXPECT_EQ(read_text(data + "/d/f8"), content("acme/app", "1.0.0", 8));
}

/// What can't be opened again as it was is never shown with other bytes, and the mount goes on.
TEST_F(ServeKeeper, AnotherContainerUnderTheSameNameIsNotTakenForTheOldOne) {
  for (const std::string how : {"replaced", "changed in place", "removed"}) {
    SCOPED_TRACE(how);
    publish("acme/tool", "2.0.0");
    const fs::path container = registry() / "acme/tool/2.0.0.webc";
    const auto served = serve();
    const std::string path = *served / "acme/tool@2.0.0/data";
    const UniqueFd data(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const UniqueFd file(::open((path + "/d/f1").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(data && file);
    const Serving before = kept(served->path());
    ASSERT_GT(before.daemon, 1);
    ::kill(before.daemon, SIGSTOP);
    if (how == "replaced") {
      publish("acme/tool", "2.0.0", "other");
    } else if (how == "changed in place") {
      std::string bytes = read_text(container);
      const std::size_t at = bytes.find(content("acme/tool", "2.0.0", 1));
      ASSERT_NE(at, std::string::npos);
      bytes.replace(at, 4, "evil");
      const UniqueFd written(::open(container.c_str(), O_WRONLY | O_CLOEXEC));
      ASSERT_EQ(::write(written.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    } else {
      fs::remove(container);
    }
    ::kill(before.daemon, SIGKILL);
    ASSERT_TRUE(eventually([&] { return serving(served->path()).generation == 2; }));
    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    std::array<char, 16> text{};
    EXPECT_LT(::pread(file.get(), text.data(), text.size(), 0), 0) << std::string_view(text.data(), text.size());
    EXPECT_TRUE(errno == ESTALE || errno == EIO) << std::strerror(errno);
    EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n") << "the mount goes on";
    if (how == "replaced") {
      EXPECT_EQ(read_text(path + "/version"), "2.0.0other\n") << "the path leads to the new one";
    }
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(ServeKeeper, TheRegistryMayBeAwayForAMoment) {
  const auto served = serve();
  EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n");
  kept(served->path());
  fs::rename(registry(), dir_.path() / "away");
  replace_daemon(served->path());
  fs::rename(dir_.path() / "away", registry());
  EXPECT_EQ(read_text(*served / "acme/app@1.1.0/data/version"), "1.1.0\n");
}

TEST_F(ServeKeeper, AKilledKeeperIsReplacedAndTheNextDaemonGoesOn) {
  const auto served = serve();
  const UniqueFd file(::open((*served / "acme/app@1.0.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
  const Serving before = kept(served->path());
  ASSERT_GT(before.keeper, 1);
  EXPECT_EQ(read_text(*served / "acme/tool@2.0.0/data/version"), "2.0.0\n");
  ::kill(before.keeper, SIGKILL);
  ASSERT_TRUE(eventually([&] {
    const Serving now = serving(served->path());
    return now.keeper > 1 && now.keeper != before.keeper && is_running(now.keeper);
  }));
  EXPECT_EQ(serving(served->path()).daemon, before.daemon);
  replace_daemon(served->path());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  std::array<char, 16> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 6);
  EXPECT_EQ(read_text(*served / "acme/tool@2.0.0/data/version"), "2.0.0\n");
}

TEST_F(ServeKeeper, WithoutAKeeperADirectoryIsDead) {
  const auto served = serve({"--keeper=off"});
  EXPECT_EQ(serving(served->path()).keeper, 0);
  ::kill(served->daemon(), SIGKILL);
  EXPECT_TRUE(becomes_dead(served->path()));
}

TEST_F(ServeKeeper, AnUpgradeIsNoErrorForReaders) {
  for (const char* const name : {"one", "two"}) {
    fs::create_directories(dir_.path() / name);
    for (const fs::path& program : {fs::path(kPkgfs), fs::path(kPkgfs).parent_path() / "pkgfs-keeper"}) {
      fs::copy_file(program, dir_.path() / name / program.filename());
    }
  }
  const fs::path source = right({"acme/app@1.0.0", "acme/app@1.1.0"});
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(name_of(way));
    const auto served = serve({}, way);
    kept(served->path());
    const std::string before = listing(served->path() / "acme");
    ComparingReader reader(served->path(), source);
    for (int i = 0; i < 6; ++i) {
      const std::string program = dir_.path() / (i % 2 == 0 ? "one" : "two") / "pkgfs";
      const ProcessResult upgraded = run({program, "upgrade-mounts", served->path()});
      ASSERT_TRUE(upgraded.ok()) << upgraded.describe();
      const Serving after = kept(served->path());
      EXPECT_EQ(fs::read_symlink("/proc/" + std::to_string(after.daemon) + "/exe"), program);
      EXPECT_EQ(after.generation, i + 2);
    }
    replace_daemon(served->path());
    reader.expect_right();
    EXPECT_EQ(listing(served->path() / "acme"), before);
  }
}

TEST_F(ServeKeeper, AnUpgradeThatIsKilledLeavesOneDaemonAndTheRightBytes) {
  fs::create_directories(dir_.path() / "one");
  for (const fs::path& program : {fs::path(kPkgfs), fs::path(kPkgfs).parent_path() / "pkgfs-keeper"}) {
    fs::copy_file(program, dir_.path() / "one" / program.filename());
  }
  const fs::path source = right({"acme/app@1.0.0", "acme/app@1.1.0"});
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(name_of(way));
    const auto served = serve({"--idle=1s"}, way);
    EXPECT_TRUE(run({"diff", "-r", source / "acme/app@1.0.0", *served / "acme/app@1.0.0"}).ok());
    EXPECT_TRUE(run({"diff", "-r", source / "acme/app@1.1.0", *served / "acme/app@1.1.0"}).ok());
    ComparingReader reader(served->path(), source);
    for (int i = 0; i < 8; ++i) {
      const Serving before = kept(served->path());
      ASSERT_GT(before.keeper, 1);
      const std::string program = i % 4 < 2 ? (dir_.path() / "one/pkgfs").string() : kPkgfs;
      Process command({program, "upgrade-mounts", served->path()}, way);
      sleep_ms(5 * i);
      const std::string keeper = std::to_string(before.keeper);
      std::istringstream children(read_text("/proc/" + keeper + "/task/" + keeper + "/children"));
      for (pid_t fresh = 0; children >> fresh;) {
        ::kill(fresh, SIGKILL);
      }
      (void)command.wait();
    }
    reader.expect_right();
    replace_daemon(served->path());
    EXPECT_TRUE(eventually([&] { return processes_with(served->path()).size() == 1; })) << "two daemons go on";
    EXPECT_TRUE(run({"diff", "-r", source / "acme/app@1.0.0", *served / "acme/app@1.0.0"}).ok());
    publish("acme/fresh", "1.0.0");
    EXPECT_TRUE(eventually([&] { return fs::exists(*served / "acme/fresh@1.0.0/data/version"); }, seconds(40)));
    EXPECT_EQ(read_text(*served / "acme/fresh@1.0.0/data/version"), "1.0.0\n");
  }
}

TEST_F(ServeKeeper, GoesOnWithKeeperdWhenAllItsProcessesAreKilled) {
  const std::string socket = dir_.path() / "keeperd.sock";
  Process keeperd({fs::path(kPkgfs).parent_path() / "pkgfs-keeperd", socket}, {.timeout = seconds(60)});
  ASSERT_TRUE(eventually([&] { return fs::exists(socket); })) << keeperd.err();
  {
    ProcessOptions way;
    way.environment = {{"PKGFS_KEEPERD", socket}};
    const auto served = serve({"--keeper=external"}, way);
    const UniqueFd file(::open((*served / "acme/app@1.0.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
    for (int generation = 1; generation < 3; ++generation) {
      ASSERT_TRUE(eventually([&] { return serving(served->path()).all.value("keeperd", false); }, seconds(10)));
      kill_both(served->path());
      EXPECT_TRUE(eventually([&] { return serving(served->path()).generation == generation + 1; }, seconds(10)));
      ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
      std::array<char, 16> text{};
      EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 6);
    }
  }
  EXPECT_TRUE(all_ended());
  keeperd.signal(SIGKILL);
  (void)keeperd.wait();
}

}  // namespace
}  // namespace pkgfs::test
