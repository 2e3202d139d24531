// SPDX-License-Identifier: MIT
// Risk: `pkgfs pull` downloads a package too often, downloads too much of it, or doesn't keep it.
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;

class Pull : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
  const std::string app_ = "acme/app@2.0.0";

  [[nodiscard]] Arguments at(Arguments arguments) const {
    arguments.insert(arguments.end(), {"--registry", server_.endpoint()});
    return arguments;
  }
};

TEST_F(Pull, FillsTheCacheWithVerifiedReadOnlyEntries) {
  const ProcessResult result = pkgfs(at({"pull", app_}));
  ASSERT_TRUE(result.ok()) << result.describe();
  for (const char* package : {"acme/app@2.0.0", "acme/lib@1.0.0", "acme/base@0.3.0"}) {
    const fs::path path = entry(server_.sha256(package));
    EXPECT_NE(result.out.find(std::string(package) + "  " + path.string()), std::string::npos) << result.describe();
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  }
  EXPECT_EQ(fs::status(checkouts()).permissions(), fs::perms::owner_all);
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Pull, AsksAndDownloadsOnceAndNotAgain) {
  ASSERT_TRUE(pkgfs(at({"pull", app_})).ok());
  EXPECT_EQ(count_files(server_), 3U);
  EXPECT_EQ(count_graphql(server_), 3U);  // a name each
  server_.clear_requests();
  ASSERT_TRUE(pkgfs(at({"tree", app_})).ok());
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(Pull, SendsTheRequestsThatWasmerSends) {
  ASSERT_TRUE(pkgfs(at({"pull", "acme/base@0.3.0"})).ok());
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].header("content-type"), "application/json");
  EXPECT_TRUE(requests[0].header("user-agent").starts_with("pkgfs/"));
  EXPECT_EQ(nlohmann::json::parse(requests[0].body), (nlohmann::json{{"query", by_name("acme/base")}}));
  EXPECT_EQ(requests[1].method, "GET");
  EXPECT_EQ(requests[1].header("accept"), "application/webc");
}

TEST_F(Pull, QueryCacheIsWasmersFile) {
  ASSERT_TRUE(pkgfs(at({"resolve", "acme/base@0.3.0"})).ok());
  std::string directory = server_.endpoint();
  for (char& c : directory) {
    c = std::string("/:?&=#%\\").find(c) == std::string::npos ? c : '_';
  }
  const auto document = read_json(cache() / "queries" / directory / "acme#base");
  EXPECT_EQ(document.at("package_name"), "acme/base");
  EXPECT_GT(document.at("unix_timestamp").get<std::int64_t>(), 1'700'000'000);
  EXPECT_EQ(document.at("response").at("data").at("getPackage").at("packageName"), "base");
  EXPECT_EQ(count_files(server_), 0U) << "resolving needs no container";
}

TEST_F(Pull, CacheThatWasmerFilledIsUsed) {
  const std::string hash = server_.sha256("acme/base@0.3.0");
  fs::create_directories(checkouts());
  fs::copy_file(chain_ / "acme/base/0.3.0.webc", entry(hash));
  fs::permissions(entry(hash), fs::perms::owner_read | fs::perms::owner_write);
  ASSERT_TRUE(pkgfs(at({"tree", "acme/base@0.3.0"})).ok());
  EXPECT_EQ(count_files(server_), 0U);
}

TEST_F(Pull, DamagedEntryIsSetAsideAndFetchedAgain) {
  const std::string hash = server_.sha256("acme/base@0.3.0");
  fs::create_directories(checkouts());
  std::string content = read_text(chain_ / "acme/base/0.3.0.webc");
  content[content.size() / 2] = static_cast<char>(content[content.size() / 2] + 1);
  std::ofstream(entry(hash)) << content;
  const ProcessResult result = pkgfs(at({"tree", "acme/base@0.3.0"}));
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("is damaged and not used"), std::string::npos) << result.describe();
  EXPECT_EQ(count_files(server_), 1U);
  EXPECT_EQ(read_text(entry(hash)), read_text(chain_ / "acme/base/0.3.0.webc"));
  EXPECT_EQ(litter().size(), 1U);  // what was set aside
}

TEST_F(Pull, TwoProcessesDownloadOnce) {
  server_.set_fault({.kind = Kind::kPlain, .where = Fault::Where::kFiles, .latency_ms = 300});
  const Arguments arguments{kPkgfs, "pull", app_, "--registry", server_.endpoint()};
  std::vector<std::unique_ptr<Process>> crew;
  for (int i = 0; i < 4; ++i) {
    crew.push_back(std::make_unique<Process>(arguments, ProcessOptions{.environment = environment()}));
  }
  for (const auto& process : crew) {
    EXPECT_TRUE(process->wait().ok()) << process->wait().describe();
  }
  EXPECT_EQ(count_files(server_), 3U);
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Pull, KilledDownloadIsContinued) {
  const std::string url = server_.file_url(app_);
  server_.set_fault({.kind = Kind::kPlain, .where = Fault::Where::kFiles, .match = app_, .rate = 150});
  Process first({kPkgfs, "pull", app_, "--registry", server_.endpoint()}, {.environment = environment()});
  const fs::path part = checkouts() / "__temp__" / (server_.sha256(app_) + ".part");
  // The others are done: a lock that its owner can't give up any more stays for a day.
  ASSERT_TRUE(eventually([&] {
    std::error_code none;
    const auto locks = std::distance(fs::directory_iterator(checkouts() / ".locks", none), fs::directory_iterator());
    return fs::exists(part) && fs::file_size(part) > 0 && locks == 1 &&
           fs::exists(entry(server_.sha256("acme/lib@1.0.0"))) && fs::exists(entry(server_.sha256("acme/base@0.3.0")));
  }));
  first.signal(SIGKILL);
  static_cast<void>(first.wait());
  const auto had = fs::file_size(part);
  server_.clear_faults();
  server_.clear_requests();
  const ProcessResult second = pkgfs(at({"pull", app_}));
  ASSERT_TRUE(second.ok()) << second.describe();
  bool continued = false;
  for (const auto& request : server_.requests()) {
    continued = continued || (request.header("range") == "bytes=" + std::to_string(had) + "-" && request.status == 206);
  }
  EXPECT_TRUE(continued);
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Pull, InterruptEndsItWithinASecond) {
  server_.set_fault({.kind = Kind::kStall, .where = Fault::Where::kFiles, .after = 100});
  Process process({kPkgfs, "pull", app_, "--registry", server_.endpoint()}, {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return count_files(server_) > 0; }));
  const auto begun = std::chrono::steady_clock::now();
  process.signal(SIGINT);
  EXPECT_EQ(process.wait().exit_code, 130) << process.wait().describe();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
}

TEST_F(Pull, JsonEventsTellWhatHappens) {
  const ProcessResult result = pkgfs(at({"pull", "--json", "acme/base@0.3.0"}));
  ASSERT_TRUE(result.ok()) << result.describe();
  std::vector<std::string> events;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    events.push_back(nlohmann::json::parse(line).at("event"));
  }
  EXPECT_EQ(events, (std::vector<std::string>{"started", "finished", "package"}));
  EXPECT_EQ(result.err, "");
}

/// argv: which output, files to wait for up to an empty word, the command. That output takes nothing until all files
/// are there, or for 10 s; then it is read to its end.
constexpr const char* kHeldUp = R"(
import fcntl, os, pty, subprocess, sys, termios, threading, time
which, rest = sys.argv[1], sys.argv[2:]
files, command = rest[:rest.index("")], rest[rest.index("") + 1:]
if which == "terminal":
    reader, writer = pty.openpty()
    termios.tcflow(writer, termios.TCOOFF)  # as Ctrl-S does
else:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(writer, True)
stream = {"stdout" if which == "stdout" else "stderr": writer}
process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **stream)
for _ in range(500):
    if all(map(os.path.exists, files)):
        print("ALL THERE", file=sys.stdout if which != "stdout" else sys.stderr)
        break
    time.sleep(0.02)
def drain():
    try:
        while os.read(reader, 65536):
            pass
    except OSError:  # the other side of a terminal is gone
        pass
if which == "terminal":
    termios.tcflow(writer, termios.TCOON)
os.close(writer)
threading.Thread(target=drain, daemon=True).start()
sys.exit(process.wait())
)";

TEST_F(Pull, OutputThatIsHeldUpHoldsUpNoDownload) {
  for (const char* which : {"terminal", "stderr", "stdout"}) {
    SCOPED_TRACE(which);
    fs::remove_all(cache());
    // Broken off once, so that there is something to say in the middle.
    server_.set_fault({.kind = Kind::kTruncate, .where = Fault::Where::kFiles, .times = 3, .after = 300});
    Arguments arguments{"/usr/bin/python3", "-c", kHeldUp, which};
    for (const char* package : {"acme/app@2.0.0", "acme/lib@1.0.0", "acme/base@0.3.0"}) {
      arguments.push_back(entry(server_.sha256(package)));
    }
    arguments.insert(arguments.end(), {"", kPkgfs, "pull", app_, "--registry", server_.endpoint()});
    if (std::string_view(which) == "stdout") {
      arguments.emplace_back("--json");
    }
    const ProcessResult result = run(arguments, {.environment = environment()});
    EXPECT_TRUE(result.ok()) << result.describe();
    EXPECT_NE((result.out + result.err).find("ALL THERE"), std::string::npos) << result.describe();
  }
}

TEST_F(Pull, CacheCommandsListVerifyAndPrune) {
  ASSERT_TRUE(pkgfs(at({"pull", app_})).ok());
  EXPECT_NE(pkgfs({"cache", "list"}).out.find(app_), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(pkgfs({"cache", "list", "--json"}).out).size(), 3U);
  EXPECT_EQ(pkgfs({"cache", "path"}).out, checkouts().string() + "\n");
  EXPECT_TRUE(pkgfs({"cache", "verify"}).ok());

  const fs::path victim = entry(server_.sha256("acme/lib@1.0.0"));
  fs::permissions(victim, fs::perms::owner_all);
  std::ofstream(victim, std::ios::app) << "x";
  EXPECT_EQ(pkgfs({"cache", "verify", "--dry-run"}).exit_code, 4);
  EXPECT_TRUE(fs::exists(victim));
  EXPECT_EQ(pkgfs({"cache", "verify"}).exit_code, 4);
  EXPECT_FALSE(fs::exists(victim));
  EXPECT_TRUE(pkgfs({"cache", "verify"}).ok());

  EXPECT_NE(pkgfs({"cache", "prune", "--older-than=1h"}).out.find("0 bytes freed"), std::string::npos);
  EXPECT_TRUE(pkgfs({"cache", "prune", "--dry-run"}).ok());
  EXPECT_TRUE(fs::exists(entry(server_.sha256(app_))));
  const auto size = fs::file_size(entry(server_.sha256(app_)));
  ASSERT_TRUE(pkgfs({"cache", "prune", "--max-size", std::to_string(size)}).ok());
  EXPECT_EQ(nlohmann::json::parse(pkgfs({"cache", "list", "--json"}).out).size(), 1U);
  ASSERT_TRUE(pkgfs({"cache", "prune"}).ok());
  EXPECT_EQ(pkgfs({"cache", "list", "--json"}).out, "[]\n");
}

TEST_F(Pull, PruningDoesNotDisturbAMount) {
  if (const std::string why = fuse_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const MountedPackage mount(kPkgfs, "acme/base@0.3.0", {"--registry", server_.endpoint()},
                             {.environment = environment()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_TRUE(pkgfs({"wait", mount.path()}).ok());  // a package that becomes complete becomes an entry
  ASSERT_TRUE(pkgfs({"cache", "prune"}).ok());
  ASSERT_FALSE(fs::exists(entry(server_.sha256("acme/base@0.3.0"))));
  const Tree tree = list_tree(mount.path());
  EXPECT_GT(tree.size(), 1U);
}

TEST_F(Pull, LargePackagesAreNotHeldInMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need memory of their own";
#endif
  const char* wanted = std::getenv("PKGFS_TEST_LARGE_MIB");
  const std::uintmax_t mib = wanted == nullptr ? 256 : std::stoul(wanted);
  const fs::path large = home_.path() / "large.webc";
  fs::copy_file(fixtures() / "webc/basic-v3.webc", large);
  fs::resize_file(large, mib << 20U);  // bytes after the last section are none of the container's
  server_.add_package(large, "acme/large", "1.0.0");
  const std::string measure =
      "import resource, subprocess, sys\n"
      "code = subprocess.run(sys.argv[1:]).returncode\n"
      "print('KiB', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
      "sys.exit(code)\n";
  const ProcessResult result =
      run({"/usr/bin/python3", "-c", measure, kPkgfs, "pull", "acme/large", "--registry", server_.endpoint()},
          {.timeout = std::chrono::minutes(2), .environment = environment()});
  ASSERT_TRUE(result.ok()) << result.describe();
  const std::size_t at = result.out.find("KiB ");
  ASSERT_NE(at, std::string::npos) << result.describe();
  const unsigned long most = std::stoul(result.out.substr(at + 4));
  RecordProperty("kib", std::to_string(most));
  EXPECT_LT(most, 64U << 10U);
}

TEST_F(Pull, UrlsAreKeptAndChecked) {
  const std::string url = server_.file_url("acme/base@0.3.0");
  ASSERT_TRUE(pkgfs(at({"tree", url})).ok());
  EXPECT_EQ(count_files(server_), 1U);
  ASSERT_TRUE(pkgfs(at({"tree", url})).ok());
  EXPECT_EQ(count_files(server_), 1U) << "believed for five minutes";
  for (const auto& file : fs::directory_iterator(cache() / "downloads")) {
    if (file.is_regular_file()) {
      fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(1));
    }
  }
  ASSERT_TRUE(pkgfs(at({"tree", url})).ok());
  EXPECT_EQ(server_.requests().back().status, 304);
  EXPECT_EQ(count_files(server_), 2U);
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Pull, WithoutAnyOptionTheRegistryComesFromTheEnvironmentOrTheFile) {
  EXPECT_TRUE(pkgfs({"resolve", "acme/base@0.3.0"}, {{"WASMER_REGISTRY", server_.endpoint()}}).ok());
  home_.write(".wasmer/wasmer.toml", "[registry]\nactive_registry = \"" + server_.endpoint() +
                                         "\"\n[[registry.tokens]]\nregistry = \"" + server_.endpoint() +
                                         "\"\ntoken = \"stored\"\n");
  server_.clear_requests();
  EXPECT_TRUE(pkgfs({"resolve", "acme/lib@1.0.0"}).ok());
  ASSERT_FALSE(server_.requests().empty());
  EXPECT_EQ(server_.requests().front().header("authorization"), "Bearer stored");
  const ProcessResult config = pkgfs({"config", "--json"}, {{"WASMER_TOKEN", "secret"}});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config.out.find("secret"), std::string::npos);
  EXPECT_NE(config.out.find("\"origin\": \"WASMER_TOKEN\""), std::string::npos) << config.out;
}

}  // namespace
}  // namespace pkgfs::test
