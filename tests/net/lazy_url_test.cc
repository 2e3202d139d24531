// SPDX-License-Identifier: MIT
// Risk: a package that is named by a URL and read in parts shows two versions of the file at once, an old one, or
// wrong bytes; or it isn't kept as a download would be.
#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/net/lazy_url.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;
using namespace std::chrono_literals;

constexpr std::size_t kLarge = std::size_t{12} << 20U;

class LazyUrlTest : public LazyUrl {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    if (!IsSkipped()) {
      serve(kLarge);
    }
  }

  [[nodiscard]] std::unique_ptr<MountedPackage> mount(Arguments options = {}) const {
    options.insert(options.begin(), {"--lazy=auto", "--timeout", "3"});
    return std::make_unique<MountedPackage>(kPkgfs, url_, options, ProcessOptions{.environment = environment()});
  }
  [[nodiscard]] bool becomes_whole() const {
    return eventually([&] { return fs::exists(url_entry().string() + ".etag") && litter().empty(); }, 15s);
  }
  static int read_error(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char byte = 0;
    return !fd || ::pread(fd.get(), &byte, 1, 0) < 0 ? errno : 0;
  }
  static void expect_all_right(const MountedPackage& mount, unsigned seed = 0) {
    for (std::size_t i = 0; i < kSmallFiles; ++i) {
      ASSERT_EQ(read_text(mount / name_of(i)), content_of(i, seed)) << name_of(i);
    }
    EXPECT_TRUE(read_text(mount / "zz-large") == noise(kLarge, 1000 + seed));
  }
};

TEST_F(LazyUrlTest, MountsWithoutADownload) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_text(*mounted / name_of(21)), content_of(21));
  EXPECT_LT(sent(), 1 * kMiB);
  EXPECT_TRUE(fs::exists(partial()));
  EXPECT_FALSE(fs::exists(url_entry()));
  expect_all_right(*mounted);
}

TEST_F(LazyUrlTest, IsKeptAsADownloadWouldBe) {
  {
    const auto mounted = mount();
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    ASSERT_TRUE(becomes_whole()) << ::testing::PrintToString(litter());
    EXPECT_EQ(read_text(url_entry()), read_text(package_));
    EXPECT_LT(sent(), fs::file_size(package_) * 21 / 20);
    server_->stop();
    expect_all_right(*mounted);
  }
  server_->start();
  server_->clear_requests();
  {
    const auto again = mount();
    ASSERT_TRUE(again->ok()) << again->result().describe();
    EXPECT_TRUE(server_->requests().empty()) << "it was confirmed a moment ago";
    expect_all_right(*again);
  }
  make_old();
  {
    const auto checked = mount();
    ASSERT_TRUE(checked->ok()) << checked->result().describe();
    ASSERT_EQ(server_->requests().size(), 1U);
    EXPECT_EQ(server_->requests()[0].status, 304);
    EXPECT_EQ(sent(), 0U);
    expect_all_right(*checked);
  }
  server_->clear_requests();
  EXPECT_TRUE(pkgfs({"ls", url_}).ok());
  EXPECT_TRUE(server_->requests().empty()) << "the check counts for a command without --lazy, too";
}

TEST_F(LazyUrlTest, ALockFileStatesItsHash) {
  const std::string lock = (home_.path() / "app.lock").string();
  const ProcessResult resolved = pkgfs({"resolve", "--lock", lock, url_});
  ASSERT_TRUE(resolved.ok()) << resolved.describe();
  EXPECT_EQ(read_json(lock).at("packages")[0].at("sha256"), to_hex(pkgfs::sha256(read_text(package_))));
  EXPECT_TRUE(pkgfs({"tree", "--lock", lock, url_}).ok());
}

TEST_F(LazyUrlTest, AChangedFileReplacesTheCopyInTheCache) {
  ASSERT_TRUE(pkgfs({"ls", "--lazy=off", url_}).ok());
  ASSERT_TRUE(fs::exists(url_entry()));
  make_old();
  replace(kLarge);
  server_->clear_requests();
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_text(*mounted / "a-new"), "new");
  EXPECT_LT(sent(), 1 * kMiB) << "the new version is read in parts, too";
  EXPECT_NE(read_text(url_entry()), read_text(package_));
  expect_all_right(*mounted, 7);
  EXPECT_TRUE(eventually([&] { return read_text(url_entry()) == read_text(package_); }, 15s));
  EXPECT_TRUE(becomes_whole()) << ::testing::PrintToString(litter());
}

TEST_F(LazyUrlTest, AChangeBetweenTwoCommandsBeginsAnew) {
  const Arguments words{"cat", "--lazy=on", url_, "/" + name_of(3)};
  EXPECT_EQ(pkgfs(words).out, content_of(3));
  EXPECT_LT(sent(), 1 * kMiB);
  server_->clear_requests();
  EXPECT_EQ(pkgfs(words).out, content_of(3));
  EXPECT_LT(sent(), 100U << 10U) << "it goes on with what is here";
  replace(kLarge);
  EXPECT_EQ(pkgfs(words).out, content_of(3, 7));
  EXPECT_TRUE(fs::exists(partial()));
  server_->clear_requests();  // nginx begins to send the new file whole when it is asked for a part of the old one
  EXPECT_EQ(pkgfs({"cat", "--lazy=on", url_, "/a-new"}).out, "new");
  EXPECT_LT(sent(), 1 * kMiB);
}

TEST_F(LazyUrlTest, AChangeDuringAMountFailsReadsWithOneLine) {
  const fs::path at = home_.path() / "mnt";
  fs::create_directory(at);
  const MountGuard guard(at);
  Process daemon({kPkgfs, "mount", "--foreground", "--lazy=on", "--background=off", "--timeout", "3", url_, at},
                 {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return find_mount(at).has_value() && fs::exists(at / name_of(0)); })) << daemon.err();
  EXPECT_EQ(read_text(at / name_of(0)), content_of(0));
  replace(kLarge);
  for (const std::size_t i : {20U, 30U, 39U}) {
    EXPECT_EQ(read_error(at / name_of(i)), EIO);
  }
  EXPECT_EQ(read_error(at / "zz-large"), EIO);
  EXPECT_EQ(read_text(at / name_of(0)), content_of(0)) << "what is here stays";
  const std::string log = daemon.err();
  EXPECT_EQ(log.find("warning:"), log.rfind("warning:")) << log;
  EXPECT_NE(log.find(url_), std::string::npos) << log;
  EXPECT_NE(log.find("another version"), std::string::npos) << log;

  const auto other = mount({"--background=off"});  // while the old one is there
  ASSERT_TRUE(other->ok()) << other->result().describe();
  expect_all_right(*other, 7);
  daemon.signal(SIGTERM);
  EXPECT_TRUE(daemon.ends_within(5s));
}

TEST_F(LazyUrlTest, ServersThatCannotSendPartsAreDownloadedFrom) {
  expect_download_without_parts(
      *server_, url_entry(), [&] { return mount(); },
      [&](const MountedPackage& mounted) { expect_all_right(mounted); });
}

TEST_F(LazyUrlTest, AnOldCopyDoesntKeepALockedVersionFromBeingLazy) {
  ASSERT_TRUE(pkgfs({"pull", url_}).ok());
  replace(kLarge);
  const std::string lock = home_.path() / "url.lock";
  const ProcessResult locked = pkgfs({"resolve", "--lock", lock, "--cache-dir", home_.path() / "other", url_});
  ASSERT_TRUE(locked.ok()) << locked.describe();
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t before = sent();
    const auto mounted = mount({"--lock", lock, "--background=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_EQ(read_text(*mounted / name_of(5)), content_of(5, 7));
    EXPECT_LT(sent() - before, 1 * kMiB);
  }
  EXPECT_TRUE(fs::exists(url_entry().string() + ".sha256")) << "else the copy is hashed for each mount";
  fs::remove_all(cache());
  ASSERT_TRUE(pkgfs({"pull", url_}).ok());
  server_->stop();
  const auto mounted = mount({"--lock", lock});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_all_right(*mounted, 7);
}

TEST_F(LazyUrlTest, ASmallPackageIsDownloaded) {
  replace(1 * kMiB);
  EXPECT_TRUE(pkgfs({"ls", "--lazy=auto", url_}).ok());
  EXPECT_TRUE(fs::exists(url_entry()));
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(LazyUrlTest, TwoMountsShareWhatTheyFetch) {
  const auto one = mount();
  const auto two = mount();
  ASSERT_TRUE(one->ok() && two->ok()) << two->result().describe();
  ASSERT_TRUE(becomes_whole()) << ::testing::PrintToString(litter());
  EXPECT_TRUE(eventually([&] { return !fs::exists(partial()); }));
  EXPECT_LT(sent(), fs::file_size(package_) * 11 / 10);
  expect_all_right(*one);
  expect_all_right(*two);
}

TEST_F(LazyUrlTest, PullExtractAndVerifyCompleteWhatIsHere) {
  const fs::path target = home_.path() / "out";
  for (const Arguments& words : {Arguments{"pull", url_}, Arguments{"verify", "--lazy=on", url_},
                                 Arguments{"extract", "--lazy=on", url_, target}}) {
    EXPECT_EQ(pkgfs({"cat", "--lazy=on", url_, "/" + name_of(3)}).out, content_of(3));
    ASSERT_TRUE(fs::exists(partial()));
    server_->clear_requests();
    const ProcessResult result = pkgfs(words);
    EXPECT_TRUE(result.ok()) << result.describe();
    EXPECT_EQ(read_text(url_entry()), read_text(package_));
    EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
    EXPECT_LT(sent(), fs::file_size(package_)) << "a part was here";
    fs::remove_all(cache());
  }
  EXPECT_TRUE(read_text(target / "zz-large") == noise(kLarge, 1000));
}

TEST_F(LazyUrlTest, ExtractOfANameIsCheckedBeforeItIsWritten) {
  server_->set_fault({.kind = Kind::kWrongHash, .where = Where::kGraphql});
  const fs::path target = home_.path() / "out";
  const ProcessResult result =
      pkgfs({"extract", "--lazy=on", "--registry", server_->endpoint(), "acme/big@1.0.0", target});
  EXPECT_EQ(result.exit_code, 4) << result.describe();
  EXPECT_FALSE(fs::exists(target));
}

TEST_F(LazyUrlTest, TheCacheKnowsThePart) {
  ASSERT_TRUE(pkgfs({"ls", "--lazy=on", url_}).ok());
  const nlohmann::json list = nlohmann::json::parse(pkgfs({"cache", "list", "--json"}).out);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["kind"], "url");
  EXPECT_EQ(list[0]["partial"]["whole_size"], fs::file_size(package_));
  EXPECT_TRUE(pkgfs({"cache", "prune"}).ok());
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

TEST_F(LazyUrlTest, ADependencyThatIsNamedByAUrlIsLazyToo) {
  PackageBuilder builder("acme/app@1.0.0");
  builder.file("own", "file", noise(6 * kMiB, 5)).mount("/own", "own");
  builder.use("big", url_).mount("/big", "data", "big");
  const fs::path path = home_.path() / "app.webc";
  builder.write(path);
  server_->add_package(path);
  const std::string app = server_->file_url("acme/app@1.0.0");
  const ProcessResult result = pkgfs({"cat", "--lazy=on", app, "/big/" + name_of(9)});
  EXPECT_EQ(result.out, content_of(9)) << result.describe();
  EXPECT_LT(sent(), 1 * kMiB);
  EXPECT_FALSE(fs::exists(url_entry()));
}

TEST_F(LazyUrlTest, APackageWithoutANameIsDownloaded) {  // its id is the hash of all of its bytes
  fs::copy_file(fixtures() / "webc/id-none-v3.webc", package_, fs::copy_options::overwrite_existing);
  const ProcessResult result = pkgfs({"tree", "--lazy=on", url_});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(fs::exists(url_entry()));
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
}

}  // namespace
}  // namespace pkgfs::test
