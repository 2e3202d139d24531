// SPDX-License-Identifier: MIT
// Risk: a pod gets another tree than it asked for, or none without a reason; a mount or a process stays on the node.
#include <sys/mount.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/csi/driver.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using grpc::StatusCode;

class CsiPublish : public DriverTest {
 protected:
  void expect_refused(const ::csi::v1::NodePublishVolumeRequest& request, StatusCode code, const std::string& part) {
    const grpc::Status status = driver_.publish(request);
    EXPECT_EQ(status.error_code(), code) << describe(status);
    EXPECT_NE(status.error_message().find(part), std::string::npos) << describe(status);
    EXPECT_FALSE(find_mount(request.target_path()));
  }
  void expect_refused(const Attributes& attributes, StatusCode code, const std::string& part) {
    expect_refused(driver_.request("refused", attributes), code, part);
  }

  Driver driver_{environment(), with_fixtures()};
};

TEST_F(CsiPublish, TwoPodsShareOneMountAndSeeThePackage) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  for (const char* pod : {"a", "b", "a"}) {  // the last is a repetition
    const grpc::Status status = driver_.publish(pod, local("acme/app"));
    ASSERT_TRUE(status.ok()) << describe(status);
  }
  EXPECT_EQ(driver_.mounted().size(), 1U);
  EXPECT_EQ(driver_.daemons().size(), 1U);
  const Tree shown = list_tree(driver_.target("a"));
  EXPECT_GT(shown.size(), 2U);
  EXPECT_EQ(list_tree(driver_.target("b")), shown);
  EXPECT_EQ(list_tree(driver_.mounted().front()), shown);
  std::ofstream written(driver_.target("a") / "new");
  EXPECT_FALSE(written.is_open()) << "read-only";

  ::csi::v1::NodeGetVolumeStatsResponse stats;
  ASSERT_TRUE(driver_.stats("a", stats).ok());
  EXPECT_FALSE(stats.volume_condition().abnormal()) << stats.volume_condition().message();
  ASSERT_EQ(stats.usage_size(), 2);
  EXPECT_GT(stats.usage(0).total(), 0);
  EXPECT_EQ(stats.usage(0).available(), 0);

  ASSERT_TRUE(driver_.unpublish("a").ok());
  EXPECT_FALSE(fs::exists(driver_.target("a")));
  EXPECT_EQ(list_tree(driver_.target("b")), shown) << "the other pod goes on";
  ASSERT_TRUE(driver_.unpublish("a").ok()) << "once more";
  ASSERT_TRUE(driver_.unpublish("b").ok());
  EXPECT_TRUE(eventually([&] { return driver_.mounted().empty() && driver_.daemons().empty(); }));
  EXPECT_TRUE(eventually([&] { return fs::is_empty(driver_.mounts()); }));
  EXPECT_EQ(driver_.stats("a", stats).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(CsiPublish, OtherOptionsAreAnotherMount) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(driver_.publish("a", local("acme/app")).ok());
  Attributes other = local("acme/app");
  other["commandsDir"] = "/cmds";
  ASSERT_TRUE(driver_.publish("b", other).ok());
  EXPECT_EQ(driver_.mounted().size(), 2U);
  const grpc::Status status = driver_.publish("a", other);
  EXPECT_EQ(status.error_code(), StatusCode::ALREADY_EXISTS) << describe(status);
  EXPECT_TRUE(driver_.is_shown("a"));
}

TEST_F(CsiPublish, ASubPathIsADirectoryOfThePackage) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  Attributes attributes = local("acme/app");
  attributes["subPath"] = "app";
  ASSERT_TRUE(driver_.publish("all", local("acme/app")).ok());
  ASSERT_TRUE(driver_.publish("part", attributes).ok());
  EXPECT_EQ(driver_.mounted().size(), 1U) << "it is the same mount";
  EXPECT_EQ(list_tree(driver_.target("part")), list_tree(driver_.target("all") / "app"));
  for (const auto& [path, part] : std::map<std::string, std::string>{
           {"none", "no directory"}, {"app/main.txt", "no directory"}, {"../..", "isn't a directory"}}) {
    attributes["subPath"] = path;
    expect_refused(attributes, StatusCode::INVALID_ARGUMENT, part);
  }
}

TEST_F(CsiPublish, WrongRequestsAreRefusedWithTheirReason) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  Attributes attributes = local("acme/app");
  attributes["colour"] = "red";
  expect_refused(attributes, StatusCode::INVALID_ARGUMENT, "\"colour\"");
  attributes = local("acme/app");
  attributes["writable"] = "true";
  expect_refused(attributes, StatusCode::FAILED_PRECONDITION, "emptyDir");
  expect_refused(Attributes{}, StatusCode::INVALID_ARGUMENT, "\"package\"");
  expect_refused(local("acme/none"), StatusCode::NOT_FOUND, "acme/none");
  expect_refused(local("acme/app@^99"), StatusCode::NOT_FOUND, "acme/app");
  expect_refused(Attributes{{"package", "/etc"}}, StatusCode::INVALID_ARGUMENT, "--local-root");
  expect_refused(Attributes{{"package", "acme/app"}, {"registry", fixtures() / "../../../etc"}},
                 StatusCode::INVALID_ARGUMENT, "--local-root");
  attributes = local("acme/app");
  attributes["lock"] = "/etc/passwd";
  expect_refused(attributes, StatusCode::INVALID_ARGUMENT, "--local-root");
  attributes["lock"] = "{\"not\": \"a lock\"}";
  const grpc::Status status = driver_.publish("refused", attributes);
  EXPECT_FALSE(status.ok());

  auto request = driver_.request("refused", local("acme/app"));
  request.mutable_volume_capability()->mutable_access_mode()->set_mode(
      ::csi::v1::VolumeCapability::AccessMode::MULTI_NODE_MULTI_WRITER);
  expect_refused(request, StatusCode::INVALID_ARGUMENT, "ReadOnlyMany");
  request = driver_.request("refused", local("acme/app"));
  request.mutable_volume_capability()->mutable_mount()->add_mount_flags("suid");
  expect_refused(request, StatusCode::INVALID_ARGUMENT, "suid");
  request = driver_.request("refused", local("acme/app"));
  request.mutable_volume_capability()->mutable_block();
  expect_refused(request, StatusCode::INVALID_ARGUMENT, "block");
  request = driver_.request("refused", local("acme/app"));
  request.set_target_path("relative");
  expect_refused(request, StatusCode::INVALID_ARGUMENT, "absolute");
  request.set_target_path(driver_.target("none/below"));
  expect_refused(request, StatusCode::NOT_FOUND, "none");
  EXPECT_TRUE(eventually([&] { return driver_.mounted().empty(); }));
}

TEST_F(CsiPublish, ALockFileNamesNoFileOfTheNodeAndGoesWithItsVolume) {
  const TempDir allowed;
  Driver driver(environment(), {"--local-root=" + allowed.path().string(), "--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  fs::copy(registry("chain-v3"), allowed.path() / "registry", fs::copy_options::recursive);
  Attributes attributes{{"package", "acme/app"}, {"registry", allowed.path() / "registry"}};
  const fs::path file = allowed.path() / "lock";
  const ProcessResult locked =
      run({kPkgfs, "resolve", "--registry=" + attributes["registry"], "--lock=" + file.string(), "acme/app"});
  ASSERT_TRUE(locked.ok()) << locked.describe();
  const fs::path secret = driver.state() / "secret";
  std::ofstream(secret) << "root's";
  auto hostile = nlohmann::json::parse(read_text(file));
  const std::string good = hostile.dump();
  hostile["packages"][0]["url"] = "file://" + secret.string();
  const fs::path bad = allowed.write("bad", hostile.dump());
  for (const std::string& lock : {hostile.dump(), bad.string(), std::string("{\"not\": \"a lock\"}")}) {
    attributes["lock"] = lock;
    const grpc::Status status = driver.publish("refused", attributes);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << describe(status);
    EXPECT_NE(status.error_message().find("attribute \"lock\""), std::string::npos) << describe(status);
  }
  const auto files = [&] {
    std::error_code failed;
    return std::ranges::distance(fs::directory_iterator(driver.state() / "locks", failed), fs::directory_iterator());
  };
  EXPECT_EQ(files(), 0) << "of refused volumes";
  attributes["lock"] = good;
  const grpc::Status status = driver.publish("a", attributes);
  ASSERT_TRUE(status.ok()) << describe(status);
  attributes["commandsDir"] = "/cmds";
  ASSERT_TRUE(driver.publish("b", attributes).ok());
  EXPECT_EQ(files(), 1) << "two volumes have the same";
  EXPECT_TRUE(driver.unpublish("a").ok());
  EXPECT_TRUE(eventually([&] { return driver.mounted().size() == 1U; }));
  EXPECT_EQ(files(), 1) << "one volume still needs it";
  EXPECT_TRUE(driver.unpublish("b").ok());
  EXPECT_TRUE(eventually([&] { return files() == 0; }));
  attributes["lock"] = file;
  EXPECT_TRUE(driver.publish("c", attributes).ok());
}

TEST_F(CsiPublish, AWaitThatTheKubeletDoesNotHaveIsRefused) {
  Arguments arguments = driver_.arguments();
  arguments.push_back("--publish-wait=101");
  const ProcessResult refused = run(arguments);
  EXPECT_EQ(refused.exit_code, 2) << refused.describe();
  EXPECT_NE(refused.err.find("from 0 to 100"), std::string::npos) << refused.err;
}

TEST_F(CsiPublish, TargetsInEveryState) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  // A directory that exists, as after a reboot.
  fs::create_directory(driver_.target("stale"));
  EXPECT_TRUE(driver_.publish("stale", local("acme/app")).ok());
  EXPECT_TRUE(driver_.is_shown("stale"));
  // A mount of another program.
  fs::create_directory(driver_.target("foreign"));
  ASSERT_EQ(::mount("none", driver_.target("foreign").c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_EQ(driver_.publish("foreign", local("acme/app")).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(driver_.unpublish("foreign").error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(driver_.is_shown("foreign")) << "it stays";
  ::umount(driver_.target("foreign").c_str());
  EXPECT_TRUE(driver_.unpublish("foreign").ok());
  // A file.
  std::ofstream(driver_.target("file")) << "x";
  EXPECT_FALSE(driver_.publish("file", local("acme/app")).ok());
  EXPECT_FALSE(driver_.unpublish("file").ok());
  EXPECT_TRUE(fs::exists(driver_.target("file")));
  // Unmounted by another program: the next call shows it again.
  ASSERT_EQ(::umount2(driver_.target("stale").c_str(), MNT_DETACH), 0);
  EXPECT_TRUE(driver_.publish("stale", local("acme/app")).ok());
  EXPECT_TRUE(driver_.is_shown("stale"));
  EXPECT_TRUE(driver_.unpublish("stale").ok());
}

TEST_F(CsiPublish, AHundredPodsAtOnceShareAMount) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  constexpr int kPods = 100;
  std::vector<std::thread> threads;
  std::vector<grpc::Status> statuses(kPods);
  threads.reserve(kPods);
  for (int i = 0; i < kPods; ++i) {
    threads.emplace_back([&, i] { statuses[i] = driver_.publish("p" + std::to_string(i), local("acme/app")); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (int i = 0; i < kPods; ++i) {
    EXPECT_TRUE(statuses[i].ok()) << describe(statuses[i]);
    EXPECT_TRUE(driver_.is_shown("p" + std::to_string(i)));
  }
  EXPECT_EQ(driver_.mounted().size(), 1U);
  threads.clear();
  for (int i = 0; i < kPods; ++i) {
    threads.emplace_back([&, i] { statuses[i] = driver_.unpublish("p" + std::to_string(i)); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_TRUE(std::ranges::all_of(statuses, [](const grpc::Status& status) { return status.ok(); }));
  EXPECT_TRUE(eventually([&] { return driver_.mounted().empty(); }));
}

}  // namespace
}  // namespace pkgfs::test
