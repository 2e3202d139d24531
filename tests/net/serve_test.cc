// SPDX-License-Identifier: MIT
// Risk: a look-up in a served directory waits for a registry and can't be ended, holds up other packages, or asks the
// registry for what no registry has.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// A served directory of a registry on the network, with acme/app 1.0.0 and 2.0.0 and acme/big 1.0.0, and of a registry
/// directory with local/tool 1.0.0.
class NetServe : public NetTest {
 protected:
  static constexpr std::size_t kBig = std::size_t{6} << 20U;  // large enough to be lazy

  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !IsSkipped() && !why.empty()) {
      GTEST_SKIP() << why;
    }
    fs::create_directories(registry() / "local/tool");
    builder("local/tool", "1.0.0").write(registry() / "local/tool/1.0.0.webc");
  }
  [[nodiscard]] static PackageBuilder builder(const std::string& name, const std::string& version) {
    PackageBuilder package(name + "@" + version);
    package.mount("/data", "data").file("data", "version", version + "\n");
    return package;
  }
  [[nodiscard]] fs::path build(const std::string& name, const std::string& version) const {
    PackageBuilder package = builder(name, version);
    if (name == "acme/big") {
      std::string content(kBig, 'x');
      for (std::size_t i = 0; i < content.size(); i += 4096) {
        content[i] = static_cast<char>('a' + i / 4096 % 26);
      }
      package.file("data", "large", std::move(content));
    }
    std::string file = name + "-" + version + ".webc";
    std::ranges::replace(file, '/', '-');
    fs::path path = home_.path() / file;
    package.write(path);
    return path;
  }
  [[nodiscard]] fs::path registry() const { return home_.path() / "registry"; }
  [[nodiscard]] std::unique_ptr<MountedPackage> serve(Arguments options = {}) const {
    options.insert(options.begin(), {"--registry", registry(), "--registry", server_.endpoint(), "--timeout", "3"});
    auto served =
        std::make_unique<MountedPackage>(kPkgfs, kServed, options, ProcessOptions{.environment = environment()});
    EXPECT_TRUE(served->ok()) << served->result().describe();
    return served;
  }
  static std::string error_of(const fs::path& path) {
    return run({"getfattr", "--only-values", "-n", "user.pkgfs.error", path}).out;
  }
  /// A package of the registry directory is there at once, in five looks.
  static void expect_fast(const MountedPackage& served) {
    for (int i = 0; i < 5; ++i) {
      const auto begin = Clock::now();
      EXPECT_EQ(read_text(served / "local/tool/data/version"), "1.0.0\n");
      EXPECT_FALSE(fs::exists(served / ("local/tool/data/absent" + std::to_string(i))));
      EXPECT_LT(Clock::now() - begin, 500ms);
    }
  }

  TestRegistry server_{{build("acme/app", "1.0.0"), build("acme/app", "2.0.0"), build("acme/big", "1.0.0")}};
};

TEST_F(NetServe, ShowsPackagesOfARegistry) {
  const auto served = serve();
  EXPECT_FALSE(fs::exists(*served / "acme/none"));
  EXPECT_EQ(read_text(*served / "acme/app@1/data/version"), "1.0.0\n");
  EXPECT_EQ(fs::read_symlink(*served / "acme/app@1"), "app@1.0.0");
  EXPECT_EQ(read_text(*served / "acme/app/data/version"), "2.0.0\n");
  const std::string hash = server_.sha256("acme/app@1.0.0");
  EXPECT_EQ(read_text(*served / ("sha256/" + hash + "/data/version")), "1.0.0\n");
  // A large package is there before it is complete.
  server_.set_fault({.where = Fault::Where::kFiles, .rate = 2 << 20U});
  struct stat status{};
  ASSERT_EQ(::stat((*served / "acme/big@1.0.0/data/large").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kBig));
  EXPECT_FALSE(fs::exists(entry(server_.sha256("acme/big@1.0.0"))));
  server_.clear_faults();
  EXPECT_EQ(read_text(*served / "acme/big/data/large").size(), kBig);
  // The cache is listed.
  EXPECT_TRUE(eventually([&] {
    std::set<std::string> names;
    for (const auto& one : fs::directory_iterator(*served / "acme")) {
      names.insert(one.path().filename());
    }
    return std::ranges::includes(names, std::set<std::string>{"app", "app@1.0.0", "app@2.0.0", "big"});
  }));
  EXPECT_TRUE(fs::exists(*served / "local/tool"));
}

TEST_F(NetServe, ProbedNamesReachNoRegistry) {
  const auto served = serve();
  server_.clear_requests();
  for (const std::string name : {"node_modules", "HEAD", "commondir", "objects", "CVS", "RCS", "SCCS", "Makefile"}) {
    EXPECT_FALSE(fs::exists(*served / ("acme/" + name))) << name;
    EXPECT_FALSE(fs::exists(*served / ("node_modules/" + name))) << name;
  }
  EXPECT_FALSE(fs::exists(*served / "node_modules/left-pad"));
  for (const std::string directory : {"", "acme/"}) {
    for (const std::string name : {".git", ".Trash", ".Trash-1000", "autorun.inf", ".hidden", "desktop.ini",
                                   "libc.so.6", "libfoo.so", "AutoRun.inf", ".DS_Store", "a b", "x~"}) {
      EXPECT_FALSE(fs::exists(*served / (directory + name))) << directory << name;
    }
  }
  (void)run({"ls", "-la", *served / "acme", served->path()});
  EXPECT_EQ(server_.requests().size(), 0U);
}

TEST_F(NetServe, ManyLooksAtOneNameAreOneRequest) {
  const auto served = serve();
  server_.set_fault({.where = Fault::Where::kGraphql, .latency_ms = 500});
  server_.clear_requests();
  constexpr int kThreads = 200;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const UniqueFd file(::open((*served / "acme/app@2.0.0/data/version").c_str(), O_RDONLY | O_CLOEXEC));
      char text[8]{};
      right += file && ::read(file.get(), text, sizeof(text)) == 6 && std::string_view(text, 6) == "2.0.0\n" ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(right, kThreads);
  EXPECT_EQ(count_graphql(server_), 1U);
  EXPECT_EQ(count_files(server_), 1U);
}

TEST_F(NetServe, ADeadRegistryHoldsUpNothingElse) {
  const auto served = serve({"--idle=1s"});
  EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n");  // in the cache from now on
  server_.set_fault({.kind = Fault::Kind::kStall, .after = 0});
  std::vector<std::unique_ptr<Process>> waiting;
  for (int i = 0; i < 80; ++i) {  // more than there are threads
    waiting.push_back(std::make_unique<Process>(Arguments{"ls", *served / ("acme/dead@" + std::to_string(i))}));
  }
  EXPECT_FALSE(waiting.front()->ends_within(1s)) << "nothing waits: the test shows nothing";
  expect_fast(*served);
  sleep_ms(1500);  // the packages are closed
  expect_fast(*served);
  const auto begin = Clock::now();
  EXPECT_EQ(read_text(*served / "acme/app@1.0.0/data/version"), "1.0.0\n");
  EXPECT_EQ(read_text(*served / "acme/app@1/data/version"), "1.0.0\n");
  EXPECT_LT(Clock::now() - begin, 500ms);
}

TEST_F(NetServe, ALookThatFoundNoFreeThreadIsAskedLater) {
  const auto served = serve();
  server_.set_fault({.where = Fault::Where::kGraphql, .match = "acme/dead", .rate = 1});  // no silence, and no end
  std::vector<std::unique_ptr<Process>> waiting;
  for (int i = 0; i < 80; ++i) {  // more than there are threads
    waiting.push_back(std::make_unique<Process>(Arguments{"ls", *served / ("acme/dead@" + std::to_string(i))}));
  }
  sleep_ms(50);  // until they wait, but so that their time ends with that of this one
  Process good({"cat", *served / "acme/app@2.0.0/data/version"});
  EXPECT_EQ(good.wait().out, "2.0.0\n") << good.wait().describe();
}

TEST_F(NetServe, APackageThatIsGoneFromTheCacheIsDownloadedAgain) {
  const auto served = serve({"--idle=1s"});
  const std::string path = *served / "acme/app@1.0.0";
  EXPECT_EQ(read_text(path + "/data/version"), "1.0.0\n");
  const UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // the kernel knows the root
  ASSERT_TRUE(eventually(
      [&] { return nlohmann::json::parse(run({kPkgfs, "stats", "--json", served->path()}).out)["packages"].empty(); },
      10s));
  fs::remove_all(checkouts());
  EXPECT_EQ(read_text(path + "/data/version"), "1.0.0\n");
}

TEST_F(NetServe, ADownloadThatTakesLongerThanTheTimeGoesOn) {
  const auto served = serve({"--lazy=off", "--timeout=1"});
  server_.set_fault({.where = Fault::Where::kFiles, .rate = 1U << 20U});  // six seconds
  const std::string path = *served / "acme/big@1.0.0/data/large";
  EXPECT_EQ(run({"stat", path}).exit_code, 1);
  EXPECT_NE(error_of(*served / "acme/big@1.0.0").find("its download goes on"), std::string::npos)
      << error_of(*served / "acme/big@1.0.0");
  EXPECT_TRUE(eventually([&] { return run({"stat", path}).ok(); }, 20s));
  EXPECT_EQ(count_files(server_), 1U);
}

TEST_F(NetServe, ALazyPackageBecomesComplete) {
  const auto served = serve();
  EXPECT_TRUE(fs::exists(*served / "acme/big@1.0.0/data/large"));
  EXPECT_TRUE(eventually([&] { return fs::exists(entry(server_.sha256("acme/big@1.0.0"))); }, 20s));
}

TEST_F(NetServe, ChecksOfLinksHoldUpNoSearch) {
  const auto served = serve();
  EXPECT_EQ(fs::read_symlink(*served / "acme/app@^1"), "app@1.0.0");
  for (const auto& file : fs::recursive_directory_iterator(cache() / "queries")) {
    if (file.is_regular_file()) {
      nlohmann::json document = nlohmann::json::parse(read_text(file.path()));
      document["unix_timestamp"] = static_cast<std::int64_t>(std::time(nullptr)) - 3600;
      std::ofstream(file.path()) << document.dump();
    }
  }
  server_.clear_requests();
  server_.set_fault({.where = Fault::Where::kGraphql, .match = "acme/app", .rate = 4});  // the end never comes
  for (int i = 0; i < 80; ++i) {                                                         // more than there are threads
    EXPECT_EQ(fs::read_symlink(*served / ("acme/app@>0.0." + std::to_string(i))), "app@2.0.0") << i;
  }
  EXPECT_TRUE(eventually([&] { return count_graphql(server_) > 0; })) << "nothing was checked: the test shows nothing";
  const auto begin = Clock::now();
  EXPECT_TRUE(fs::exists(*served / "acme/big@1.0.0/data/large"));
  EXPECT_LT(Clock::now() - begin, 2s);
}

TEST_F(NetServe, AWaitingLookEndsByASignal) {
  const auto served = serve({"--timeout=20"});
  server_.set_fault({.kind = Fault::Kind::kStall, .after = 0});
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    const Process waiting({"stat", *served / ("acme/dead@" + std::to_string(signal))});
    ASSERT_FALSE(waiting.ends_within(500ms)) << "it doesn't wait: the test shows nothing";
    const auto begin = Clock::now();
    waiting.signal(signal);
    EXPECT_TRUE(waiting.ends_within(1s)) << signal;
    EXPECT_LT(Clock::now() - begin, 1s);
  }
  server_.clear_faults();
  EXPECT_EQ(read_text(*served / "acme/app/data/version"), "2.0.0\n");
}

TEST_F(NetServe, AFailureComesInTimeAndIsRemembered) {
  const auto served = serve({"--timeout=1"});
  server_.set_fault({.kind = Fault::Kind::kStall, .after = 0});
  const std::string path = *served / "acme/app@2.0.0";
  auto begin = Clock::now();
  const ProcessResult first = run({"ls", path});
  EXPECT_EQ(first.exit_code, 2) << first.describe();
  EXPECT_LT(Clock::now() - begin, 4s);
  server_.clear_requests();
  begin = Clock::now();
  EXPECT_EQ(run({"ls", path}).exit_code, 2);
  EXPECT_EQ(run({"cat", path + "/data/version"}).exit_code, 1);
  EXPECT_NE(error_of(path), "");
  EXPECT_NE(error_of(*served / "acme").find("app@2.0.0: "), std::string::npos) << error_of(*served / "acme");
  EXPECT_LT(Clock::now() - begin, 500ms);
  EXPECT_EQ(server_.requests().size(), 0U);
  server_.clear_faults();
  EXPECT_EQ(run({"ls", path}).exit_code, 2) << "it is remembered for 30 s";
  EXPECT_TRUE(eventually([&] { return run({"ls", path}).ok(); }, 40s)) << "and then tried again";
  EXPECT_EQ(error_of(path), "");
}

TEST_F(NetServe, UnmountsWhileALookWaits) {
  const auto served = serve({"--timeout=20"});
  server_.set_fault({.kind = Fault::Kind::kStall, .after = 0});
  Process waiting({"stat", *served / "acme/dead"});
  ASSERT_FALSE(waiting.ends_within(500ms));
  const auto begin = Clock::now();
  (void)run({"umount", "--lazy", served->path()});
  for (const pid_t daemon : processes_with(served->path())) {
    ::kill(daemon, SIGTERM);
  }
  EXPECT_TRUE(waiting.ends_within(3s));
  EXPECT_TRUE(eventually([&] { return processes_with(served->path()).empty(); }, 5s));
  EXPECT_LT(Clock::now() - begin, 6s);
}

}  // namespace
}  // namespace pkgfs::test
