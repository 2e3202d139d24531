// SPDX-License-Identifier: MIT
// Risk: the cache gets into a state that only a user can repair, or a `pkgfs cache` command reports work that it didn't
// do.
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;

class Cache : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
  const std::string base_ = "acme/base@0.3.0";

  [[nodiscard]] std::string hash() const { return server_.sha256(base_); }
  [[nodiscard]] Arguments pull(Arguments more = {}) const {
    more.insert(more.begin(), {"pull", base_, "--registry", server_.endpoint()});
    return more;
  }
  /// Root may read and write everything; without these capabilities modes are for it too.
  [[nodiscard]] ProcessResult unprivileged(Arguments arguments) const {
    arguments.insert(arguments.begin(), kPkgfs);
    if (::geteuid() == 0) {
      arguments.insert(arguments.begin(), {"setpriv", "--bounding-set=-dac_override,-dac_read_search"});
    }
    return run(arguments, {.environment = environment()});
  }
  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  static void make_old(const fs::path& path) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(48));
  }
  static std::vector<nlohmann::json> events(const std::string& text) {
    std::vector<nlohmann::json> all;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      all.push_back(nlohmann::json::parse(line));
    }
    return all;
  }
};

TEST_F(Cache, ReadOnlyPartIsNoObstacle) {
  const fs::path part = checkouts() / "__temp__" / (hash() + ".part");
  write(part, "from a process that was killed");
  fs::permissions(part, fs::perms::owner_read);
  const ProcessResult result = unprivileged(pull());
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Cache, UnreadableEntryIsSetAsideAndFetchedAgain) {
  ASSERT_TRUE(pkgfs(pull()).ok());
  fs::permissions(entry(hash()), fs::perms::none);
  const ProcessResult result = unprivileged(pull());
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("it can't be read"), std::string::npos) << result.describe();
  EXPECT_EQ(count_files(server_), 2U);
  EXPECT_EQ(fs::status(entry(hash())).permissions() & fs::perms::owner_all, fs::perms::owner_read);
}

TEST_F(Cache, PruneAndVerifySayWhatTheyCouldNotRemove) {
  ASSERT_TRUE(pkgfs(pull()).ok());
  fs::permissions(checkouts(), fs::perms::owner_read | fs::perms::owner_exec);
  const ProcessResult prune = unprivileged({"cache", "prune"});
  EXPECT_EQ(prune.exit_code, 8) << prune.describe();
  EXPECT_EQ(prune.out, "0 bytes freed\n");
  EXPECT_NE(prune.err.find("Unable to remove \"" + entry(hash()).string()), std::string::npos) << prune.describe();
  EXPECT_EQ(unprivileged({"cache", "prune", "--json"}).out, "[]\n");

  fs::permissions(entry(hash()), fs::perms::owner_all);
  std::ofstream(entry(hash()), std::ios::app) << "x";
  const ProcessResult verify = unprivileged({"cache", "verify"});
  EXPECT_EQ(verify.exit_code, 8) << verify.describe();
  EXPECT_EQ(verify.out.find("removed"), std::string::npos) << verify.describe();
  EXPECT_TRUE(fs::exists(entry(hash())));
  fs::permissions(checkouts(), fs::perms::owner_all);
}

TEST_F(Cache, WhatHasAWrongHashIsNotKeptAndHasNoPath) {
  server_.set_fault({.kind = Kind::kWrongHash, .where = Fault::Where::kGraphql});
  const ProcessResult text = pkgfs(pull({"--verify-downloads=warn"}));
  ASSERT_TRUE(text.ok()) << text.describe();
  EXPECT_EQ(text.out, base_ + "  (not kept)\n");
  EXPECT_EQ(text.err.find("downloaded"), std::string::npos) << text.describe();
  const ProcessResult json = pkgfs(pull({"--verify-downloads=off", "--json"}));
  ASSERT_TRUE(json.ok()) << json.describe();
  const auto told = events(json.out);
  ASSERT_EQ(told.size(), 3U) << json.describe();
  EXPECT_EQ(told[1].at("event"), "failed");
  EXPECT_TRUE(told[2].at("path").is_null());
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Cache, MismatchIsNeverToldAsFinished) {
  server_.set_fault({.kind = Kind::kWrongHash, .where = Fault::Where::kGraphql});
  const ProcessResult result = pkgfs(pull({"--json"}));
  EXPECT_EQ(result.exit_code, 4) << result.describe();
  const auto told = events(result.out);
  ASSERT_EQ(told.size(), 3U) << result.describe();
  EXPECT_EQ(told[0].at("event"), "started");
  EXPECT_EQ(told[1].at("event"), "failed");
  EXPECT_EQ(told[2].at("event"), "error");
  EXPECT_NE(told[2].at("message").get<std::string>().find("image hash mismatch"), std::string::npos);
}

// Risk: a user without a writable home directory can't use local packages, or gets a message for each package.
TEST_F(Cache, HomeThatCannotBeWrittenStopsOnlyDownloads) {
  const fs::path app = fixtures() / "webc/basic-v3.webc";
  const fs::path home = home_.path() / "home";
  fs::create_directory(home);
  const auto as = [&](const std::string& home_variable, Arguments arguments) {
    arguments.insert(arguments.begin(), {"env", home_variable, kPkgfs});
    if (::geteuid() == 0) {
      arguments.insert(arguments.begin(), {"setpriv", "--bounding-set=-dac_override,-dac_read_search"});
    }
    return run(arguments, {.environment = environment()});
  };
  for (const fs::perms mode : {fs::perms::owner_read | fs::perms::owner_exec, fs::perms::none}) {
    fs::permissions(home, mode);
    const ProcessResult local = as("HOME=" + home.string(), {"ls", app.string()});
    EXPECT_TRUE(local.ok()) << local.describe();
    EXPECT_EQ(local.err, "");
    const ProcessResult remote =
        as("HOME=" + home.string(), {"tree", "acme/app@2.0.0", "--registry", server_.endpoint()});
    EXPECT_EQ(remote.exit_code, 8) << remote.describe();
    EXPECT_NE(remote.err.find("--cache-dir=DIR"), std::string::npos) << remote.describe();
    EXPECT_EQ(remote.err.find("pkgfs: "), remote.err.rfind("pkgfs: ")) << "one message\n" << remote.describe();
    EXPECT_TRUE(as("HOME=" + home.string(), {"tree", "acme/app@2.0.0", "--registry", server_.endpoint(), "--cache-dir",
                                             (home_.path() / "elsewhere").string()})
                    .ok());
    fs::remove_all(home_.path() / "elsewhere");
  }
  fs::permissions(home, fs::perms::owner_all);
  const ProcessResult unset = as("HOME=", {"ls", app.string()});
  EXPECT_TRUE(unset.ok()) << unset.describe();
  EXPECT_EQ(unset.err, "");
}

TEST_F(Cache, ASignalEndsTheHashingOfALongEntry) {
  const fs::path long_entry = entry(std::string(64, 'a'));
  write(long_entry, "");
  fs::resize_file(long_entry, std::uintmax_t{1} << 38U);
  Process process({kPkgfs, "cache", "verify"}, {.environment = environment()});
  ASSERT_TRUE(eventually([&] {
    const std::string io = read_text("/proc/" + std::to_string(process.pid()) + "/io");
    return std::stoull(io.substr(io.find(' ') + 1)) > 10'000'000;  // it reads
  }));
  const auto begun = std::chrono::steady_clock::now();
  process.signal(SIGINT);
  EXPECT_EQ(process.wait().exit_code, 130) << process.wait().describe();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
  EXPECT_TRUE(fs::exists(long_entry));
}

TEST_F(Cache, UrlsAreListedAndPruned) {
  ASSERT_TRUE(pkgfs({"tree", server_.file_url(base_)}).ok());
  const auto rows = nlohmann::json::parse(pkgfs({"cache", "list", "--json"}).out);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].at("kind"), "url");
  EXPECT_EQ(rows[0].at("package"), base_);
  const fs::path file = rows[0].at("path").get<std::string>();
  ASSERT_TRUE(fs::exists(file.string() + ".etag"));
  ASSERT_TRUE(pkgfs({"cache", "prune"}).ok());
  EXPECT_FALSE(fs::exists(file));
  EXPECT_FALSE(fs::exists(file.string() + ".etag"));
}

TEST_F(Cache, PruneRemovesOldLeftoversButNoLockThatIsHeld) {
  const fs::path downloads = cache() / "downloads";
  const std::string key(64, 'A');
  const std::vector<fs::path> stale{downloads / "__temp__" / (key + ".part"),
                                    downloads / "__temp__" / (key + ".lock"),
                                    downloads / "__temp__" / (key + ".part.from"),
                                    downloads / (key + ".etag.abcdef"),
                                    downloads / (key + ".etag"),
                                    checkouts() / ".locks" / key};
  const fs::path held = checkouts() / ".locks" / std::string(64, 'b');
  const fs::path young = downloads / "__temp__" / "young.part";
  // A process that continues a download holds its lock, and may still wait for the server.
  const fs::path continued = checkouts() / "__temp__" / (std::string(64, 'b') + ".part");
  for (const fs::path& path : stale) {
    write(path, "x");
    make_old(path);
  }
  for (const fs::path& path : {held, continued}) {
    write(path, "");
    make_old(path);
  }
  write(young, "x");
  const UniqueFd lock(::open(held.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  ASSERT_TRUE(pkgfs({"cache", "prune", "--dry-run"}).ok());
  for (const fs::path& path : stale) {
    EXPECT_TRUE(fs::exists(path)) << path;
  }
  ASSERT_TRUE(pkgfs({"cache", "prune"}).ok());
  for (const fs::path& path : stale) {
    EXPECT_FALSE(fs::exists(path)) << path;
  }
  EXPECT_TRUE(fs::exists(held));
  EXPECT_TRUE(fs::exists(continued));
  EXPECT_TRUE(fs::exists(young));
}

/// Runs the program on a pseudo-terminal of 80 columns and prints what it wrote there.
constexpr const char* kOnTerminal = R"(
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
text = b''
while True:
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    text += piece
sys.stdout.buffer.write(text)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
)";

/// What a terminal shows after `output`: only the sequences that Console writes are known.
std::vector<std::string> screen_after(const std::string& output, std::size_t& widest) {
  std::vector<std::string> rows(1);
  for (std::size_t at = 0; at < output.size(); ++at) {
    if (output[at] == '\033') {
      const std::size_t end = output.find_first_of("AJ", at);
      if (output.at(end) == 'A') {
        const std::size_t up = std::stoul(output.substr(at + 2, end - at - 2));
        rows.resize(rows.size() - up);
        rows.back().clear();
      }
      at = end;
    } else if (output[at] == '\n') {
      rows.emplace_back();
    } else if (output[at] != '\r') {
      rows.back() += output[at];
      widest = std::max(widest, rows.back().size());
    }
  }
  return rows;
}

TEST_F(Cache, ProgressKeepsToTheTerminalAndLeavesNothing) {
  const std::string name = "acme/" + std::string(70, 'n');
  server_.add_package(fixtures() / "webc/basic-v3.webc", name, "1.0.0");
  server_.set_fault({.kind = Kind::kPlain, .where = Fault::Where::kFiles, .rate = 2000});
  const ProcessResult result =
      run({"/usr/bin/python3", "-c", kOnTerminal, kPkgfs, "pull", name + "@1.0.0", "--registry", server_.endpoint()},
          {.environment = environment()});
  ASSERT_TRUE(result.ok()) << result.describe();
  ASSERT_NE(result.out.find("\033["), std::string::npos) << "nothing was drawn";
  std::size_t widest = 0;
  const std::vector<std::string> rows = screen_after(result.out, widest);
  ASSERT_EQ(rows.size(), 3U) << result.describe();
  EXPECT_TRUE(rows[0].starts_with("pkgfs: downloaded " + name)) << rows[0];
  EXPECT_TRUE(rows[1].starts_with(name)) << rows[1];
  for (std::size_t at = 0; (at = result.out.find("/s\r\n", at)) != std::string::npos; ++at) {
    const std::size_t begin = result.out.find_last_of("\nJ", at) + 1;
    EXPECT_LE(at + 2 - begin, 80U + 2) << result.out.substr(begin, at + 2 - begin);  // the ellipsis has three bytes
  }
}

TEST_F(Cache, PlantedLinksInASharedCacheAreNotFollowed) {
  const fs::path victim = home_.write("victim/precious", "precious");
  fs::last_write_time(victim, fs::file_time_type::clock::now() - std::chrono::hours(48));
  fs::create_directories(checkouts());
  fs::permissions(checkouts(), fs::perms::all);
  for (const char* name : {"__temp__", ".locks"}) {
    fs::create_directory_symlink(victim.parent_path(), checkouts() / name);
  }
  const ProcessResult first = pkgfs(pull());
  EXPECT_TRUE(first.ok()) << first.describe();
  EXPECT_EQ(read_text(victim), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(victim.parent_path()), {}), 1);

  fs::remove(entry(hash()));
  fs::create_symlink(victim, checkouts() / "__temp__" / (hash() + ".part"));
  fs::create_symlink(victim, checkouts() / "__temp__" / (hash() + ".part.from"));
  fs::create_symlink(victim, checkouts() / ".locks" / hash());
  const ProcessResult second = pkgfs(pull());
  EXPECT_TRUE(second.ok()) << second.describe();
  EXPECT_NE(second.err.find("a symbolic link to \"" + victim.string()), std::string::npos) << second.describe();
  EXPECT_EQ(read_text(victim), "precious");
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(Cache, DirectoryOfAnotherUserStopsDownloadsOnly) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  ASSERT_TRUE(pkgfs(pull()).ok());
  const fs::path temporary = checkouts() / "__temp__";
  ASSERT_EQ(::chown(temporary.c_str(), 65534, 65534), 0);
  EXPECT_TRUE(pkgfs(pull()).ok()) << "it needs no download";
  EXPECT_TRUE(pkgfs({"tree", server_.file_url(base_)}).ok()) << "it needs another directory";
  fs::remove(entry(hash()));
  fs::remove_all(cache() / "downloads");
  const ProcessResult refused = pkgfs(pull());
  EXPECT_EQ(refused.exit_code, 8) << refused.describe();
  for (const std::string& text :
       {temporary.string() + "\" belongs to user 65534", std::string("chown root"), std::string("--cache-dir=DIR")}) {
    EXPECT_NE(refused.err.find(text), std::string::npos) << refused.describe();
  }
  EXPECT_EQ(refused.err.find("error:"), refused.err.rfind("error:")) << refused.describe();
  ASSERT_EQ(::chown(temporary.c_str(), 0, 0), 0);
  EXPECT_TRUE(pkgfs(pull()).ok());
}

TEST_F(Cache, LockOfAnotherProcessIsNamedAndNotWaitedForForever) {
  const fs::path path = checkouts() / ".locks" / hash();
  write(path, "");
  const UniqueFd lock(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  const ProcessResult result = pkgfs(pull({"--deadline", "8"}));
  EXPECT_EQ(result.exit_code, 9) << result.describe();
  EXPECT_NE(result.err.find("waiting for the lock \"" + path.string()), std::string::npos) << result.describe();
  EXPECT_NE(result.err.find("Unable to lock '" + path.string()), std::string::npos) << result.describe();
  ASSERT_EQ(::flock(lock.get(), LOCK_UN), 0);
  EXPECT_TRUE(pkgfs(pull()).ok());
}

TEST_F(Cache, WhatCannotBeRemovedFromACacheStopsOnePullOnly) {
  fs::create_directories(checkouts() / ".locks" / hash() / "not empty");
  const ProcessResult blocked = pkgfs(pull());
  EXPECT_EQ(blocked.exit_code, 1) << blocked.describe();
  for (const char* text : {"is a directory, which pkgfs doesn't use", "must be removed", "--cache-dir=DIR"}) {
    EXPECT_NE(blocked.err.find(text), std::string::npos) << blocked.describe();
  }
  const fs::path packages = home_.path() / "packages";
  PackageBuilder("test/other@1.0.0").file("data", "f", "x").mount("/", "data").publish(packages);
  TestRegistry server({packages});
  const ProcessResult other = pkgfs({"pull", "test/other", "--registry", server.endpoint()});
  EXPECT_TRUE(other.ok()) << other.describe();
}

}  // namespace
}  // namespace pkgfs::test
