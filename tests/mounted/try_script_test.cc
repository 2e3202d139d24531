// SPDX-License-Identifier: MIT
// Risk: the first command of the README works once, or only from one directory.
#include <csignal>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

/// packaging/try.sh in a copy of the tree where nothing has to be installed or built.
class TryScript : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    const fs::path from = source_directory() / "packaging";
    const fs::path copy = directory_.path() / "tree/packaging";
    fs::create_directories(copy);
    fs::copy_file(from / "try.sh", copy / "try.sh");
    fs::copy(from / "sample", copy / "sample", fs::copy_options::recursive);
    fs::create_directories(directory_.path() / "tree/build/release");
    fs::create_symlink(kPkgfs, directory_.path() / "tree/build/release/pkgfs");
    for (const char* stub : {"tree/packaging/install-deps", "bin/cmake"}) {
      fs::permissions(directory_.write(stub, "#!/bin/sh\n"), fs::perms::owner_all);
    }
  }

  [[nodiscard]] ProcessResult run_it(const std::string& mountpoint) const {
    return shell("PATH=" + (directory_.path() / "bin").string() + ":$PATH ../tree/packaging/try.sh " + mountpoint,
                 {.timeout = seconds(20), .directory = directory_.path() / "work"});
  }

  TempDir directory_;
};

TEST_F(TryScript, RunsAgainWhateverTheLastRunLeft) {
  const fs::path where = directory_.path() / "work/m.n";
  fs::create_directories(directory_.path() / "work");
  const MountGuard guard(where);
  for (const char* left : {"nothing", "a mount", "a dead mount"}) {
    SCOPED_TRACE(left);
    const ProcessResult result = run_it("m.n");  // relative to the caller's directory
    ASSERT_TRUE(result.ok()) << result.describe();
    EXPECT_NE(result.out.find("app/welcome.txt"), std::string::npos);
    EXPECT_TRUE(fs::exists(where / "app/welcome.txt"));
    if (left == std::string("a mount")) {
      const std::vector<pid_t> daemons = processes_with(where);
      ASSERT_EQ(daemons.size(), 1U);
      const auto stats = nlohmann::json::parse(run({kPkgfs, "stats", "--json", where}).out);
      ::kill(stats.at("keeper").get<pid_t>(), SIGKILL);  // else it would start another daemon
      ::kill(daemons.front(), SIGKILL);
      ASSERT_TRUE(eventually([&] { return processes_with(where).empty(); }));
    }
  }
  EXPECT_TRUE(run({kPkgfs, "unmount", where}).ok());
}

TEST_F(TryScript, TakesItsMountpointLiterally) {
  const fs::path other = directory_.path() / "work/m-n";
  fs::create_directories(other);
  const MountGuard guard(other);
  const MountGuard own(directory_.path() / "work/m.n");
  ASSERT_TRUE(run({kPkgfs, "mount", single("basic-v3"), other}).ok());
  const ProcessResult result = run_it("m.n");
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(find_mount(other).has_value());
}

}  // namespace
}  // namespace pkgfs::test
