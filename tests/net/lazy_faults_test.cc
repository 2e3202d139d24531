// SPDX-License-Identifier: MIT
// Risk: a connection that breaks, a server that lies or stands still, or a URL that expires makes a lazy mount show
// wrong bytes, hang, or stay broken.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/net/lazy_status.h"
#include "tests/support/slow_proxy/slow_proxy.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;
using namespace std::chrono_literals;

using Variables = std::vector<std::pair<std::string, std::string>>;
const Variables kToken{{"WASMER_TOKEN", "secret"}};

class LazyFaults : public LazyStatus {
 protected:
  struct File {
    std::string name;
    std::string content;
  };

  void SetUp() override {
    LazyStatus::SetUp();
    for (unsigned i = 0; i < 10; ++i) {
      files_.push_back({"small" + std::to_string(i), random_text(20 * 1024, i)});
    }
    files_.push_back({"t-large", random_text(6 * kMiB, 100)});
    files_.push_back({"u-rest", random_text(3 * kMiB, 101)});
  }
  /// A mount with a cache of its own, over `registry`.
  [[nodiscard]] std::unique_ptr<MountedPackage> mount_with(const std::string& cache, const std::string& registry,
                                                           Arguments options = {}, const Variables& more = {}) const {
    options.insert(options.begin(), {"--registry", registry, "--lazy=on", "--timeout", "3", "--cache-dir",
                                     (home_.path() / cache).string()});
    return std::make_unique<MountedPackage>(kPkgfs, kPackage, options,
                                            ProcessOptions{.environment = environment_with(more)});
  }
  [[nodiscard]] Variables environment_with(const Variables& more) const {
    Variables all = environment();
    for (const auto& [name, value] : more) {
      std::ranges::find(all, name, [](const auto& variable) { return variable.first; })->second = value;
    }
    return all;
  }
  /// What a reader gets of a file: its bytes, or nothing and an errno.
  static std::pair<std::string, int> read_file(const fs::path& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    std::vector<char> buffer(1U << 17U);
    while (fd) {
      const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
      if (count == 0) {
        return {text, 0};
      }
      if (count < 0) {
        break;
      }
      text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return {"", errno};
  }
  /// Each file has the right bytes, or its reader gets EIO. Returns how many couldn't be read.
  int expect_right_or_error(const MountedPackage& mounted) const {
    int failed = 0;
    for (const File& file : files_) {
      const auto [text, error] = read_file(mounted / file.name);
      EXPECT_TRUE(error == EIO || (error == 0 && text == file.content)) << file.name << ", errno " << error;
      failed += error == 0 ? 0 : 1;
    }
    return failed;
  }
  /// While the server answers each request for a part with `status`, a reader of a file that isn't here gets EIO, in
  /// bounded time. All else works.
  void expect_error(const MountedPackage& mounted, int status) const {
    server_->set_fault({.kind = Kind::kStatus,
                        .where = Where::kFiles,
                        .status = status,
                        .retry_after = status == 429 || status == 503 ? "1" : ""});
    server_->clear_requests();
    const auto begun = std::chrono::steady_clock::now();
    // After the status before, a read may fail at once, without a request.
    EXPECT_TRUE(eventually([&] {
      EXPECT_EQ(read_file(mounted / "u-rest").second, EIO) << status;
      return count_files(*server_) > 0;
    })) << status;
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s) << status;
    EXPECT_EQ(read_file(mounted / "small0").first, files_[0].content) << status;
  }
  void expect_errors(const std::vector<int>& statuses) const {
    const auto mounted = mount_with("cache", server_->endpoint(), {"--background=off", "--timeout=1"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_EQ(read_file(*mounted / "small0").first, files_[0].content);
    for (const int status : statuses) {
      expect_error(*mounted, status);
    }
    server_->clear_faults();
    expect_heals(*mounted);
  }
  void expect_heals(const MountedPackage& mounted) const {
    EXPECT_TRUE(eventually([&] { return expect_right_or_error(mounted) == 0; }, 20s));
  }

  std::vector<File> files_;
};

/// Each cut breaks the connections of several mounts, each of them somewhere else.
TEST_F(LazyFaults, ConnectionsThatAreCutGiveNoWrongByte) {
  constexpr unsigned kMounts = 8;
  constexpr int kCuts = 25;
  const SlowProxy proxy(server_->authority(), {.rtt = 2ms, .mbit = 300});
  std::vector<std::unique_ptr<MountedPackage>> mounts;
  for (unsigned i = 0; i < kMounts; ++i) {
    mounts.push_back(mount_with("cache" + std::to_string(i), proxy.authority() + "/graphql", {"--background=off"}));
    ASSERT_TRUE(mounts.back()->ok()) << mounts.back()->result().describe();
  }
  std::atomic<unsigned> reading{kMounts};
  std::vector<std::thread> readers;
  for (unsigned i = 0; i < kMounts; ++i) {
    readers.emplace_back([&, i] {
      expect_right_or_error(*mounts[i]);
      --reading;
    });
  }
  std::minstd_rand random(7);
  int cuts = 0;
  for (; cuts < kCuts && reading > 0; ++cuts) {
    const std::uint64_t bytes = 1 + random() % (2 * kMiB);
    const std::uint64_t before = proxy.counts().down;
    proxy.cut_after(bytes);
    EXPECT_TRUE(eventually([&] { return proxy.counts().down >= before + bytes || reading == 0; }, 20s));
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_GE(cuts, 8);
  for (const auto& mounted : mounts) {
    expect_heals(*mounted);
  }
}

TEST_F(LazyFaults, AMountThatIsCutWorksOrFailsAndTheNextOneWorks) {
  const SlowProxy proxy(server_->authority(), {.rtt = 2ms, .mbit = 0});
  std::minstd_rand random(11);
  for (int i = 0; i < 8; ++i) {
    proxy.cut_after(1 + random() % (i < 4 ? 3'000 : 150'000));
    const auto mounted = mount_with("cache", proxy.authority() + "/graphql", {"--background=off"});
    EXPECT_TRUE(mounted->ok() || mounted->result().exit_code == 11) << mounted->result().describe();
    if (mounted->ok()) {
      const auto [text, error] = read_file(*mounted / files_[static_cast<std::size_t>(i)].name);
      EXPECT_TRUE(error == EIO || text == files_[static_cast<std::size_t>(i)].content) << i;
    }
  }
  const auto mounted = mount_with("cache", proxy.authority() + "/graphql", {"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_heals(*mounted);
}

TEST_F(LazyFaults, WrongBytesInTheHeadersAreNoticedInTheEnd) {
  const std::string bytes = read_text(container_);
  const std::string name = "small7";
  std::vector<std::uint64_t> places{20, 400, bytes.find(name) + 5};
  for (const std::uint64_t place : places) {
    SCOPED_TRACE(place);
    server_->set_fault({.kind = Kind::kWrongBytes, .where = Where::kFiles, .after = place});
    const std::string cache = "cache" + std::to_string(place);
    {
      const auto mounted = mount_with(cache, server_->endpoint());
      EXPECT_GE(mounted->result().exit_code, 0) << mounted->result().describe();
      if (mounted->ok()) {
        for (const auto& file : files_) {
          const auto [text, error] = read_file(*mounted / file.name);
          EXPECT_TRUE(error != 0 || text == file.content) << file.name;
        }
        const ProcessResult waited = wait_for(*mounted, {"--timeout=20"});
        EXPECT_EQ(waited.exit_code, 4) << waited.describe();
        {
          const UniqueFd fd(::open((*mounted / "small1").c_str(), O_RDONLY | O_CLOEXEC));
          ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);  // the kernel has it
        }
        EXPECT_EQ(read_file(*mounted / "small1").second, EIO);
      } else {
        EXPECT_NE(mounted->result().err.find("hash mismatch"), std::string::npos) << mounted->result().describe();
      }
    }
    server_->clear_faults();
    const auto mounted = mount_with(cache, server_->endpoint());
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    expect_heals(*mounted);
  }
}

TEST_F(LazyFaults, AWrongLastBlockFailsItsFileOrTheWholePackage) {
  const std::uint64_t last = fs::file_size(container_) - 1;
  server_->set_fault({.kind = Kind::kWrongBytes, .where = Where::kFiles, .after = last});
  const auto mounted = mount_with("cache", server_->endpoint());
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_right_or_error(*mounted);
  EXPECT_FALSE(wait_for(*mounted, {"--timeout=3"}).ok());
  server_->clear_faults();
  if (object_of(*mounted).at("lazy").at("state") != "tampered") {  // the byte belongs to a file that was read
    expect_heals(*mounted);
    EXPECT_TRUE(wait_for(*mounted, {"--timeout=20"}).ok());
  }
}

TEST_F(LazyFaults, LiesInTheMiddleNeverGiveWrongBytes) {
  const auto range_lie = [](Fault::Lie lie) {
    return Fault{.kind = Kind::kRangeLie, .where = Where::kFiles, .lie = lie};
  };
  const std::vector<Fault> faults{{.kind = Kind::kIgnoreRange, .where = Where::kFiles},
                                  range_lie(Fault::Lie::k416),
                                  range_lie(Fault::Lie::kOtherEtag),
                                  range_lie(Fault::Lie::kNoRange),
                                  range_lie(Fault::Lie::kWrongRange),
                                  range_lie(Fault::Lie::kEmpty),
                                  range_lie(Fault::Lie::kOneByte),
                                  {.kind = Kind::kTruncate, .where = Where::kFiles, .after = 70'000},
                                  {.kind = Kind::kRedirectLoop, .where = Where::kFiles}};
  const auto mounted = mount_with("cache", server_->endpoint(), {"--background=off", "--timeout=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  for (const Fault& fault : faults) {
    server_->set_fault(fault);
    const auto [text, error] = read_file(*mounted / "t-large");
    EXPECT_TRUE(error == EIO || text == files_[10].content)
        << static_cast<int>(fault.kind) << " " << static_cast<int>(fault.lie) << ", errno " << error;
  }
  server_->clear_faults();
  expect_heals(*mounted);
}

TEST_F(LazyFaults, EachStatusOfAClientsFaultFailsReadsAndHeals) { expect_errors({400, 404, 408, 410, 416, 429, 451}); }

TEST_F(LazyFaults, EachStatusOfAServersFaultFailsReadsAndHeals) { expect_errors({500, 502, 503, 504}); }

TEST_F(LazyFaults, AServerThatIsGoneBeforeTheMount) {
  server_->stop();
  {
    const auto mounted = mount_with("cache", server_->endpoint(), {"--timeout=1"});
    EXPECT_EQ(mounted->result().exit_code, 11) << mounted->result().describe();
    EXPECT_TRUE(has(mounted->result().err, server_->endpoint())) << mounted->result().describe();
  }
  server_->start();
  {
    const auto mounted = mount_with("cache", server_->endpoint(), {"--background=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_TRUE(read_file(*mounted / "t-large").first == files_[10].content);
  }
  // The registry answers, but the server of its files doesn't: what is here suffices for a mount.
  server_->set_fault({.kind = Kind::kClose, .where = Where::kFiles});
  const auto mounted = mount_with("cache", server_->endpoint(), {"--background=off", "--timeout=1"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(read_file(*mounted / "t-large").first == files_[10].content);
  EXPECT_EQ(read_file(*mounted / "u-rest").second, EIO);
  server_->clear_faults();
  expect_heals(*mounted);
}

TEST_F(LazyFaults, ANameThatIsNotKnownFailsOnlyReads) {
  const std::string file = server_->file_url(kPackage);
  const std::string path = file.substr(file.find("/files/"));
  const auto mounted = mount_with("cache", server_->endpoint(), {"--background=off", "--timeout=2"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_file(*mounted / "small0").first, files_[0].content);
  // The URL expires, and the host of the next one has no address (RFC 6761: no name below "invalid" has one).
  server_->set_faults({{.kind = Kind::kStatus, .where = Where::kFiles, .status = 403},
                       {.kind = Kind::kUrl, .where = Where::kGraphql, .location = "https://gone.invalid" + path}});
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(read_file(*mounted / "u-rest").second, EIO);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
  EXPECT_EQ(count_graphql(*server_), 2U) << "the registry was asked for another URL";
  EXPECT_NE(object_of(*mounted).at("lazy").at("problem").get<std::string>().find("gone.invalid"), std::string::npos);
  EXPECT_TRUE(shell("ls -lR '" + mounted->path().string() + "'", {.timeout = 5s}).ok());
  EXPECT_EQ(read_file(*mounted / "small0").first, files_[0].content);
}

TEST_F(LazyFaults, AUrlThatExpiresIsAskedForAgainWithTheToken) {
  // A first URL that works for a while: the same file at another port.
  const std::string file = server_->file_url(kPackage);
  const std::string path = file.substr(file.find("/files/"));
  for (const int status : {401, 403}) {
    SCOPED_TRACE(status);
    const SlowProxy first(server_->authority(), {.rtt = 1ms, .mbit = 0});
    server_->set_fault({.kind = Kind::kUrl, .where = Where::kGraphql, .location = first.authority() + path});
    const auto mounted =
        mount_with("cache" + std::to_string(status), server_->endpoint(), {"--background=off"}, kToken);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_EQ(read_file(*mounted / "small0").first, files_[0].content);
    // From now on, the registry and its own files need the token.
    server_->clear_requests();
    server_->set_faults({{.kind = Kind::kStatus, .where = Where::kFiles, .times = 1, .status = status},
                         {.kind = Kind::kUnauthorized, .token = "secret"}});
    EXPECT_TRUE(read_file(*mounted / "t-large").first == files_[10].content);
    EXPECT_TRUE(read_file(*mounted / "u-rest").first == files_[11].content);
    EXPECT_GE(count_graphql(*server_), 1U) << "the registry was asked for another URL";
    const auto requests = server_->requests();
    EXPECT_EQ(requests.back().header("authorization"), "Bearer secret");
    EXPECT_TRUE(std::ranges::all_of(requests, [&](const auto& request) {
      return "http://" + request.header("host") != first.authority() || request.header("authorization").empty();
    })) << "another server got the token";
  }
}

TEST_F(LazyFaults, ATokenThatIsRefusedIsOneLineUntilItWorksAgain) {
  server_->set_fault({.kind = Kind::kUnauthorized, .token = "secret"});
  const fs::path at = home_.path() / "mnt";
  fs::create_directory(at);
  const MountGuard guard(at);
  Process daemon({kPkgfs, "mount", "--foreground", "--lazy=on", "--background=off", "--timeout", "3", "--registry",
                  server_->endpoint(), kPackage, at},
                 {.environment = environment_with(kToken)});
  ASSERT_TRUE(eventually([&] { return find_mount(at).has_value() && fs::exists(at / "small0"); })) << daemon.err();
  EXPECT_EQ(read_file(at / "small0").first, files_[0].content);
  server_->set_fault({.kind = Kind::kUnauthorized, .token = "another"});
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(read_file(at / "t-large").second, EIO);
    EXPECT_EQ(read_file(at / "u-rest").second, EIO);
    std::this_thread::sleep_for(700ms);  // the registry is asked again meanwhile
  }
  EXPECT_EQ(read_file(at / "small0").first, files_[0].content) << "what is here stays";
  const std::string log = daemon.err();
  EXPECT_EQ(log.find("warning:"), log.rfind("warning:")) << log;
  EXPECT_NE(log.find(server_->file_url(kPackage)), std::string::npos) << log;
  EXPECT_NE(log.find("401"), std::string::npos) << log;
  server_->set_fault({.kind = Kind::kUnauthorized, .token = "secret"});
  EXPECT_TRUE(eventually([&] { return read_file(at / "t-large").first == files_[10].content; }, 10s));
  EXPECT_TRUE(read_file(at / "u-rest").first == files_[11].content);
  daemon.signal(SIGTERM);
  EXPECT_TRUE(daemon.ends_within(5s));
}

TEST_F(LazyFaults, AServerThatStandsStillHoldsUpOnlyReads) {
  const auto mounted = mount_with("cache", server_->endpoint(), {"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_file(*mounted / "small0").first, files_[0].content);
  ::kill(server_->pid(), SIGSTOP);
  {
    // A program that waits can be ended by a signal.
    Process reader({"cat", *mounted / "u-rest"});
    EXPECT_TRUE(eventually([&] { return statistics(*mounted).at("lazy").at("waiting") > 0; }));
    reader.signal(SIGKILL);
    EXPECT_TRUE(reader.ends_within(2s));
  }
  EXPECT_TRUE(shell("ls -lR '" + mounted->path().string() + "'", {.timeout = 5s}).ok());
  EXPECT_EQ(read_file(*mounted / "small0").first, files_[0].content);
  EXPECT_EQ(read_file(*mounted / "u-rest").second, EIO) << "after --timeout";
  ::kill(server_->pid(), SIGCONT);
  expect_heals(*mounted);
}

}  // namespace
}  // namespace pkgfs::test
