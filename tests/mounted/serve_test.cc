// SPDX-License-Identifier: MIT
// Risk: a served directory shows other files than a mount, keeps packages open for ever, or closes what is in use.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::set<std::string> names_in(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.insert(entry.path().filename());
  }
  return names;
}

std::string error_of(const fs::path& path) {
  return run({"getfattr", "--only-values", "-n", "user.pkgfs.error", path}).out;
}

std::size_t open_containers(pid_t process) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
    std::error_code gone;
    count += fs::read_symlink(entry.path(), gone).extension() == ".webc" ? 1 : 0;
  }
  return count;
}

class Serve : public MountedTest {
 protected:
  /// A registry directory with acme/app 1.0.0 and 1.1.0, acme/tool 2.0.0, and `solo` 3.0.0.
  void SetUp() override {
    MountedTest::SetUp();
    publish("acme/app", "1.0.0");
    publish("acme/app", "1.1.0");
    publish("acme/tool", "2.0.0");
    publish("solo", "3.0.0");
  }
  void publish(const std::string& name, const std::string& version) const {
    PackageBuilder package(name + "@" + version);
    package.mount("/data", "data").file("data", "version", version + "\n").file("data", "sub/deep", name + "\n");
    fs::create_directories(registry() / name);
    package.write(registry() / name / (version + ".webc"));
  }
  /// Writes the lock file of `package` into "locks".
  void lock(const std::string& package) const {
    const ProcessResult made = run({kPkgfs, "resolve", "--quiet", "--offline", "--registry", registry(),
                                    "--lock=" + (dir_.path() / "locks/prod.lock").string(), package});
    ASSERT_TRUE(made.ok()) << made.describe();
  }
  [[nodiscard]] fs::path registry() const { return dir_.path() / "registry"; }
  [[nodiscard]] std::unique_ptr<MountedPackage> serve(Arguments options = {}) const {
    options.insert(options.end(), {"--offline", "--cache-dir", dir_.path() / "cache", "--registry", registry()});
    return std::make_unique<MountedPackage>(kPkgfs, kServed, options);
  }

  TempDir dir_;
};

TEST_F(Serve, ShowsVersionsAsDirectoriesAndRequirementsAsLinks) {
  const auto served = serve();
  ASSERT_TRUE(served->ok()) << served->result().describe();
  EXPECT_EQ(names_in(served->path()), (std::set<std::string>{"acme", "sha256", "solo@3.0.0"}));
  EXPECT_EQ(names_in(*served / "acme"), (std::set<std::string>{"app", "app@1.0.0", "app@1.1.0", "tool", "tool@2.0.0"}));
  EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n");
  EXPECT_EQ(read_text(*served / "acme/app/data/version"), "1.1.0\n");
  EXPECT_EQ(read_text(*served / "acme/app@^1/data/version"), "1.1.0\n");
  EXPECT_EQ(read_text(*served / "acme/app@=1.0.0/data/version"), "1.0.0\n");
  EXPECT_EQ(read_text(*served / "solo@3/data/version"), "3.0.0\n");
  EXPECT_EQ(fs::read_symlink(*served / "acme/app@^1"), "app@1.1.0");
  EXPECT_EQ(fs::read_symlink(*served / "acme/app"), "app@1.1.0");
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(*served / "acme/app@1.0.0")));
  // What was looked up is listed, too.
  EXPECT_TRUE(names_in(*served / "acme").contains("app@^1") ||
              eventually([&] { return names_in(*served / "acme").contains("app@^1"); }));
  // A build that has resolved the link keeps its tree; the link goes over.
  publish("acme/app", "1.2.0");
  EXPECT_TRUE(
      eventually([&] { return fs::read_symlink(*served / "acme/app@^1") == "app@1.2.0"; }, std::chrono::seconds(15)));
  EXPECT_EQ(read_text(*served / "acme/app@^1/data/version"), "1.2.0\n");
  EXPECT_EQ(read_text(*served / "acme/app@1.1.0/data/version"), "1.1.0\n");
  EXPECT_TRUE(eventually([&] { return names_in(*served / "acme").contains("app@1.2.0"); }));
}

TEST_F(Serve, TheFirstListingAfterSomeTimeIsTheOneOfNow) {
  const auto served = serve();
  ASSERT_TRUE(served->ok()) << served->result().describe();
  const std::set<std::string> before = names_in(*served / "acme");
  EXPECT_EQ(names_in(*served / "acme"), before);
  sleep_ms(4000);  // longer than the kernel is let keep a listing
  publish("acme/app", "1.2.0");
  EXPECT_TRUE(names_in(*served / "acme").contains("app@1.2.0"));
}

TEST_F(Serve, NumbersDifferBetweenPackagesAndStay) {
  std::set<std::uint64_t> all;
  std::map<std::string, std::uint64_t> before;
  for (int turn = 0; turn < 2; ++turn) {
    const auto served = serve();
    ASSERT_TRUE(served->ok()) << served->result().describe();
    for (const std::string name : {"acme", "acme/app@1.0.0", "acme/app@1.1.0", "acme/tool@2.0.0", "solo@3.0.0"}) {
      for (const auto& [path, number] : inode_numbers(served->path() / name)) {
        const std::string full = name + "/" + path;
        if (turn == 0 && name != "acme") {
          EXPECT_TRUE(all.insert(number).second) << full << " has the number of another file";
          before[full] = number;
        } else if (name != "acme") {
          EXPECT_EQ(before[full], number) << full;
        }
      }
    }
  }
}

TEST_F(Serve, RefusedNamesAndFailuresAreExplained) {
  std::ofstream(registry() / "acme/tool/9.0.0.webc") << "no container";
  const auto served = serve();
  ASSERT_TRUE(served->ok()) << served->result().describe();
  for (const std::string name : {".git", ".Trash", ".Trash-1000", "autorun.inf", ".hidden", "desktop.ini"}) {
    EXPECT_FALSE(fs::exists(*served / name)) << name;
    EXPECT_FALSE(fs::exists(*served / ("acme/" + name))) << name;
  }
  for (const std::string name : {"libc.so", "libc.so.6", "app@", "@1", "app@1.x.y.z", "a:b"}) {
    EXPECT_FALSE(fs::exists(*served / ("acme/" + name))) << name;
  }
  EXPECT_EQ(error_of(*served / "acme"), "") << "these names are refused at once, and not remembered";
  EXPECT_FALSE(fs::exists(*served / "acme/app@7"));
  EXPECT_FALSE(fs::exists(*served / "acme/none@1.0.0"));
  EXPECT_NE(error_of(*served / "acme").find("app@7: failed to query package"), std::string::npos)
      << error_of(*served / "acme");
  // A package that is there and can't be shown.
  const std::string broken = *served / "acme/tool@9.0.0";
  EXPECT_NE(error_of(broken).find("9.0.0.webc"), std::string::npos) << error_of(broken);
  const ProcessResult listed = run({"ls", broken});
  EXPECT_NE(listed.err.find("Input/output error"), std::string::npos) << listed.describe();
  EXPECT_EQ(run({"cat", broken + "/data/version"}).exit_code, 1);
  EXPECT_EQ(read_text(*served / "acme/tool@2.0.0/data/version"), "2.0.0\n");
}

TEST_F(Serve, ClosesWhatNoProgramUses) {
  const auto served = serve({"--idle=1s"});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  const pid_t daemon = served->daemon();
  const UniqueFd file(::open((*served / "acme/app@1.0.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file);
  Process inside(
      {"sh", "-c", "cd \"$0\" && sleep 7 && pwd -P && cat ../version && ls", *served / "acme/app@1.1.0/data/sub"},
      {.timeout = std::chrono::seconds(20)});
  const std::string tool = read_text(*served / "acme/tool@2.0.0/data/version");
  void* const mapped = [&] {
    const UniqueFd solo(::open((*served / "solo@3.0.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
    return ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, solo.get(), 0);
  }();
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_TRUE(eventually([&] { return open_containers(daemon) == 4; }))
      << open_containers(daemon);  // `inside` may be late
  EXPECT_TRUE(eventually([&] { return open_containers(daemon) == 3; }, std::chrono::seconds(10)))
      << open_containers(daemon) << " are open; tool should be closed";
  sleep_ms(2500);
  EXPECT_EQ(open_containers(daemon), 3U) << "these are in use";
  std::array<char, 16> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 6);
  EXPECT_EQ(std::string_view(static_cast<const char*>(mapped), 6), "3.0.0\n");
  EXPECT_EQ(read_text(*served / "acme/tool@2.0.0/data/version"), tool) << "it is opened again";
  EXPECT_EQ(inside.wait().out, (*served / "acme/app@1.1.0/data/sub") + "\n1.1.0\ndeep\n") << inside.wait().describe();
  ::munmap(mapped, 4096);
  EXPECT_TRUE(eventually([&] { return open_containers(daemon) == 1; }, std::chrono::seconds(20)))
      << open_containers(daemon);
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 6);
}

TEST_F(Serve, APackageThatWasReplacedWhileClosedIsShownAnew) {
  const auto served = serve({"--idle=1s"});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  const std::string path = *served / "acme/tool@2.0.0";
  EXPECT_EQ(read_text(path + "/data/version"), "2.0.0\n");
  EXPECT_FALSE(fs::exists(path + "/data/new"));
  const UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // the kernel knows the root
  ASSERT_TRUE(eventually([&] { return open_containers(served->daemon()) == 0; }, std::chrono::seconds(10)));
  PackageBuilder package("acme/tool@2.0.0");
  package.mount("/data", "data").file("data", "version", "another\n").file("data", "new", "new\n");
  package.write(registry() / "acme/tool/2.0.0.webc");
  EXPECT_EQ(read_text(path + "/data/new"), "new\n");
  EXPECT_EQ(read_text(path + "/data/version"), "another\n");
}

TEST_F(Serve, ShowsLockFiles) {
  const fs::path locks = dir_.path() / "locks";
  fs::create_directory(locks);
  lock("acme/app@=1.0.0");
  const auto served = serve({"--locks", locks});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  EXPECT_EQ(fs::read_symlink(*served / ".locks"), locks);
  EXPECT_TRUE(fs::exists(*served / ".locks/prod.lock"));
  EXPECT_EQ(names_in(*served / "locked"), std::set<std::string>{"prod"});
  EXPECT_EQ(read_text(*served / "locked/prod/data/version"), "1.0.0\n");
  EXPECT_FALSE(fs::exists(*served / "locked/other"));
  const UniqueFd old(::open((*served / "locked/prod/data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  lock("acme/app@=1.1.0");
  EXPECT_TRUE(eventually([&] { return read_text(*served / "locked/prod/data/version") == "1.1.0\n"; }));
  std::array<char, 16> text{};
  const UniqueFd file(::openat(old.get(), "version", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(::read(file.get(), text.data(), text.size()), 6);
  EXPECT_EQ(std::string_view(text.data(), 6), "1.0.0\n") << "what is open stays";
}

TEST_F(Serve, AFailureOfALockFileEndsWithTheFile) {
  const fs::path locks = dir_.path() / "locks";
  dir_.write("locks/prod.lock", "no lock file");
  const auto served = serve({"--locks", locks});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  EXPECT_EQ(run({"cat", *served / "locked/prod/data/version"}).exit_code, 1);
  lock("acme/app@=1.0.0");
  EXPECT_TRUE(eventually([&] { return run({"cat", *served / "locked/prod/data/version"}).out == "1.0.0\n"; },
                         std::chrono::seconds(10)))
      << "the failure of the file of before is no failure of this one";
}

TEST_F(Serve, AClosedLockedPackageKeepsItsTreeForItsWorkingDirectory) {
  const fs::path locks = dir_.path() / "locks";
  fs::create_directory(locks);
  lock("acme/app@=1.0.0");
  const auto served = serve({"--idle=1s", "--locks", locks});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  const UniqueFd root(::open((*served / "locked/prod").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(root);
  EXPECT_EQ(read_text(*served / "locked/prod/data/version"), "1.0.0\n");
  ASSERT_TRUE(eventually([&] { return open_containers(served->daemon()) == 0; }, std::chrono::seconds(10)));
  lock("acme/app@=1.1.0");
  std::array<char, 16> text{};
  const UniqueFd file(::openat(root.get(), "data/version", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(::read(file.get(), text.data(), text.size()), 6);
  EXPECT_EQ(std::string_view(text.data(), 6), "1.0.0\n");
  EXPECT_TRUE(eventually([&] { return read_text(*served / "locked/prod/data/version") == "1.1.0\n"; }));
}

TEST_F(Serve, ClosesAPackageThatLacksManyNames) {
  const auto served = serve({"--idle=1s"});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  const std::string absent(40, 'a');  // more than there is room for
  for (int i = 0; i < 3000; ++i) {
    EXPECT_FALSE(fs::exists(*served / ("acme/tool@2.0.0/data/" + absent + std::to_string(i))));
  }
  EXPECT_TRUE(eventually([&] { return open_containers(served->daemon()) == 0; }, std::chrono::seconds(15)));
  EXPECT_EQ(read_text(*served / "acme/tool@2.0.0/data/version"), "2.0.0\n");
}

TEST_F(Serve, ANameIsNeverAPathOfThisMachine) {
  // The daemon's working directory is "/". Any user may write to /tmp.
  const std::string name = "planted" + std::to_string(::getpid());
  const fs::path planted = fs::path("/tmp") / (name + "@=1.0.0");
  const fs::path newest = fs::path("/tmp") / (name + "@*");
  PackageBuilder package("acme/app@1.0.0");
  package.mount("/data", "data").file("data", "version", "planted\n");
  package.write(planted);
  package.write(newest);
  const auto served = serve();
  EXPECT_TRUE(served->ok()) << served->result().describe();
  EXPECT_FALSE(fs::exists(*served / ("tmp/" + name + "@1.0.0")));
  EXPECT_FALSE(fs::exists(fs::symlink_status(*served / ("tmp/" + name))));
  fs::remove(planted);
  fs::remove(newest);
}

TEST_F(Serve, AFileThatIsAwayForAMomentDoesntHideWhatItHas) {
  const auto served = serve({"--idle=1s"});
  ASSERT_TRUE(served->ok()) << served->result().describe();
  const std::string path = *served / "acme/tool@2.0.0";
  EXPECT_EQ(read_text(path + "/data/version"), "2.0.0\n");
  const UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // the kernel knows the root
  ASSERT_TRUE(eventually([&] { return open_containers(served->daemon()) == 0; }, std::chrono::seconds(10)));
  const fs::path container = registry() / "acme/tool/2.0.0.webc";
  fs::rename(container, dir_.path() / "away");  // in the registry, it would be found there
  const ProcessResult read = run({"cat", path + "/data/version"});
  EXPECT_NE(read.err.find("Input/output error"), std::string::npos) << read.describe();
  EXPECT_NE(error_of(path), "");
  fs::rename(dir_.path() / "away", container);
  EXPECT_TRUE(
      eventually([&] { return run({"cat", path + "/data/version"}).out == "2.0.0\n"; }, std::chrono::seconds(40)))
      << "the failure is remembered for 30 s, and what the kernel keeps, for ever";
}

TEST_F(Serve, RefusesToHideWhatItReads) {
  const fs::path cache = dir_.path() / "cache";
  fs::create_directories(cache / "checkouts");
  fs::create_directories(registry() / "pkgs");
  const fs::path alias = dir_.path() / "alias";
  fs::create_directory_symlink(registry() / "acme", alias);
  for (const fs::path& at : {registry(), registry() / "pkgs", alias, dir_.path(), cache, cache / "checkouts"}) {
    const MountGuard guard(at);
    const ProcessResult refused =
        run({kPkgfs, "serve", "--offline", "--cache-dir", cache, "--registry", registry(), at});
    EXPECT_EQ(refused.exit_code, 2) << at << refused.describe();
    EXPECT_NE(refused.err.find("which packages are read from"), std::string::npos) << refused.describe();
  }
}

TEST_F(Serve, IsListedAndStartsAgainAfterItWasKilled) {
  TempDir parent;
  const fs::path at = parent.path() / "pkgs";
  fs::create_directory(at);
  const MountGuard guard(at);
  const Arguments command{kPkgfs, "serve", "--keeper=off", "--offline", "--registry", registry(), at};
  ASSERT_TRUE(run(command).ok());
  const ProcessResult again = run(command);
  EXPECT_FALSE(again.ok()) << "it is served already";
  EXPECT_EQ(read_text(at / "acme/app/data/version"), "1.1.0\n");
  EXPECT_NE(run({kPkgfs, "mounts"}).out.find("serve: on " + at.string() + " (live)"), std::string::npos);
  const nlohmann::json stats = nlohmann::json::parse(run({kPkgfs, "stats", "--json", at}).out);
  EXPECT_EQ(stats["packages"], nlohmann::json::array({"acme/app@1.1.0"}));
  for (const pid_t daemon : processes_with(at)) {
    ::kill(daemon, SIGKILL);
  }
  ASSERT_TRUE(eventually([&] { return processes_with(at).empty(); }));
  EXPECT_NE(run({kPkgfs, "mounts"}).out.find("serve: on " + at.string() + " (dead)"), std::string::npos);
  ASSERT_TRUE(run(command).ok()) << "a dead one is replaced";
  EXPECT_EQ(read_text(at / "acme/app/data/version"), "1.1.0\n");
  EXPECT_TRUE(run({kPkgfs, "unmount", at}).ok());
  EXPECT_TRUE(eventually([&] { return processes_with(at).empty(); }, std::chrono::seconds(10)));
}

class ServedTrees : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(ServedTrees, AreTheGoldenTrees) {
  const std::string& set = GetParam();
  const ordered_json golden = read_json(fixtures() / "expected" / (set + ".json"));
  const TempDir dir;
  const MountedPackage served(kPkgfs, kServed,
                              {"--no-commands", "--offline", "--mtime=stored", "--cache-dir", dir.path() / "cache",
                               "--registry", registry(set)});
  ASSERT_TRUE(served.ok()) << served.result().describe();
  for (const auto& [root, expected] : golden.items()) {
    if (expected.contains("tree")) {
      SCOPED_TRACE(set + " " + root);
      const std::string path = root.starts_with("sha256:") ? "sha256/" + root.substr(7) : root;
      EXPECT_EQ(difference(tree_from_json(expected.at("tree")), list_tree(served / path)), "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, ServedTrees, ::testing::ValuesIn(fixture_names("expected", ".json")),
                         [](const auto& set) { return test_name(set.param); });

}  // namespace
}  // namespace pkgfs::test
