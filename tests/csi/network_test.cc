// SPDX-License-Identifier: MIT
// Risk: a slow or missing registry makes a call take longer than the kubelet waits, or keeps pods from packages that
// the node has.
#include <thread>

#include <grpcpp/client_context.h>

#include "tests/csi/driver.h"
#include "tests/net/oci_registry.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

using grpc::StatusCode;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

class CsiNetwork : public DriverTest {
 protected:
  void SetUp() override {
    DriverTest::SetUp();
    if (!IsSkipped()) {
      registry_ = std::make_unique<TestRegistry>(std::vector{chain_});
      attributes_ = {{"package", "acme/app"}, {"registry", registry_->endpoint()}};
    }
  }

  std::unique_ptr<TestRegistry> registry_;
  Attributes attributes_;
};

TEST_F(CsiNetwork, ACallEndsInTimeAndALaterOneFindsThePackageReady) {
  Driver driver(environment(), {"--publish-wait=1", "--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  registry_->set_fault({.where = Fault::Where::kFiles, .latency_ms = 3000});
  const auto begin = Clock::now();
  grpc::Status status = driver.publish("a", attributes_);
  EXPECT_LT(Clock::now() - begin, seconds(3));
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << describe(status);
  EXPECT_NE(status.error_message().find("resolving and downloading \"acme/app\""), std::string::npos)
      << describe(status);
  EXPECT_FALSE(driver.is_shown("a"));
  EXPECT_TRUE(eventually([&] { return (status = driver.publish("a", attributes_)).ok(); }, seconds(30)))
      << describe(status);
  EXPECT_GT(list_tree(driver.target("a")).size(), 2U);
  EXPECT_TRUE(driver.unpublish("a").ok());
  EXPECT_TRUE(eventually([&] { return driver.mounted().empty(); }));
}

TEST_F(CsiNetwork, WithoutItsRegistryANodeShowsWhatItHasAndSaysWhyNotTheRest) {
  Driver driver(environment(), {"--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  const grpc::Status first = driver.publish("a", attributes_);
  ASSERT_TRUE(first.ok()) << describe(first);
  ASSERT_TRUE(driver.unpublish("a").ok());
  ASSERT_TRUE(eventually([&] { return driver.mounted().empty(); }));
  registry_->set_fault({.kind = Fault::Kind::kClose});
  const grpc::Status cached = driver.publish("a", attributes_);
  EXPECT_TRUE(cached.ok()) << describe(cached);
  attributes_["package"] = "acme/lib@0.9.9";
  attributes_["offline"] = "true";
  const grpc::Status missing = driver.publish("b", attributes_);
  EXPECT_FALSE(missing.ok());
  EXPECT_NE(missing.error_message().find("acme/lib"), std::string::npos) << describe(missing);
}

TEST_F(CsiNetwork, ATokenOfASecretOpensAPrivatePackage) {
  Driver driver(environment(), {"--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  registry_->set_fault({.kind = Fault::Kind::kUnauthorized, .where = Fault::Where::kGraphql, .token = "s3cret"});
  const grpc::Status refused = driver.publish("a", attributes_);
  EXPECT_FALSE(refused.ok());
  auto request = driver.request("a", attributes_);
  (*request.mutable_secrets())["token"] = "s3cret";
  const grpc::Status status = driver.publish(request);
  EXPECT_TRUE(status.ok()) << describe(status) << "\nwithout: " << describe(refused);
}

TEST_F(CsiNetwork, TheTokenOfTheDriverIsNotForRegistriesThatPodsName) {
  auto variables = environment();
  for (auto& [name, value] : variables) {
    value = name == "WASMER_TOKEN" ? "of-the-node" : value;
  }
  Driver driver(variables, {"--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  registry_->set_fault({.kind = Fault::Kind::kUnauthorized, .where = Fault::Where::kGraphql, .token = "of-the-node"});
  const grpc::Status status = driver.publish("a", attributes_);
  EXPECT_FALSE(status.ok()) << "the registry got the token";
  EXPECT_NE(status.error_message().find("token"), std::string::npos) << describe(status);
}

TEST_F(CsiNetwork, APackageOfAnOciRegistryNeedsTheLoginOfThePod) {
  if (const std::string why = oci_registry_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const OciRegistry registry;
  const std::string name = registry.url("acme/app:2");
  const ProcessResult pushed =
      pkgfs({"push", "--registry", test::registry("chain-v3"), "acme/app@2.0.0", name}, registry.environment());
  ASSERT_TRUE(pushed.ok()) << pushed.describe();
  auto variables = environment();
  for (const auto& [variable, text] : registry.environment()) {  // the node has the login, too
    std::erase_if(variables, [&, known = variable](const auto& other) { return other.first == known; });
    variables.emplace_back(variable, text);
  }
  Driver driver(variables, {"--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  auto request = driver.request("a", {{"package", name}});
  const grpc::Status refused = driver.publish(request);
  EXPECT_FALSE(refused.ok()) << "the driver used the login of the node";
  EXPECT_NE(refused.error_message().find("401"), std::string::npos) << describe(refused);
  (*request.mutable_secrets())[".dockerconfigjson"] = read_text(registry.login_file());
  const grpc::Status status = driver.publish(request);
  ASSERT_TRUE(status.ok()) << describe(status);
  EXPECT_EQ(read_text(driver.target("a") / "base/base.txt").size(), 4U);
  const grpc::Status other = driver.publish("b", {{"package", name}, {"offline", "true"}});
  EXPECT_FALSE(other.ok()) << "a pod without the login got what the other one has fetched";
  EXPECT_NE(other.error_message().find("isn't in the cache"), std::string::npos) << describe(other);
  EXPECT_TRUE(driver.unpublish("a").ok());
}

TEST_F(CsiNetwork, ADriverThatEndsLeavesNoResolutionBehind) {
  Driver driver(environment());
  ASSERT_TRUE(driver.start()) << driver.process().err();
  registry_->set_fault({.where = Fault::Where::kGraphql, .latency_ms = 15000});
  std::thread caller([&] {
    grpc::ClientContext context;
    ::csi::v1::CreateVolumeRequest request;
    ::csi::v1::CreateVolumeResponse reply;
    request.set_name("pvc");
    auto* const capability = request.add_volume_capabilities();
    capability->mutable_mount();
    capability->mutable_access_mode()->set_mode(::csi::v1::VolumeCapability::AccessMode::MULTI_NODE_READER_ONLY);
    request.mutable_parameters()->insert(attributes_.begin(), attributes_.end());
    auto controller = driver.controller();
    EXPECT_FALSE(controller.CreateVolume(&context, request, &reply).ok());
  });
  const auto directories = [&] {
    const auto is_work = [](const auto& entry) { return entry.path().filename().string().starts_with("controller."); };
    return std::ranges::count_if(std::filesystem::directory_iterator(driver.state()), is_work);
  };
  EXPECT_TRUE(eventually([&] { return directories() == 1; }));
  const auto begin = Clock::now();
  const ProcessResult ended = driver.stop();
  EXPECT_TRUE(ended.ok()) << ended.describe();
  EXPECT_LT(Clock::now() - begin, seconds(5));
  caller.join();
  EXPECT_EQ(directories(), 0);
  std::filesystem::create_directory(driver.state() / "controller.json.killed");
  ASSERT_TRUE(driver.start()) << driver.process().err();
  EXPECT_EQ(directories(), 0) << "of a driver that was killed";
}

}  // namespace
}  // namespace pkgfs::test
