// SPDX-License-Identifier: MIT
// Risk: a slow package makes an engine wait until it gives up, and then the plugin still does the work of that request.
#include "tests/containers/plugin.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

class PluginSlow : public PluginTest {
 protected:
  void SetUp() override {
    PluginTest::SetUp();
    if (!IsSkipped()) {
      registry_ = std::make_unique<TestRegistry>(std::vector{chain_});
      options_ = {{"package", "acme/app"}, {"registry", registry_->endpoint()}};
    }
  }
  /// Downloads answer so much later.
  void slow_down(int milliseconds) {
    registry_->set_fault({.where = Fault::Where::kFiles, .latency_ms = milliseconds});
  }

  /// Makes `options_` those of a package with a file of `size` bytes. Returns the path of its entry in the cache.
  fs::path add_package_of(std::size_t size) {
    PackageBuilder builder("demo/large@1.0.0");
    builder.file("v", "a", "text").file("v", "z", std::string(size, 'z')).mount("/", "v");
    registry_->add_package(builder.publish(home_.path()));
    options_["package"] = "demo/large";
    return entry(registry_->sha256("demo/large@1.0.0"));
  }

  static std::vector<pid_t> downloads_of(const Plugin& plugin, const std::string& volume) {
    return processes_with("--lock=" + (plugin.state() / "packages" / (volume + ".lock.new")).string());
  }

  std::unique_ptr<TestRegistry> registry_;
  Json options_;
};

TEST_F(PluginSlow, EnginesAreToldInTimeAndFindItReadyLater) {
  Plugin plugin(environment(), {"--mount-wait=1"});
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  slow_down(4000);
  const auto begin = Clock::now();
  EXPECT_EQ(plugin.create("x", options_), "");
  EXPECT_LT(Clock::now() - begin, seconds(2));
  EXPECT_EQ(plugin.status("x")["state"], "resolving");
  const auto asked = Clock::now();
  const std::string error = plugin.mount("x");
  EXPECT_LT(Clock::now() - asked, seconds(2));
  EXPECT_EQ(error, "volume \"x\": still resolving and downloading \"acme/app\"; that goes on, try again in a moment");
  EXPECT_EQ(plugin.status("x")["users"], 0);
  ASSERT_TRUE(plugin.reaches_state("x", "ready")) << plugin.status("x").dump() << plugin.process().err();
  EXPECT_EQ(plugin.mount("x"), "");
  EXPECT_TRUE(fs::exists(plugin.mountpoint("x") / "app"));
}

TEST_F(PluginSlow, ALargePackageIsMountedBeforeItIsDownloaded) {
  constexpr std::size_t kLarge = std::size_t{24} << 20U;
  const fs::path complete = add_package_of(kLarge);
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  registry_->set_fault({.where = Fault::Where::kFiles, .rate = 2U << 20U});  // twelve seconds for all of it
  const auto begin = Clock::now();
  ASSERT_EQ(plugin.create("x", options_), "");
  EXPECT_EQ(plugin.status("x")["state"], "ready");
  EXPECT_EQ(plugin.mount("x"), "");
  EXPECT_EQ(read_text(plugin.mountpoint("x") / "a"), "text");
  EXPECT_LT(Clock::now() - begin, seconds(6));
  EXPECT_FALSE(fs::exists(complete));
  registry_->clear_faults();
  EXPECT_TRUE(eventually([&] { return fs::exists(complete); }, seconds(20))) << "the background fetches the rest";
  EXPECT_TRUE(read_text(plugin.mountpoint("x") / "z") == std::string(kLarge, 'z'));
}

TEST_F(PluginSlow, WhatCannotBeLazyIsDownloadedWhenTheVolumeIsCreated) {
  const fs::path complete = add_package_of(std::size_t{6} << 20U);
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  Json off = options_;
  off["lazy"] = "off";
  ASSERT_EQ(plugin.create("x", off), "");
  ASSERT_TRUE(plugin.reaches_state("x", "ready"));
  EXPECT_TRUE(fs::exists(complete));
  fs::remove(complete);
  registry_->set_fault({.kind = Fault::Kind::kIgnoreRange, .where = Fault::Where::kFiles});
  ASSERT_EQ(plugin.create("y", options_), "");
  ASSERT_TRUE(plugin.reaches_state("y", "ready"));
  EXPECT_TRUE(fs::exists(complete));
  registry_->stop();
  EXPECT_EQ(plugin.mount("y"), "");
}

TEST_F(PluginSlow, ARegistryThatIsDownIsNoReasonToForgetTheVolume) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  registry_->stop();
  EXPECT_EQ(plugin.create("x", options_), "");
  const std::string error = plugin.mount("x");
  EXPECT_NE(error.find("volume \"x\": "), std::string::npos) << error;
  EXPECT_NE(error.find(registry_->endpoint()), std::string::npos) << error;
  EXPECT_EQ(plugin.status("x")["state"], "failed");
  EXPECT_NE(plugin.status("x")["error"].get<std::string>().find(registry_->endpoint()), std::string::npos);
  registry_->start();
  EXPECT_EQ(plugin.mount("x"), "");
  EXPECT_FALSE(plugin.status("x").contains("error"));
}

TEST_F(PluginSlow, AReadyVolumeNeedsNoRegistryAndStaysWhatItWas) {
  Plugin plugin(environment(), {"--keep=0"});
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  TempDir directory;
  registry_->add_package(
      PackageBuilder("demo/text@1.0.0").file("v", "a", "old").mount("/", "v").publish(directory.path()));
  options_["package"] = "demo/text";
  ASSERT_EQ(plugin.create("x", options_), "");
  ASSERT_TRUE(plugin.reaches_state("x", "ready"));
  registry_->add_package(
      PackageBuilder("demo/text@2.0.0").file("v", "a", "new").mount("/", "v").publish(directory.path()));
  fs::remove_all(cache() / "queries");
  registry_->stop();
  ASSERT_EQ(plugin.mount("x"), "");
  EXPECT_EQ(read_text(plugin.mountpoint("x") / "a"), "old");
  registry_->start();
  ASSERT_EQ(plugin.create("y", options_), "");
  ASSERT_EQ(plugin.mount("y"), "");
  EXPECT_EQ(read_text(plugin.mountpoint("y") / "a"), "new") << "a volume made later";
  EXPECT_EQ(plugin.status("x")["resolved"], "demo/text@1.0.0");
  EXPECT_EQ(plugin.status("y")["resolved"], "demo/text@2.0.0");
  // The cache may be emptied: it is fetched again, and still the same.
  ASSERT_EQ(plugin.unmount("x"), "");
  ASSERT_TRUE(eventually([&] { return !plugin.is_mounted("x"); }));
  fs::remove_all(cache());
  ASSERT_EQ(plugin.mount("x"), "");
  EXPECT_EQ(read_text(plugin.mountpoint("x") / "a"), "old");
}

TEST_F(PluginSlow, RemovingAVolumeEndsItsDownload) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  slow_down(30000);
  ASSERT_EQ(plugin.create("x", options_), "");
  ASSERT_EQ(downloads_of(plugin, "x").size(), 1U);
  const auto begin = Clock::now();
  EXPECT_EQ(plugin.remove("x"), "");
  EXPECT_LT(Clock::now() - begin, seconds(3));
  EXPECT_TRUE(downloads_of(plugin, "x").empty());
  EXPECT_TRUE(fs::is_empty(plugin.state() / "packages"));
}

TEST_F(PluginSlow, ADownloadEndsWithThePluginAndIsBegunAgain) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  slow_down(30000);
  ASSERT_EQ(plugin.create("x", options_), "");
  ASSERT_EQ(downloads_of(plugin, "x").size(), 1U);
  plugin.kill();
  EXPECT_TRUE(eventually([&] { return downloads_of(plugin, "x").empty(); }));
  registry_->clear_faults();
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  ASSERT_TRUE(plugin.reaches_state("x", "ready"));
  EXPECT_EQ(plugin.mount("x"), "");
}

TEST_F(PluginSlow, StoppingDoesNotWaitForADownload) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  slow_down(30000);
  ASSERT_EQ(plugin.create("x", options_), "");
  const RawClient waiting(plugin.socket());
  const std::string body = R"({"Name":"x","ID":"1"})";
  ASSERT_TRUE(waiting.send("POST /VolumeDriver.Mount HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                           std::to_string(body.size()) + "\r\n\r\n" + body));
  sleep_ms(200);
  const auto begin = Clock::now();
  const ProcessResult ended = plugin.stop();
  EXPECT_TRUE(ended.ok()) << ended.describe();
  EXPECT_LT(Clock::now() - begin, seconds(3));
  EXPECT_NE(waiting.read(seconds(1)).find("is being stopped"), std::string::npos);
  EXPECT_TRUE(downloads_of(plugin, "x").empty());
}

TEST_F(PluginSlow, AMountWhoseEngineIsGoneHasNoUser) {
  Plugin plugin(environment(), {"--keep=1"});
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  slow_down(3000);
  ASSERT_EQ(plugin.create("x", options_), "");
  RawClient leaving(plugin.socket());
  const std::string body = R"({"Name":"x","ID":"1"})";
  ASSERT_TRUE(leaving.send("POST /VolumeDriver.Mount HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                           std::to_string(body.size()) + "\r\n\r\n" + body));
  sleep_ms(200);
  leaving.close();
  ASSERT_TRUE(plugin.reaches_state("x", "mounted")) << plugin.process().err();
  EXPECT_TRUE(eventually([&] { return plugin.status("x")["users"] == 0; }));
  EXPECT_TRUE(eventually([&] { return !plugin.is_mounted("x"); })) << "an orphan";
}

}  // namespace
}  // namespace pkgfs::test
