// SPDX-License-Identifier: MIT
// Risk: the daemon of a served directory is killed while it has requests, and these are never answered.
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/mounted/serve_keeper.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// The daemon has the requests, and waits for the disk, when it is killed.
TEST_F(ServeKeeper, RequestsWithoutAReplyAreAnsweredByTheSuccessor) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(name_of(way));
    const FaultyDisk disk(package());
    ASSERT_TRUE(disk.ok());
    fs::remove_all(registry() / "acme/slow");
    fs::create_directories(registry() / "acme/slow");
    fs::create_symlink(disk.disk(), registry() / "acme/slow/1.0.0.webc");
    const auto served = serve({}, way);
    const Serving before = kept(served->path());
    ASSERT_GT(before.daemon, 1);
    EXPECT_EQ(read_text(*served / "acme/slow@1.0.0/d3/f301"), read_text(source() + "/d3/f301"));
    (void)run({"ls", *served / "acme/slow@1.0.0"});
    disk.command("drop");
    disk.command("hold");
    Process reader({"sha256sum", *served / "acme/slow@1.0.0/large"});
    Process finder({"cat", *served / "acme/slow@1.0.0/d9/f950"});
    Process lister({"ls", *served / "acme/slow@1.0.0/d11"});
    sleep_ms(300);
    EXPECT_FALSE(reader.ends_within(milliseconds(0))) << "the disk isn't held";
    ::kill(before.daemon, SIGKILL);
    sleep_ms(100);
    EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n") << "others don't wait for that disk";
    disk.command("release");
    EXPECT_TRUE(eventually([&] { return serving(served->path()).generation == 2; })) << "there is no successor";
    EXPECT_EQ(reader.wait().out.substr(0, 64), file_sha256(source() + "/large")) << reader.wait().describe();
    EXPECT_EQ(finder.wait().out, read_text(source() + "/d9/f950")) << finder.wait().describe();
    EXPECT_EQ(lister.wait().out, run({"ls", source() + "/d11"}).out) << lister.wait().describe();
    ASSERT_FALSE(HasFailure());
  }
}

/// The searches for the packages wait for the disk, without a thread for each request.
TEST_F(ServeKeeper, LookUpsThatWaitForAPackageAreAnsweredByTheSuccessor) {
  for (const ProcessOptions& way : ways()) {
    SCOPED_TRACE(name_of(way));
    const FaultyDisk disk(package());
    ASSERT_TRUE(disk.ok());
    fs::remove_all(registry() / "acme/slow");
    fs::create_directories(registry() / "acme/slow");
    fs::create_symlink(disk.disk(), registry() / "acme/slow/1.0.0.webc");
    const auto served = serve({}, way);
    const Serving before = kept(served->path());
    ASSERT_GT(before.daemon, 1);
    disk.command("drop");
    disk.command("hold");
    Process finder({"cat", *served / "acme/slow@1.0.0/d9/f950"}, {.timeout = seconds(10)});
    Process linked({"cat", *served / "acme/slow/d8/f850"}, {.timeout = seconds(10)});
    sleep_ms(300);
    EXPECT_FALSE(finder.ends_within(milliseconds(0))) << "the disk isn't held";
    for (int generation = 1; generation < 3; ++generation) {  // the second one has them from the first one
      ::kill(serving(served->path()).daemon, SIGKILL);
      EXPECT_TRUE(eventually([&] { return serving(served->path()).generation == generation + 1; }));
      kept(served->path());
      sleep_ms(200);
    }
    disk.command("release");
    EXPECT_EQ(finder.wait().out, read_text(source() + "/d9/f950")) << finder.wait().describe();
    EXPECT_EQ(linked.wait().out, read_text(source() + "/d8/f850")) << linked.wait().describe();
    ASSERT_FALSE(HasFailure());
  }
}

/// Of a stopped daemon, the kernel still has the requests.
TEST_F(ServeKeeper, RequestsThatNoDaemonTookAreAnsweredByTheSuccessor) {
  for (const ProcessOptions& way : ways()) {
    const auto served = serve({}, way);
    const Serving before = kept(served->path());
    ASSERT_GT(before.daemon, 1);
    EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n");
    ::kill(before.daemon, SIGSTOP);
    std::vector<std::unique_ptr<Process>> readers;
    for (int i = 0; i < 20; ++i) {
      const std::string version = i % 2 == 0 ? "1.0.0" : "1.1.0";
      readers.push_back(std::make_unique<Process>(
          Arguments{"cat", *served / ("acme/app@" + version + "/data/d/f" + std::to_string(i))}));
    }
    sleep_ms(200);
    ::kill(before.daemon, SIGKILL);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(readers[static_cast<std::size_t>(i)]->wait().out,
                content("acme/app", i % 2 == 0 ? "1.0.0" : "1.1.0", i));
    }
    EXPECT_EQ(serving(served->path()).generation, 2);
  }
}

}  // namespace
}  // namespace pkgfs::test
