// SPDX-License-Identifier: MIT
// Risk: `pkgfs wait` returns too early or never, or `pkgfs pull` downloads what a lazy mount has already.
#include <signal.h>

#include <fstream>
#include <thread>

#include "tests/net/lazy_status.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;
using nlohmann::json;
using namespace std::chrono_literals;

class LazyWait : public LazyStatus {};

TEST_F(LazyWait, WaitGivesUpInTimeAndAsksSeldom) {
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 256 * 1024});
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const auto begun = std::chrono::steady_clock::now();
  const ProcessResult looked = wait_for(*mounted, {"--timeout=0"});
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 2s);
  EXPECT_EQ(looked.exit_code, 12) << looked.describe();
  EXPECT_TRUE(has(looked.err, R"(isn't complete.*\n.*lazy \d+ %: )")) << looked.describe();

  const auto asked = [&] { return statistics(*mounted).at("requests").at("getxattr").get<int>(); };
  const int before = asked();
  const auto again = std::chrono::steady_clock::now();
  EXPECT_EQ(wait_for(*mounted, {"--timeout=2.5"}).exit_code, 12);
  EXPECT_GE(std::chrono::steady_clock::now() - again, 2500ms);
  EXPECT_LT(std::chrono::steady_clock::now() - again, 6s);
  EXPECT_LE(asked() - before, 25);
  EXPECT_FALSE(fs::exists(entry_path()));

  server_->clear_faults();
  const ProcessResult done = wait_for(*mounted, {"--timeout=60"});
  EXPECT_TRUE(done.ok()) << done.describe();
  expect_right_entry();
}

TEST_F(LazyWait, WaitEndsWithTheMount) {
  const ProcessResult none = pkgfs({"wait", home_.path()});
  EXPECT_EQ(none.exit_code, 3) << none.describe();
  EXPECT_EQ(pkgfs({"wait", "/proc"}).exit_code, 2);

  const auto start = [&](const MountedPackage& mounted) {
    auto process = std::make_unique<Process>(Arguments{kPkgfs, "wait", mounted.path()},
                                             ProcessOptions{.environment = environment()});
    std::this_thread::sleep_for(400ms);
    return process;
  };
  {
    const auto mounted = mount({"--background=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    const auto waiting = start(*mounted);
    ASSERT_TRUE(mounted->unmount().ok());
    EXPECT_EQ(waiting->wait().exit_code, 3) << waiting->wait().describe();
    EXPECT_NE(waiting->err().find("--background=off"), std::string::npos) << "it says what is missing";
  }
  {
    const auto mounted = mount({"--background=off", "--keeper=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    const pid_t daemon = mounted->daemon();  // the only process with this mount point, as long as none waits
    const auto waiting = start(*mounted);
    ::kill(daemon, SIGKILL);
    EXPECT_NE(waiting->wait().exit_code, 0) << waiting->wait().describe();
    EXPECT_TRUE(waiting->wait().exit_code == 1 || waiting->wait().exit_code == 3) << waiting->wait().describe();
  }
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const auto waiting = start(*mounted);
  waiting->signal(SIGINT);
  EXPECT_TRUE(waiting->ends_within(2s));
  EXPECT_EQ(waiting->wait().exit_code, 130) << waiting->wait().describe();
}

TEST_F(LazyWait, WaitShowsALineOnATerminal) {
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 2 * kMiB});
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  if (!have_program("script")) {
    GTEST_SKIP() << "no script(1) (bsdutils)";
  }
  const ProcessResult shown = run({"script", "-qec", kPkgfs + " wait " + mounted->path().string(), "/dev/null"},
                                  {.environment = environment()});
  EXPECT_TRUE(shown.ok()) << shown.describe();
  EXPECT_TRUE(has(shown.out, mounted->path().string() + R"(: lazy \d+ %: [^;]*; [0-9.]+ [KM]iB/s)"))
      << shown.describe();
  const ProcessResult quiet = wait_for(*mounted);
  EXPECT_EQ(quiet.out + quiet.err, "");
}

TEST_F(LazyWait, PullFetchesOnlyWhatAMountHasNot) {
  leave_a_part();
  server_->clear_requests();
  const ProcessResult result = pull({"--json"});
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_LT(sent(), 3 * kMiB + 3 * kMiB / 10);
  expect_right_entry();
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
  std::vector<json> events;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    events.push_back(json::parse(line));
  }
  ASSERT_GE(events.size(), 3U) << result.describe();
  EXPECT_EQ(events.front().at("event"), "started");
  EXPECT_GT(events.front().at("bytes"), 6 * kMiB);
  EXPECT_EQ(events.front().at("total"), fs::file_size(container_));
  EXPECT_EQ(events.at(events.size() - 2).at("event"), "finished");
  EXPECT_EQ(events.at(events.size() - 2).at("bytes"), fs::file_size(container_));
  EXPECT_EQ(events.back().at("path"), entry_path().string());
}

TEST_F(LazyWait, PullCompletesAMountThatFetchesNothingItself) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_text(*mounted / "t-large").size(), 6 * kMiB);
  server_->clear_requests();
  const ProcessResult result = pull();
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("pkgfs: acme/big@1.0.0: continuing the download at 6."), std::string::npos)
      << result.describe();
  EXPECT_LT(sent(), 3 * kMiB + 3 * kMiB / 10);
  server_->stop();
  const ProcessResult waited = wait_for(*mounted, {"--timeout=20"});
  EXPECT_TRUE(waited.ok()) << waited.describe();
  EXPECT_EQ(object_of(*mounted).at("lazy").at("state"), "whole");
  EXPECT_TRUE(read_text(*mounted / "u-rest") == random_text(3 * kMiB, 101));
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(LazyWait, PullDownloadsAllWhereThePartIsOfNoUse) {
  const std::vector<Fault> faults{{.kind = Kind::kIgnoreRange, .where = Where::kFiles},
                                  {.where = Where::kFiles, .etag = Fault::Etag::kChanges}};
  for (const Fault& fault : faults) {
    leave_a_part();
    server_->set_fault(fault);
    const ProcessResult result = pull();
    EXPECT_TRUE(result.ok()) << result.describe();
    expect_right_entry();
    server_->clear_faults();
    fs::remove_all(cache());
  }
  leave_a_part();
  {
    std::fstream file(partial(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4 * kMiB);
    const char old = static_cast<char>(file.peek());
    file.seekp(4 * kMiB);
    file.put(static_cast<char>(old + 1));
  }
  const ProcessResult result = pull();
  EXPECT_TRUE(result.ok()) << result.describe();
  expect_right_entry();
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(LazyWait, PullOfAPartEndsWithTheServerAndAtASignal) {
  leave_a_part();
  {
    server_->set_fault({.kind = Kind::kStall, .where = Where::kFiles, .after = 100});
    Process process({kPkgfs, "pull", kPackage, "--registry", server_->endpoint()}, {.environment = environment()});
    std::this_thread::sleep_for(500ms);
    process.signal(SIGINT);
    EXPECT_TRUE(process.ends_within(2s));
    EXPECT_EQ(process.wait().exit_code, 130) << process.wait().describe();
  }
  EXPECT_TRUE(fs::exists(partial()));
  server_->set_fault({.kind = Kind::kStatus, .where = Where::kFiles, .status = 404});
  const auto begun = std::chrono::steady_clock::now();
  const ProcessResult failed = pull();
  EXPECT_EQ(failed.exit_code, 11) << failed.describe();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
  EXPECT_TRUE(fs::exists(partial())) << "the next attempt needs it";
  server_->clear_faults();
  server_->clear_requests();
  EXPECT_TRUE(pull().ok());
  EXPECT_LT(sent(), 4 * kMiB);
  expect_right_entry();
}

}  // namespace
}  // namespace pkgfs::test
