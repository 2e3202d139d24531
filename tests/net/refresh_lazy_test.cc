// SPDX-License-Identifier: MIT
// Risk: a lazy version that nothing uses any more goes on being fetched, or keeps descriptors, connections or threads;
// or a package at a URL is taken for the same although its server has another file there, or the other way round.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/net/lazy_url.h"
#include "tests/net/refresh.h"

namespace pkgfs::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Where = Fault::Where;

class RefreshLazy : public RefreshTest {
 protected:
  /// Makes and publishes version "2.0.N", of 6 MiB.
  void publish_large(int number) {
    PackageBuilder builder("acme/app@" + version(number));
    builder.file("root", "version", version(number));
    builder.file("root", "large", std::string(6U << 20U, static_cast<char>('a' + number))).mount("/", "root");
    const fs::path path = home_.path() / (version(number) + ".webc");
    builder.write(path);
    server_.add_package(path, "acme/app", version(number));
  }
  [[nodiscard]] fs::path partial(int number) const {
    return checkouts() / "__temp__" / (server_.sha256("acme/app@" + version(number)) + ".lazy");
  }
  [[nodiscard]] static long open_files(const MountedPackage& mounted, const std::string& part = {}) {
    long count = 0;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(mounted.daemon()) + "/fd", failed)) {
      count += fs::read_symlink(entry.path(), failed).string().find(part) != std::string::npos ? 1 : 0;
    }
    return count;
  }
};

TEST_F(RefreshLazy, DescriptorsAndThreadsStayTheSame) {
  server_.set_fault({.where = Where::kFiles, .latency_ms = 30});
  const auto mounted = mount({"--follow=1h", "--lazy=on"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const auto threads = [&] {
    return std::distance(fs::directory_iterator("/proc/" + std::to_string(mounted->daemon()) + "/task"), {});
  };
  const auto rounds = [&](int from, int to) {
    for (int number = from; number < to; ++number) {
      publish(number);
      ASSERT_TRUE(refresh(*mounted).ok());
      EXPECT_EQ(read_text(*mounted / "data/7"), version(number) + "\n");
    }
    ASSERT_TRUE(has_open(*mounted, 1)) << versions(*mounted);
  };
  rounds(2, 5);
  const long descriptors = open_files(*mounted);
  const auto before = threads();
  rounds(5, 15);
  EXPECT_TRUE(eventually([&] { return open_files(*mounted) <= descriptors + 4; })) << open_files(*mounted);
  EXPECT_TRUE(eventually([&] { return threads() <= before + 4; })) << threads();
}

TEST_F(RefreshLazy, AClosedVersionIsFetchedNoMore) {
  publish_large(2);
  const auto mounted = mount({"--follow=1h", "--lazy=on", "--background=256K"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  for (const int large : {2, 4}) {  // the version with which the mount began, and one that came later
    if (large != 2) {
      publish_large(large);
      ASSERT_TRUE(refresh(*mounted).ok());
    }
    const std::string key = partial(large).filename();
    ASSERT_TRUE(eventually([&] { return open_files(*mounted, key) > 0; })) << key;
    publish(large + 1);
    ASSERT_TRUE(refresh(*mounted).ok());
    ASSERT_TRUE(has_open(*mounted, 1)) << versions(*mounted);
    EXPECT_TRUE(eventually([&] { return open_files(*mounted, key) == 0; }, 3s)) << open_files(*mounted, key);
    EXPECT_TRUE(fs::exists(partial(large))) << "the next mount can use what came";
    const auto sent = [&] {
      std::uint64_t sum = 0;
      for (const auto& request : server_.requests()) {
        sum += request.path.find(server_.sha256("acme/app@" + version(large))) != std::string::npos ? request.sent : 0;
      }
      return sum;
    };
    const std::uint64_t before = sent();
    std::this_thread::sleep_for(1s);
    EXPECT_EQ(sent(), before);
    EXPECT_EQ(shown(*mounted), version(large + 1));
  }
}

TEST_F(RefreshLazy, TheKernelReadsAheadAsSuitsTheVersionThatIsShown) {
  server_.set_fault({.kind = Fault::Kind::kPlain, .where = Where::kFiles, .rate = 1U << 20U});
  publish_large(2);
  const auto mounted = mount({"--follow=1h", "--lazy=on", "--read-ahead=256"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  struct stat status{};
  ASSERT_EQ(::stat(mounted->path().c_str(), &status), 0);
  const fs::path setting = "/sys/class/bdi/" + std::to_string(major(status.st_dev)) + ":" +
                           std::to_string(minor(status.st_dev)) + "/read_ahead_kb";
  if (::access(setting.c_str(), W_OK) != 0) {
    GTEST_SKIP() << "only root may set it";
  }
  const auto is = [&](const char* kib) {
    return eventually([&] { return read_text(setting) == std::string(kib) + "\n"; }, 15s);
  };
  EXPECT_TRUE(is("64"));
  publish_large(3);
  ASSERT_TRUE(refresh(*mounted).ok());
  ASSERT_TRUE(has_open(*mounted, 1)) << versions(*mounted);
  EXPECT_TRUE(is("64"));
  server_.clear_faults();
  EXPECT_TRUE(is("256")) << "the version is complete";
  server_.set_fault({.kind = Fault::Kind::kPlain, .where = Where::kFiles, .rate = 1U << 20U});
  publish_large(4);
  ASSERT_TRUE(refresh(*mounted).ok());
  EXPECT_TRUE(is("64"));
}

/// A mount of a package that is named by its URL.
class RefreshUrl : public LazyUrl {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !IsSkipped() && !why.empty()) {
      GTEST_SKIP() << why;
    }
    if (!IsSkipped()) {
      serve(kMiB);
    }
  }
  /// A mount that isn't made to be refreshed.
  [[nodiscard]] std::unique_ptr<MountedPackage> mount_plain(Arguments options) const {
    options.insert(options.begin(), {"--timeout", "2"});
    return std::make_unique<MountedPackage>(kPkgfs, url_, options, ProcessOptions{.environment = environment()});
  }
  [[nodiscard]] std::unique_ptr<MountedPackage> mount(Arguments options) const {
    options.emplace_back("--follow=1h");
    return mount_plain(std::move(options));
  }
  static void kill_daemon(const MountedPackage& mounted) {
    nlohmann::json now;
    ASSERT_TRUE(eventually([&] { return (now = statistics(mounted)).contains("keeper"); })) << now;
    const auto daemon = now.value("pid", 0);
    ASSERT_GT(daemon, 1);
    ::kill(daemon, SIGKILL);
    ASSERT_TRUE(eventually([&] {
      now = statistics(mounted);
      return now.contains("keeper") && now.value("pid", daemon) != daemon;
    })) << now;
  }
  [[nodiscard]] ProcessResult refresh(const MountedPackage& mounted) const {
    return pkgfs({"refresh", mounted.path()});
  }
  void expect_the_same(const MountedPackage& mounted) const {
    const ProcessResult same = refresh(mounted);
    EXPECT_TRUE(same.ok()) << same.describe();
    EXPECT_NE(same.out.find("is up to date"), std::string::npos) << same.out;
  }
  void expect_another(const MountedPackage& mounted) {
    replace(kMiB + 4096);
    const ProcessResult done = refresh(mounted);
    EXPECT_TRUE(done.ok()) << done.describe();
    EXPECT_TRUE(fs::exists(mounted / "a-new")) << done.out;
    EXPECT_TRUE(read_text(mounted / name_of(3)) == content_of(3, 7));
    expect_the_same(mounted);
  }
};

TEST_F(RefreshUrl, AnotherFileAtTheServerIsShown) {
  for (const Arguments& options : {Arguments{"--lazy=on", "--background=off"}, Arguments{"--lazy=off"}}) {
    fs::remove_all(cache());
    serve(kMiB);
    const auto mounted = mount(options);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3));
    expect_the_same(*mounted);
    server_->stop();
    const ProcessResult failed = refresh(*mounted);
    EXPECT_FALSE(failed.ok()) << "the server can't be asked: " << failed.out;
    server_->start();
    expect_another(*mounted);
  }
}

TEST_F(RefreshUrl, ACompletePackageIsTheSame) {
  const auto mounted = mount({"--lazy=on"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  ASSERT_TRUE(eventually([&] { return fs::exists(url_entry().string() + ".etag"); }, 15s));
  expect_the_same(*mounted);
  expect_another(*mounted);
}

TEST_F(RefreshUrl, WithoutAnETagTheHashDecides) {
  server_->set_fault({.where = Where::kFiles, .etag = Fault::Etag::kNone});
  const auto mounted = mount({"--lazy=on"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_the_same(*mounted);
  expect_another(*mounted);
}

TEST_F(RefreshUrl, TheNextDaemonKnowsTheVersion) {
  for (const bool is_plain : {true, false}) {
    for (const Arguments& options :
         {Arguments{"--lazy=off"}, Arguments{"--lazy=on", "--background=off"}, Arguments{"--lazy=on"}}) {
      SCOPED_TRACE(options.back() + (is_plain ? ", plain" : ""));
      fs::remove_all(cache());
      serve(kMiB);
      const auto mounted = is_plain ? mount_plain(options) : mount(options);
      ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
      kill_daemon(*mounted);
      ASSERT_FALSE(HasFatalFailure());
      expect_the_same(*mounted);
      EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3));
      EXPECT_EQ(statistics(*mounted).value("versions", nlohmann::json()).value("open", 1), 1);
      expect_another(*mounted);
      kill_daemon(*mounted);
      ASSERT_FALSE(HasFatalFailure());
      EXPECT_TRUE(fs::exists(*mounted / "a-new"));
      EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3, 7));
      expect_the_same(*mounted);
    }
  }
}

TEST_F(RefreshUrl, TheNextDaemonGoesOnWithTheSameVersion) {
  const auto mounted = mount_plain({"--lazy=on", "--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3));
  server_->stop();
  kill_daemon(*mounted);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3));
  replace(kMiB + 4096);
  server_->start();
  kill_daemon(*mounted);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3));
  EXPECT_FALSE(run({"cat", *mounted / "zz-large"}, {.timeout = 10s}).ok()) << "bytes of two versions are mixed";
  const ProcessResult done = refresh(*mounted);
  EXPECT_TRUE(done.ok()) << done.describe();
  EXPECT_TRUE(read_text(*mounted / name_of(3)) == content_of(3, 7));
}

TEST_F(RefreshUrl, WhatCameStaysIfTheServerSendsNoRangesForAMoment) {
  const auto mounted = mount({"--lazy=on", "--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  server_->set_fault({.kind = Fault::Kind::kIgnoreRange, .where = Where::kFiles});
  expect_the_same(*mounted);
  EXPECT_TRUE(fs::exists(partial())) << "the server has the same version";
  server_->clear_faults();
  expect_another(*mounted);
}

}  // namespace
}  // namespace pkgfs::test
